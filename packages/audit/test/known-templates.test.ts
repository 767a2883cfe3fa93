/** What the client sends: a body, until the database has given a MAC for its template; from then on template and values. */
import { randomUUID } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { BodyTemplates } from '../src/body-template.ts';
import { createAudit, parseOrgId } from '../src/index.ts';
import { events, type Fixture, fixture, kyselyOf, type Tables } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 2);
});

afterAll(() => f.close());

const isTemplated = ({ query }: { readonly query: { readonly sql: string } }) =>
  query.sql.includes('append_from_template');

/** How often the gate has read a body, as far as this session has not told it yet. */
async function readings(trx: Kysely<Tables>): Promise<number> {
  const { rows } = await sql<{ calls: number }>`
    select coalesce(sum(calls), 0)::integer as calls from pg_stat_xact_user_functions where funcname = 'read_body'`.execute(
    trx,
  );
  return rows[0]?.calls ?? Number.NaN;
}

test('the third event of a kind is not read by the database, and its record is that of any other', async () => {
  const org = parseOrgId(randomUUID());
  const name = new URL(f.database.appUrl).pathname.slice(1);
  await sql.raw(`alter database ${name} set track_functions = 'pl'`).execute(f.superuser);
  const app = kyselyOf<Tables>(f.database.appUrl, 1);
  const audit = createAudit({ events, db: app });
  try {
    const read: number[] = [];
    const templated: boolean[] = [];
    for (let n = 0; n < 4; n++) {
      const receipt = audit.prepare('entry.posted', {
        target: `entry ${n}`,
        outcome: 'success',
        data: { amount: `${n}.50`, lines: n },
      });
      templated.push(isTemplated(receipt));
      const result = await app.transaction().execute(async (trx) => {
        await sql`select set_config('ringfence.org_id', ${org}, true), set_config('ringfence.actor', 'user:"ö"', true)`.execute(
          trx,
        );
        const before = await readings(trx);
        const answer = await trx.executeQuery(receipt.query);
        read.push((await readings(trx)) - before);
        return answer;
      });
      const sealed = await audit.sealed(receipt, result);
      expect(sealed).toMatchObject({ id: receipt.id, orgSeq: n + 1 });
      const { rows } = await sql<{ canon: string; at: string; action: string; target: string }>`
        select canon, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, action, target
          from audit.event where id = ${receipt.id}`.execute(f.superuser);
      const event = `{"data":{"amount":"${n}.50","lines":${n}},"outcome":"success","target":{"id":"entry ${n}","type":"entry"},"type":"entry.posted"}`;
      expect(rows).toEqual([
        {
          canon: `{"actor":"user:\\"ö\\"","at":"${rows[0]?.at}","event":${event},"id":"${receipt.id}","org":"${org}","request":null,"v":1}`,
          at: rows[0]?.at,
          action: 'entry.posted',
          target: `entry:entry ${n}`,
        },
      ]);
    }
    expect(templated).toEqual([false, true, true, true]);
    expect(read).toEqual([1, 1, 0, 0]);
  } finally {
    await app.destroy();
    await sql.raw(`alter database ${name} reset track_functions`).execute(f.superuser);
  }
});

test('a MAC of another key costs a reading, and is replaced', async () => {
  const org = parseOrgId(randomUUID());
  const audit = createAudit({ events, db: f.app });
  const append = async (target: string) => {
    const receipt = audit.prepare('entry.approved', { target, outcome: 'success' });
    const result = await f.inOrg(org, (trx) => trx.executeQuery(receipt.query));
    await audit.sealed(receipt, result);
    return { ...receipt, row: result.rows[0] as { readonly template_mac?: Uint8Array | null } };
  };
  await append('1');
  const first = (await append('2')).row.template_mac;
  expect(first).toHaveLength(32);
  expect((await append('3')).row.template_mac).toBeNull();
  await sql`update audit.template_key set outer_key = inner_key || ''::bytea, inner_key = outer_key || ''::bytea`.execute(
    f.owner,
  );
  const second = (await append('4')).row.template_mac;
  expect(second).toHaveLength(32);
  expect(second).not.toEqual(first);
  const last = await append('5');
  expect([isTemplated(last), last.row.template_mac]).toEqual([true, null]);
  expect((await f.audit.verify(f.superuser, org)).ok).toBe(true);
});

describe('without an answer', () => {
  const body = (n: number) => `{"data":{"n${n}":"v"},"outcome":"success","type":"a.b"}`;

  test('a MAC is asked for ever more seldom', () => {
    const templates = new BodyTemplates();
    const asked = Array.from({ length: 100 }, (_, n) => n + 1).filter(() =>
      isTemplated({ query: templates.statement('id', body(0), false, true) }),
    );
    expect(asked).toEqual([2, 4, 8, 16, 32, 64]);
  });

  test('of 300 kinds that take turns, the oldest are forgotten', () => {
    const templates = new BodyTemplates();
    const learn = (n: number) => {
      const query = templates.statement('id', body(n), false, true);
      templates.learn(query, { template_mac: new Uint8Array(32) });
      return isTemplated({ query });
    };
    const turns = [0, 1].map(() => Array.from({ length: 300 }, (_, n) => learn(n)).filter(Boolean).length);
    expect(turns).toEqual([0, 0]);
    expect([learn(299), learn(0)]).toEqual([true, false]);
  });

  test('a template of more than 4 096 characters is not kept', () => {
    const templates = new BodyTemplates();
    const long = `{"data":{"${'n'.repeat(4_100)}":"v"},"outcome":"success","type":"a.b"}`;
    const sent = [1, 2, 3, 4].map(() => isTemplated({ query: templates.statement('id', long, false, true) }));
    expect(sent).toEqual([false, false, false, false]);
  });

  test('what is no MAC, and what answers another statement, is not kept', () => {
    const templates = new BodyTemplates();
    const first = templates.statement('id', body(0), false, true);
    templates.learn(first, { template_mac: new Uint8Array(32) });
    const second = templates.statement('id', body(0), false, true);
    templates.learn(second, { template_mac: '\\x00' });
    templates.learn(second, undefined);
    expect(isTemplated({ query: templates.statement('id', body(0), false, true) })).toBe(false);
  });
});
