/**
 * Attacks on break-glass access by somebody who has the login of the break-glass role, or of the app role, and speaks
 * raw SQL: nothing of the session code stands in between.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createBreakGlassIssuer, revokeBreakGlass } from '../src/break-glass/index.ts';
import { createTenancy } from '../src/index.ts';
import { installBreakGlassKey, removeBreakGlassKey } from '../src/migrations/index.ts';
import { type BreakGlassFixture, breakGlassFixture, idOf, REQUEST } from './break-glass-fixture.ts';
import { ALICE, ORG_A, ORG_B } from './fixture.ts';

let f: BreakGlassFixture;
beforeAll(async () => {
  f = await breakGlassFixture(inject('databaseUrl'));
});
afterAll(() => f.close());

/** The constraint name, or else the SQLSTATE, a run is refused with. */
async function refusalOf(run: Promise<unknown>): Promise<unknown> {
  try {
    await run;
  } catch (error) {
    return (error as { constraint?: unknown }).constraint ?? (error as { code?: unknown }).code;
  }
  throw new Error('expected a rejection');
}

const open = (token: string) => `select from tenancy.open_break_glass('${token}')`;
const enter = (token: string) => `select set_config('ringfence.break_glass', '${token}', false)`;
const READ = 'select org_id from app.folder';

async function isRecorded(token: string): Promise<boolean> {
  const { rows } = await sql`select from tenancy.break_glass_use where token_id = ${idOf(token)}`.execute(
    f.owner,
  );
  return rows.length === 1;
}

async function asApp(...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: f.golden.database.appUrl });
  await client.connect();
  try {
    let rows: Record<string, unknown>[] = [];
    for (const statement of statements) ({ rows } = await client.query(statement));
    return rows;
  } finally {
    await client.end();
  }
}

describe('reading without a committed record', () => {
  test.each<[string, (token: string) => string[]]>([
    ['with nothing', () => [READ]],
    ['with an empty setting', () => [enter(''), READ]],
    ['with a token that was never opened', (t) => [enter(t), READ]],
    ['with the id of a token', (t) => [open(t), enter(idOf(t)), READ]],
    ['in the transaction of the opening', (t) => ['begin', open(t), READ]],
    [
      'with the opening in a savepoint',
      (t) => ['begin', 'savepoint s', open(t), 'release s', enter(t), READ],
    ],
    ['with the reading in a savepoint', (t) => ['begin', open(t), enter(t), 'savepoint s', READ]],
    [
      'in the statement of the opening',
      (t) => [`with o as materialized (${open(t)}) select org_id from app.folder, o`],
    ],
    ['in one batch', (t) => [`${open(t)}; ${READ}`]],
    [
      'in one block',
      (t) => [`do $$ begin perform tenancy.open_break_glass('${t}'); perform ${READ.slice(7)}; end $$`],
    ],
    ['after a rollback of the opening', (t) => ['begin', open(t), 'rollback', enter(t), READ]],
    [
      'after a rollback to a savepoint before the opening',
      (t) => ['begin', 'savepoint s', open(t), 'rollback to s', enter(t), READ],
    ],
  ])('is refused %s', async (_, attack) => {
    const token = f.token();
    expect(await refusalOf(f.raw(...attack(token)))).toBe('tenancy.break_glass_not_open');
  });

  test('is impossible by undoing the transaction that read', async () => {
    const token = f.token();
    const client = new pg.Client({ connectionString: f.url });
    await client.connect();
    await client.query(open(token));
    await client.query('begin');
    await client.query(enter(token));
    expect((await client.query(READ)).rows).toEqual([{ org_id: ORG_A }]);
    await client.query('rollback');
    await client.end();
    const { rows } = await sql`select org_id, actor, approved_by, ticket, reason, mode, login, closed_at,
        opened_at <= clock_timestamp() as opened from tenancy.break_glass_use where token_id = ${idOf(token)}`.execute(
      f.owner,
    );
    const { org, actor, approvedBy, ticket, reason } = REQUEST;
    expect(rows).toEqual([
      {
        org_id: org,
        actor,
        approved_by: approvedBy,
        ticket,
        reason,
        mode: 'read',
        login: f.role,
        closed_at: null,
        opened: true,
      },
    ]);
  });

  test('is impossible by waiting for an opening that another connection has not committed', async () => {
    const token = f.token();
    const client = new pg.Client({ connectionString: f.url });
    await client.connect();
    await client.query('begin');
    await client.query(open(token));
    expect(await refusalOf(f.raw(enter(token), READ))).toBe('tenancy.break_glass_not_open');
    await client.query('rollback');
    await client.end();
    expect(await isRecorded(token)).toBe(false);
  });
});

