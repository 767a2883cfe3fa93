import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { expect, inject, test } from 'vitest';
import { type DifferenceKind, differences, readCatalog } from '../src/policies/index.ts';
import { ALICE, codeOf, ORG_A, ORG_B } from './fixture.ts';
import { BACKFILL, type Shop, shop, TABLES } from './migration-setup.ts';

const ROWS = 300;
const GUARD: ReadonlySet<DifferenceKind> = new Set([
  'row_security',
  'policy',
  'grants',
  'org_column_default',
  'backfill_trigger',
]);

/** Runs the migration in a child that is killed with SIGKILL in the first step that is not among `passed`; gives that step. */
async function killed({ database }: Shop, passed: readonly string[], afterMs: number): Promise<string> {
  const child = spawn(
    process.execPath,
    [
      '--conditions=@ringfence/source',
      fileURLToPath(new URL('./migration-child.ts', import.meta.url)),
      JSON.stringify({ url: database.ownerUrl, app: database.app, passed, afterMs }),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = new Promise((resolve) => child.once('close', resolve));
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) lines.push(line);
  await ended;
  expect(child.signalCode === 'SIGKILL' || lines.at(-1) === 'end').toBe(true);
  return lines.at(-1) ?? '';
}

/** Every table is as it was, or guarded altogether; through a guarded one the app role reaches its own rows and no others. */
async function expectNothingHalf({ schema, owner, tenancy, legacy }: Shop): Promise<number> {
  const catalog = await readCatalog(owner);
  const found = differences(schema, catalog, { backfill: BACKFILL });
  let guarded = 0;
  for (const table of TABLES) {
    const missing = found.filter(({ relation, kind }) => relation === table && GUARD.has(kind));
    const policies = catalog.policies.filter(({ relation }) => relation === table).map(({ name }) => name);
    if (!policies.includes('ringfence_org')) {
      expect(policies).toEqual(table === 'shop.folder' ? ['mine'] : []);
      continue;
    }
    expect(missing).toEqual([]);
    guarded += 1;
    for (const org of [ORG_A, ORG_B]) {
      const { rows } = await sql<{ org_id: string; n: number }>`
        select org_id, count(*)::int as n from ${sql.raw(table)} group by org_id`.execute(
        tenancy.forOrg(org, ALICE),
      );
      expect(rows).toEqual([{ org_id: org, n: table === 'shop.note' ? ROWS : 1 }]);
    }
    expect(await codeOf(legacy.query(`select count(*) from ${table}`))).toBe('42501');
  }
  return guarded;
}

test('killed with SIGKILL in every step and started again, it comes to the declared schema', {
  timeout: 300_000,
}, async () => {
  const stage = await shop(inject('databaseUrl'), ROWS);
  const interrupted: string[] = [];
  const states = new Set<number>();
  for (;;) {
    const step = await killed(stage, interrupted, randomInt(0, 6));
    states.add(await expectNothingHalf(stage));
    if (step === 'end') break;
    expect(interrupted).not.toContain(step);
    interrupted.push(step);
  }
  expect(interrupted.length).toBeGreaterThan(25);
  expect([...states].sort()).toEqual([0, 1, 2, 3]);
  expect(differences(stage.schema, await readCatalog(stage.owner))).toEqual([]);
  await stage.close();
});
