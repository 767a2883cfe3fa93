/**
 * The hazards that were executed when this package was designed, and what stands against each: a rule of the doctor with a
 * fault that proves it, or a test that shows the hazard refused by construction.
 */
import { readFileSync } from 'node:fs';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { RULES } from '../src/doctor/rules.ts';
import { createTenancy } from '../src/index.ts';
import { ALICE, codeOf, type Fixture, fixture, ORG_A, ORG_B } from './fixture.ts';
import { MUTATIONS } from './mutations/mutations.ts';

/** Detected by a rule; its mutation or, where no schema can have the fault, the test that plays it. */
const detected: Readonly<Record<string, string>> = {
  'owner without FORCE': 'rls-not-forced',
  'app role is a member of the owner': 'app-role-member-of-owner',
  'TRUNCATE granted': 'grant-truncate',
  'view of a superuser': 'view-not-invoker',
  'SECURITY DEFINER function of a superuser': 'definer-undeclared',
  'materialized view': 'materialized-view-reachable',
  'partition read directly': 'child-table-open',
  'foreign key tells whether an id exists': 'foreign-key-without-org',
  'ON DELETE CASCADE deletes the row of another organisation': 'cascade-across-orgs',
  'UNIQUE (email) tells that a value exists': 'unique-without-org',
  'ON CONFLICT DO NOTHING on a primary key (id)': 'primary-key-without-org',
  'sequence last_value': 'sequence-readable',
  'pg_class.reltuples': 'volumes-readable',
  'pg_stat_activity of the shared app role': 'activity-readable',
  'LISTEN and NOTIFY': 'notify-shared',
  'publication for all tables': 'publication-all-tables',
  'policy through an IMMUTABLE function and a kept plan': 'policy-immutable-function',
  'injected set_config, context not signed': 'context-unsigned',
  'policy reads a setting: two different errors without context': 'policy-reads-setting',
  'plan kept across roles, CVE-2023-2455': 'server-vulnerable',
  'statistics shown, CVE-2025-8713': 'server-vulnerable',
  'membership subquery in the policy': 'policy-reads-table',
  'OR escape hatch, bypass flag': 'policy-escape-hatch',
  'org_id cast in the policy': 'policy-casts-org-id',
  'volatile function in the policy': 'policy-volatile-function',
  'bare call without an index on org_id': 'policy-bare-call',
  'no index on org_id': 'no-index-on-org',
  'LIKE loses its index': 'pattern-index-unused',
};

/** Refused by construction: the file and the name of the test that plays it. */
const refused: Readonly<Record<string, readonly [file: string, name: string]>> = {
  'session-level set_config reaches the next borrower': ['hazards.test.ts', 'a context set for the session'],
  'nested switch of organisation in a savepoint': ['hazards.test.ts', 'a context switched in a savepoint'],
  'injected set_config, context signed': ['attacks.test.ts', 'is refused with %s'],
  'SET ROLE undone within the statement': ['attacks.test.ts', 'cannot truncate, turn row-level security off'],
  'setting reads back as an empty string': [
    'attacks.test.ts',
    'is refused again on a connection that had a context',
  ],
  'context statement fails, query must not run': ['hazards.test.ts', 'a statement behind a refused context'],
  COPY: ['hazards.test.ts', 'COPY TO sees nothing'],
  pg_stats: ['hazards.test.ts', 'pg_stats shows nothing'],
  'SET LOCAL outside of a transaction': ['hazards.test.ts', 'SET LOCAL outside of a transaction'],
  'ROLLBACK TO': ['hazards.test.ts', 'ROLLBACK TO restores the context'],
  'composite foreign key and unique key': ['hazards.test.ts', 'a composite key answers alike'],
  'InitPlan evaluated once per execution, not per plan': [
    'hazards.test.ts',
    'a kept plan asks for the context',
  ],
};

describe('every hazard of the design is detected or refused', () => {
  test('there are 40 of them', () => {
    expect(Object.keys(detected).length + Object.keys(refused).length).toBe(40);
  });

  test.each(Object.entries(detected))('%s: rule %s', (_, name) => {
    expect(RULES.map((rule) => rule.name)).toContain(name);
    const played = ['server-vulnerable', 'activity-readable', 'volumes-readable'];
    expect([...MUTATIONS.flatMap(({ rules }) => rules), ...played]).toContain(name);
  });

  test.each(Object.entries(refused))('%s: refused', (_, [file, name]) => {
    expect(readFileSync(new URL(file, import.meta.url), 'utf8')).toContain(`('${name}`);
  });
});

let f: Fixture;
let client: pg.Client;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  client = new pg.Client({ connectionString: f.database.appUrl });
  client.on('error', () => {});
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await f.close();
});