describe('the record', () => {
  test.each([
    'select * from tenancy.break_glass_use',
    'delete from tenancy.break_glass_use',
    'update tenancy.break_glass_use set closed_at = null',
    'truncate tenancy.break_glass_use',
    'insert into tenancy.break_glass_use (token_id) values (gen_random_uuid())',
    'select * from tenancy.break_glass_key',
    "insert into tenancy.break_glass_key values ('k', '', '')",
    'delete from tenancy.break_glass_revocation',
    'drop function tenancy.break_glass_org(text)',
    'select tenancy.revoke_break_glass(gen_random_uuid())',
    'select tenancy.org_id()',
    'select tenancy.actor()',
    'select tenancy.context()',
    'truncate app.folder',
    'select * from app.reading_2026',
    'alter table app.folder disable row level security',
  ])('and the keys are out of reach of the break-glass role: %s', async (statement) => {
    const token = f.token({ mode: 'write' });
    expect(await refusalOf(f.raw(open(token), enter(token), statement))).toBe('42501');
  });
});

describe('a committed opening', () => {
  test('shows its organisation only, also to a plan that was kept from another', async () => {
    const [a, b] = [f.token(), f.token({ org: ORG_B })];
    const kept = ['set plan_cache_mode = force_generic_plan', `prepare kept as ${READ}`];
    const rows = await f.raw(...kept, open(a), enter(a), 'execute kept', open(b), enter(b), 'execute kept');
    expect(rows).toEqual([{ org_id: ORG_B }]);
  });

  test('is refused in a transaction that does not see a revocation', async () => {
    for (const level of ['repeatable read', 'serializable']) {
      const token = f.token();
      const run = f.raw(open(token), enter(token), `begin isolation level ${level}`, READ);
      expect(await refusalOf(run)).toBe('tenancy.break_glass_isolation');
    }
  });

  test.each([
    ['insert', `insert into app.folder values ('${ORG_A}', gen_random_uuid(), 'x')`],
    ['update', "update app.folder set name = 'x'"],
    ['delete', 'delete from app.folder'],
    [
      'upsert',
      `insert into app.folder values ('${ORG_A}', '${ORG_A}', 'x') on conflict (org_id, id) do update set name = 'x'`,
    ],
    ['merge', `merge into app.folder f using (values (1)) v on true when matched then delete`],
    ['lock', 'select from app.folder for update'],
  ])('of mode read writes nothing: %s', async (_, statement) => {
    const token = f.token();
    expect(await refusalOf(f.raw(open(token), enter(token), statement))).toBe(
      'tenancy.break_glass_read_only',
    );
  });

  test('ends with its closing, for reading and for recording', async () => {
    const token = f.token();
    const before = [open(token), enter(token), 'select tenancy.close_break_glass()'];
    expect(await refusalOf(f.raw(...before, READ))).toBe('tenancy.break_glass_closed');
    expect(await refusalOf(f.raw(enter(token), 'select tenancy.break_glass_context()'))).toBe(
      'tenancy.break_glass_not_open',
    );
    expect(await refusalOf(f.raw(open(token)))).toBe('tenancy.break_glass_used');
  });

  test('ends with the removal of its key', async () => {
    const key = { id: 'leaving', secret: new Uint8Array(randomBytes(32)) };
    await installBreakGlassKey(f.owner, key);
    const { token } = createBreakGlassIssuer({ key }).issue(REQUEST);
    expect(await f.raw(open(token), enter(token), READ)).toEqual([{ org_id: ORG_A }]);
    await removeBreakGlassKey(f.owner, key.id);
    expect(await refusalOf(f.raw(enter(token), READ))).toBe('tenancy.break_glass_not_open');
  });

  test('ends with its revocation, also on a connection that has read under it', async () => {
    const token = f.token();
    const client = new pg.Client({ connectionString: f.url });
    await client.connect();
    for (const statement of [open(token), 'begin', enter(token), READ]) await client.query(statement);
    await revokeBreakGlass(f.owner, idOf(token));
    expect(await refusalOf(client.query(READ))).toBe('tenancy.break_glass_revoked');
    await client.end();
  });
});

