/** What a batch is judged by: each of its bodies is taken exactly when the gate would take it alone. */
import { randomUUID } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { expect } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { canonicalize } from '../src/index.ts';
import { isCanonical, isVerifiable, object, parsed } from './body-oracle.ts';
import { type Fixture, ORG_A, type Tables } from './fixture.ts';

/** What became of a body. */
export interface Taken {
  readonly refused: string | null;
  readonly canon: string | null;
  readonly action: string | null;
  readonly target: string | null;
}

/** Appends all in one statement, with as many behind them as make it look for kinds, and says what became of each. */
export async function append(
  f: Fixture,
  asked: readonly string[],
  app: Kysely<Tables> = f.app,
): Promise<readonly Taken[]> {
  const bodies = [...asked, ...Array.from({ length: 4 }, () => '{"type":"pad.ded"}')];
  const ids = bodies.map(() => randomUUID());
  const settings = { 'ringfence.org_id': ORG_A, 'ringfence.actor': 'user:alice' };
  const answers = await sql<{ refused: string | null }>`
    select refused from audit.append_batch(${ids}::uuid[], ${bodies}::text[], ${bodies.map(() => 1)}::integer[],
      ${Object.keys(settings)}::text[], ${Object.values(settings)}::text[], true) order by place`.execute(
    app,
  );
  const { rows } = await sql<{ id: string; canon: string; action: string; target: string | null }>`
    select id, canon, action, target from audit.event where id = any (${ids}::uuid[])`.execute(f.superuser);
  const byId = new Map(rows.map((row) => [row.id, row]));
  return ids.slice(0, asked.length).map((id, n) => {
    const { canon = null, action = null, target = null } = byId.get(id) ?? {};
    return { refused: answers.rows[n]?.refused ?? null, canon, action, target };
  });
}

/** What each is alone: the columns of its event, or null when it is to be refused. */
export function expected(body: string): { readonly action: string; readonly target: string | null } | null {
  if (!isCanonical(body)) return null;
  const { type, target, ...rest } = parsed(body) as {
    type?: unknown;
    target?: { type?: unknown; id?: unknown } | null;
  };
  if (typeof type !== 'string' || type === 'subject.erased' || type.startsWith('row.') || 'personal' in rest)
    return null;
  if (target === undefined) return { action: type, target: null };
  if (typeof target !== 'object' || typeof target?.type !== 'string' || typeof target.id !== 'string')
    return null;
  return { action: type, target: `${target.type}:${target.id}` };
}

/** Appends them all, fails unless each is judged as it is alone, and says how many were accepted. */
export async function agrees(f: Fixture, bodies: readonly string[]): Promise<number> {
  const answers = await append(f, bodies);
  const wrong = bodies.filter((body, n) => {
    const columns = expected(body);
    const { refused, canon, action, target } = answers[n] as Taken;
    if (columns === null) return refused !== 'audit.not_canonical' || canon !== null;
    return (
      refused !== null ||
      !canon?.includes(`"event":${body},"id":`) ||
      !isVerifiable(body) ||
      action !== columns.action ||
      target !== columns.target
    );
  });
  expect(wrong).toEqual([]);
  return answers.filter(({ refused }) => refused === null).length;
}

/** A body of the usual form, with whatever in it. */
export const shaped: fc.Arbitrary<string> = fc
  .record(
    {
      changes: object,
      data: object,
      note: fc.string({ unit: fc.constantFrom(...'ab %_",:{}[]\\\n'), maxLength: 6 }),
      target: fc.record({
        id: fc.string({ unit: fc.constantFrom(...'a1:%_é'), maxLength: 4 }),
        type: fc.constantFrom('entry', 'a"b', 'c_d'),
      }),
      type: fc.constantFrom('entry.approved', 'x.y', 'x_y', 'row_x'),
      zone: fc.constantFrom('z'),
    },
    { requiredKeys: ['type'] },
  )
  .map((body) => canonicalize(body));