/** A valid context of an organisation. */
async function contextOf(org: typeof ORG_A): Promise<string> {
  const asked = sql<{ context: string }>`select current_setting('ringfence.context') as context`;
  const { rows } = await asked.execute(f.tenancy.forOrg(org, ALICE));
  return rows[0]?.context ?? '';
}

/** The SQLSTATE a bare statement of the app role is refused with. */
async function stateOf(statement: string): Promise<unknown> {
  return await codeOf(client.query(statement));
}

describe('contained', () => {
  test('a context set for the session, by SQL of a former borrower, is gone for the next', async () => {
    const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1 });
    pool.on('error', () => {});
    const borrowed = await pool.connect();
    await borrowed.query(`select set_config('ringfence.context', $1, false)`, [await contextOf(ORG_B)]);
    borrowed.release();
    const handle = createTenancy<{ 'app.note': { org_id: string } }>({
      pool,
      contextKey: f.contextKey,
    }).forOrg(ORG_A, ALICE);
    expect(await handle.selectFrom('app.note').select('org_id').execute()).toEqual([{ org_id: ORG_A }]);
    await pool.end();
  });

  test('a context switched in a savepoint cannot be: another organisation is another handle on another connection', async () => {
    const seen = await f.tenancy
      .forOrg(ORG_A, ALICE)
      .transaction()
      .execute(async (trx) => {
        const inner = await f.tenancy.forOrg(ORG_B, ALICE).selectFrom('app.note').select('org_id').execute();
        return [inner, await trx.selectFrom('app.note').select('org_id').execute()];
      });
    expect(seen).toEqual([[{ org_id: ORG_B }], [{ org_id: ORG_A }]]);
  });

  test('a statement behind a refused context does not run', async () => {
    await client.query('begin');
    await client.query(`select set_config('ringfence.context', '1|k1|9|x|member|x||', true)`);
    expect(await stateOf(`insert into app.note (id, body) values ('behind', 'x')`)).toBe('42501');
    await client.query('rollback');
    const found = f.tenancy
      .forOrg(ORG_A, ALICE)
      .selectFrom('app.note')
      .select('id')
      .where('id', '=', 'behind');
    expect(await found.execute()).toEqual([]);
  });

  test('COPY TO sees nothing without a context', async () => {
    expect(await stateOf('copy app.note to stdout')).toBe('42501');
  });

  test('pg_stats shows nothing of a table under a policy', async () => {
    await sql`analyze app.note`.execute(f.owner);
    const { rows } = await client.query(`select * from pg_stats where schemaname = 'app'`);
    expect(rows).toEqual([]);
  });

  test('SET LOCAL outside of a transaction leaves no context behind', async () => {
    await client.query(`set local ringfence.context = '${await contextOf(ORG_A)}'`);
    expect(await stateOf('select * from app.note')).toBe('42501');
  });

  test('ROLLBACK TO restores the context', async () => {
    await client.query('begin');
    await client.query(`select set_config('ringfence.context', $1, true)`, [await contextOf(ORG_A)]);
    await client.query('savepoint s');
    await client.query(`select set_config('ringfence.context', $1, true)`, [await contextOf(ORG_B)]);
    await client.query('rollback to s');
    const { rows } = await client.query('select org_id from app.note');
    await client.query('rollback');
    expect(rows).toEqual([{ org_id: ORG_A }]);
  });

  test('a composite key answers alike whether another organisation has the row or nobody does', async () => {
    await sql`create table app.child (org_id uuid not null, note_id text, foreign key (org_id, note_id) references app.note);
      grant insert on app.child to ${sql.raw(f.database.app)}`.execute(f.owner);
    await f.tenancy
      .forOrg(ORG_B, ALICE)
      .insertInto('app.note')
      .values({ org_id: ORG_B, id: 'only-b', body: 'x' })
      .execute();
    const mine = f.tenancy.forOrg(ORG_A, ALICE);
    const reference = (id: string) =>
      codeOf(sql`insert into app.child values (${ORG_A}, ${id})`.execute(mine));
    expect(await reference('only-b')).toBe(await reference('nowhere'));
    await mine.insertInto('app.note').values({ org_id: ORG_A, id: 'only-b', body: 'own' }).execute();
  });

  test('a kept plan asks for the context at each execution', async () => {
    await client.query(
      'set plan_cache_mode = force_generic_plan; prepare p as select org_id from app.note group by 1',
    );
    for (const org of [ORG_A, ORG_B, ORG_A]) {
      await client.query('begin');
      await client.query(`select set_config('ringfence.context', $1, true)`, [await contextOf(org)]);
      expect((await client.query('execute p')).rows).toEqual([{ org_id: org }]);
      await client.query('commit');
    }
  });
});