describe('a token made by hand', () => {
  /** Signs fields as the issuer would, under any key and domain. */
  function signed(
    fields: Partial<Record<'org' | 'mode' | 'issued' | 'expires' | 'actor' | 'approvedBy', string>>,
    { domain = 'ringfence.break_glass.1|', secret = f.key.secret, keyId = f.key.id } = {},
  ): string {
    const now = Date.now();
    const { org = ORG_A, mode = 'read', issued = `${now}`, expires = `${now + 60_000}` } = fields;
    const { actor = 'operator:eve', approvedBy = '' } = fields;
    const id = '0190f5d2-7b1c-4d34-9a51-3f2e8c1b7a00';
    const body = `rfbg1|${keyId}|${id}|${org}|${mode}|${issued}|${expires}|${actor}|${approvedBy}|INC-1|61|`;
    return body + createHmac('sha256', secret).update(domain).update(body).digest('hex');
  }
  const rolledBack = (token: string) => f.raw('begin', open(token), 'rollback');

  test('as the issuer makes it opens: the others fail for what they change alone', async () => {
    await expect(rolledBack(signed({}))).resolves.toEqual([]);
  });

  test.each<[string, string, () => string]>([
    ['lives over an hour', 'invalid', () => signed({ expires: `${Date.now() + 3_700_000}` })],
    ['lives over an hour, of which the most is over', 'invalid', () => signed({ issued: '0' })],
    ['is approved by its actor', 'invalid', () => signed({ approvedBy: 'operator:eve' })],
    ['is signed by another key', 'forged', () => signed({}, { secret: randomBytes(32) })],
    ['is signed without the domain', 'forged', () => signed({}, { domain: '' })],
    ['is signed by the context key', 'forged', () => signed({}, { secret: f.golden.contextKey.secret })],
  ])('is refused when it %s', async (_, code, make) => {
    expect(await refusalOf(rolledBack(make()))).toBe(`tenancy.break_glass_${code}`);
  });

  test('that has expired or is revoked does not even leave an opening', async () => {
    const now = Date.now();
    const expired = signed({ issued: `${now - 60_001}`, expires: `${now - 1}` });
    expect(await refusalOf(f.raw(open(expired)))).toBe('tenancy.break_glass_expired');
    const revoked = f.token();
    await revokeBreakGlass(f.owner, idOf(revoked));
    expect(await refusalOf(f.raw(open(revoked)))).toBe('tenancy.break_glass_revoked');
    expect([await isRecorded(expired), await isRecorded(revoked)]).toEqual([false, false]);
  });

  test('of null is refused', async () => {
    expect(await refusalOf(f.raw('select tenancy.open_break_glass(null)'))).toBe(
      'tenancy.break_glass_forged',
    );
  });
});

describe('contexts and tokens', () => {
  test('do not pass as each other, even when one key is installed for both', async () => {
    const { contextKey } = f.golden;
    await installBreakGlassKey(f.owner, contextKey);
    const pool = new pg.Pool({ connectionString: f.golden.database.appUrl, max: 1 });
    const app = createTenancy<unknown>({ pool, contextKey }).forOrg(ORG_A, ALICE);
    const { rows } = await sql<{ context: string }>`
      select current_setting('ringfence.context') as context`.execute(app);
    const context = rows[0]?.context ?? '';
    await pool.end();
    const byBoth = createBreakGlassIssuer({ key: contextKey }).issue(REQUEST).token;

    expect(await refusalOf(f.raw(open(context)))).toBe('tenancy.break_glass_forged');
    expect(await refusalOf(f.raw(`select set_config('ringfence.context', '${context}', false)`, READ))).toBe(
      'tenancy.break_glass_not_open',
    );
    expect(await refusalOf(asApp(`select set_config('ringfence.context', '${byBoth}', false)`, READ))).toBe(
      'tenancy.context_forged',
    );
    await removeBreakGlassKey(f.owner, contextKey.id);
  });

  test('an opened token gives the app role nothing', async () => {
    const token = f.token();
    await f.raw(open(token));
    expect(await refusalOf(asApp(enter(token), READ))).toBe('tenancy.no_context');
    for (const call of [`open_break_glass('${token}')`, `break_glass_org('read')`, 'break_glass_context()'])
      expect(await refusalOf(asApp(enter(token), `select tenancy.${call}`))).toBe('42501');
  });
});

test.each([
  [
    'a member of the app role',
    () => [
      `grant "${f.golden.database.app}" to ${f.role}`,
      `revoke "${f.golden.database.app}" from ${f.role}`,
    ],
  ],
  ['granted BYPASSRLS', () => [`alter role ${f.role} bypassrls`, `alter role ${f.role} nobypassrls`]],
  ['allowed to create roles', () => [`alter role ${f.role} createrole`, `alter role ${f.role} nocreaterole`]],
])('a login that is %s opens nothing', async (_, change) => {
  const [give = '', take = ''] = change();
  await sql.raw(give).execute(f.golden.superuser);
  const token = f.token();
  const run = f.raw(open(token));
  const refusal = refusalOf(run);
  expect(await refusal.finally(() => sql.raw(take).execute(f.golden.superuser))).toBe('tenancy.unsafe_role');
  expect(await isRecorded(token)).toBe(false);
});
