/** One policy, four readings: `authorize` on each row, the where clause, the Kysely expression, row-level security. */

import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { type PolicyDocument, policyFromJSON } from '../src/index.ts';
import { whereAllowed } from '../src/kysely.ts';
import { rlsPolicy, rowFilter } from '../src/sql/index.ts';
import { unsafeApproval, unsafeSessionFacts } from '../src/testing/index.ts';
import { ORGS, policyDocument, type Request, ROLES, type Row, request, row } from './arbitraries.ts';
import { as, entry, NOW, ORG, policy } from './model.ts';

const POLICIES = 200;
const ROWS = 200;
const COLUMNS = {
  org: 'org_id',
  id: 'id',
  kind: 'kind',
  owner: 'owner_id',
  peer: 'peer_id',
  n: 'n',
  flag: 'flag',
};
const setting = (name: string): string => `nullif(current_setting('app.${name}', true), '')`;
const REQUEST_SQL = {
  org: `${setting('org')}::uuid`,
  principalId: setting('user'),
  roles: "string_to_array(current_setting('app.roles', true), ',')",
  mfa: `${setting('mfa')}::boolean`,
  sso: `(${setting('sso')} is not null)`,
  acr: setting('acr'),
  authenticatedAt: `${setting('authenticated_at')}::bigint`,
};

let database: TestDatabase;
let owner: pg.Client;
let app: pg.Client;
let kysely: Kysely<{ item: { id: string } }>;
let rows: readonly Row[];

beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'authz_filter');
  owner = new pg.Client({ connectionString: database.ownerUrl });
  app = new pg.Client({ connectionString: database.appUrl });
  await Promise.all([owner.connect(), app.connect()]);
  kysely = new Kysely({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: database.ownerUrl, max: 1 }) }),
  });
  await owner.query(`
    create schema shop;
    create table shop.item (
      id text primary key, org_id uuid not null, kind text, owner_id text, peer_id text, n bigint, flag boolean
    );
    grant usage on schema shop to ${database.app};
    grant select on shop.item to ${database.app};
    alter table shop.item enable row level security;
    create policy everything on shop.item as permissive for select to ${database.app} using (true);
    alter role ${database.owner} set search_path = shop;
  `);
  await owner.query('set search_path = shop');
  const generated = fc.sample(row, { numRuns: ROWS, seed: 42 });
  for (const [k, each] of generated.entries()) {
    await owner.query('insert into shop.item values ($1, $2, $3, $4, $5, $6, $7)', [
      `item:${k}`,
      each.org,
      each.kind,
      each.owner,
      each.peer,
      each.n === null ? null : BigInt(each.n),
      each.flag,
    ]);
  }
  const stored = await owner.query('select * from shop.item order by id');
  rows = stored.rows.map((each: Record<string, string | boolean | null>) => ({
    id: String(each['id']),
    org: String(each['org_id']),
    kind: each['kind'] as string | null,
    owner: each['owner_id'] as string | null,
    peer: each['peer_id'] as string | null,
    n: each['n'] === null ? null : Number(each['n']),
    flag: each['flag'] as boolean | null,
  }));
});

afterAll(async () => {
  await Promise.all([owner?.end(), app?.end(), kysely?.destroy()]);
  await database?.drop();
});

function contextOf(asked: Request, approvedIds: readonly string[] = []) {
  const approvals = approvedIds.flatMap((resourceId) =>
    ['approver:1', 'approver:2'].map((by) =>
      unsafeApproval({ by, roles: ROLES, org: ORGS[0], action: 'row.read', resourceId }),
    ),
  );
  return { ...asked, session: unsafeSessionFacts(asked.session), approvals };
}

function checked(document: PolicyDocument, context: ReturnType<typeof contextOf>): readonly string[] {
  const loaded = policyFromJSON(document);
  return rows
    .filter((each) => loaded.authorize(context, 'row.read', each as never).effect === 'allow')
    .map(({ id }) => id);
}

async function idsOf(
  client: pg.Client,
  where: string,
  parameters: readonly unknown[] = [],
): Promise<readonly string[]> {
  const { rows: found } = await client.query<{ id: string }>(
    `select id from shop.item where ${where} order by id`,
    [...parameters],
  );
  return found.map(({ id }) => id);
}

async function sampled<T>(arbitrary: fc.Arbitrary<T>, run: (value: T) => Promise<void>): Promise<void> {
  for (const value of fc.sample(arbitrary, { numRuns: POLICIES, seed: 7 })) await run(value);
}

describe('check and filter agree row by row', () => {
  const now = Date.now();

  test(`on ${POLICIES} random policies and ${ROWS} rows, as text and as Kysely expression, with approvals`, async () => {
    let visible = 0;
    let partial = 0;
    await sampled(fc.tuple(policyDocument, request(now)), async ([document, asked]) => {
      const context = contextOf(asked, ['item:1', 'item:10', 'item:100']);
      const expected = checked(document, context);
      const loaded = policyFromJSON(document);
      const filter = rowFilter(loaded, context, 'row.read', COLUMNS as never);
      const { text, parameters } = filter.toSql();
      expect(await idsOf(owner, text, parameters)).toEqual(expected);
      if (!filter.possible) expect(expected).toEqual([]);
      const where = whereAllowed(loaded, context, 'row.read', COLUMNS as never);
      const found = await kysely.selectFrom('item').select('id').where(where).orderBy('id').execute();
      expect(found.map(({ id }) => id)).toEqual(expected);
      visible += expected.length;
      if (expected.length > 0 && expected.length < ROWS / 2) partial += 1;
    });
    expect(visible).toBeGreaterThan(1_000); // the comparison is not one of empty lists
    expect(partial).toBeGreaterThan(20);
  });

  test(`on ${POLICIES} random policies and ${ROWS} rows, as row-level security`, async () => {
    let visible = 0;
    let policies = 0;
    await sampled(fc.tuple(policyDocument, request(now)), async ([document, asked]) => {
      const expected = checked(document, contextOf(asked));
      const ddl = rlsPolicy(policyFromJSON(document), 'row.read', {
        name: 'item_read',
        table: 'shop.item',
        to: database.app,
        command: 'select',
        columns: COLUMNS as never,
        request: REQUEST_SQL,
      });
      // Quoting holds in both readings of a backslash.
      await owner.query(`set standard_conforming_strings = ${policies % 2 === 0 ? 'on' : 'off'}`);
      policies += 1;
      await owner.query(`drop policy if exists item_read on shop.item; ${ddl}`);
      const { principal, session } = asked;
      const settings: Readonly<Record<string, string>> = {
        org: principal.org,
        user: principal.id,
        roles: principal.roles.join(','),
        mfa: String(session.mfa),
        sso: session.ssoConnection ?? '',
        acr: session.acr ?? '',
        authenticated_at: session.authenticatedAt === undefined ? '' : String(session.authenticatedAt),
      };
      const names = Object.keys(settings);
      const calls = names.map((name, k) => `set_config('app.${name}', $${k + 1}, false)`);
      await app.query(`select ${calls.join(', ')}`, Object.values(settings));
      expect(await idsOf(app, 'true')).toEqual(expected);
      visible += expected.length;
    });
    expect(visible).toBeGreaterThan(1_000);
  });

  test('row-level security shows nothing without a principal, without roles, or with a role unknown', async () => {
    const open = {
      resources: { row: { actions: ['read'] } },
      roles: ['r0'],
      grants: [{ id: 'g', roles: ['r0'], actions: ['row.read'] }],
    };
    const ddl = rlsPolicy(policyFromJSON(open), 'row.read', {
      name: 'item_read',
      table: 'shop.item',
      to: database.app,
      command: 'select',
      columns: { org: 'org_id' },
      request: REQUEST_SQL,
    });
    await owner.query(`drop policy if exists item_read on shop.item; ${ddl}`);
    const count = async (org: string, user: string, roles: string): Promise<number> => {
      await app.query(
        "select set_config('app.org', $1, false), set_config('app.user', $2, false), set_config('app.roles', $3, false)",
        [org, user, roles],
      );
      return (await idsOf(app, 'true')).length;
    };
    expect(await count(ORGS[0], 'user:ada', 'r0')).toBeGreaterThan(0);
    expect(await count(ORGS[0], '', 'r0')).toBe(0);
    expect(await count(ORGS[0], 'user:ada', '')).toBe(0);
    expect(await count(ORGS[0], 'user:ada', 'r0,root')).toBe(0);
    expect(await count('', 'user:ada', 'r0')).toBe(0);
  });
});

describe('a row filter', () => {
  test('is a where clause with parameters', () => {
    const filter = rowFilter(policy, as('auditor'), 'entry.read', { org: 'e.org_id', status: 'e.status' });
    expect(filter.toSql(3)).toEqual({
      text: '("e"."org_id" = $3 and "e"."status" in ($4, $5))',
      parameters: [ORG, 'approved', 'posted'],
    });
  });

  test('that no row can pass says so, and what a stronger session would change', () => {
    const filter = rowFilter(policy, as('owner'), 'entry.export', { org: 'org_id' });
    expect(filter).toMatchObject({ possible: false, stepUp: { mfa: true, sso: true, maxAge: 300 } });
    const nobody = rowFilter(policy, as('auditor'), 'entry.post', {
      org: 'org_id',
      status: 's',
      locked: 'l',
    });
    expect(nobody).toMatchObject({ possible: false, stepUp: undefined });
    expect(nobody.toSql()).toEqual({ text: 'false', parameters: [] });
  });

  test('refuses a condition whose attribute has no column, rather than to ignore it', () => {
    const ask = () => rowFilter(policy, as('bookkeeper'), 'entry.post', { org: 'org_id', status: 'status' });
    expect(ask).toThrow(expect.objectContaining({ code: 'authz.invalid_columns' }));
    const inherited = Object.create({ locked: 'locked' }) as object;
    const columns = Object.assign(inherited, { org: 'org_id', status: 'status' });
    expect(() => rowFilter(policy, as('bookkeeper'), 'entry.post', columns)).toThrow(
      /"locked" has no column/,
    );
  });

  test.each(['a"b', 'a;b', 'a b', "a'", 'a.b.c.d', '', '1a', 'a--'])('refuses the column name %s', (name) => {
    const columns = { org: name, status: 'status' };
    const refused = /is not a plain column or table name/;
    expect(() => rowFilter(policy, as('owner'), 'entry.read', columns).toSql()).toThrow(refused);
    expect(() => whereAllowed(policy, as('owner'), 'entry.read', columns)).toThrow(refused);
    const options = { name: 'p', table: 't', to: 'app', command: 'select', request: REQUEST_SQL } as const;
    expect(() => rlsPolicy(policy, 'entry.read', { ...options, columns })).toThrow(refused);
    const named = { ...options, columns: { org: 'org_id', status: 'status' }, table: name };
    expect(() => rlsPolicy(policy, 'entry.read', named)).toThrow(refused);
  });

  test('refuses a request that authorize would deny as malformed', () => {
    const ask = rowFilter as (policy: unknown, context: unknown, action: unknown, columns: object) => unknown;
    const { principal } = as('owner');
    for (const wrong of [
      undefined,
      { principal: { ...principal, roles: ['root'] } },
      { principal: { ...principal, roles: 'owner' } },
      { principal: { ...principal, org: 'x'.repeat(36) } },
      { principal: { ...principal, id: 'a\u0000b' } },
      { principal, session: { mfa: true } },
    ]) {
      expect(() => ask(policy, wrong, 'entry.read', { org: 'org_id' })).toThrow(
        expect.objectContaining({ code: 'authz.invalid_request' }),
      );
    }
    expect(() => ask(policy, as('owner'), 'entry.fly', { org: 'org_id' })).toThrow(/not an action/);
    expect(() => ask({ hash: policy.hash }, as('owner'), 'entry.read', { org: 'org_id' })).toThrow(TypeError);
  });

  test('binds a principal id that tries to leave its quotes', async () => {
    const id = "' or true --";
    const hostile = { ...as('controller'), principal: { ...as('controller').principal, id }, now: NOW };
    const session = unsafeSessionFacts({ mfa: true });
    const columns = { org: 'org_id', createdBy: 'created_by', status: 'status', amountCents: 'amount' };
    const { text, parameters } = rowFilter(policy, { ...hostile, session }, 'entry.approve', columns).toSql();
    expect(text).not.toContain('true');
    expect(parameters).toContain(id);
    expect(policy.authorize({ ...hostile, session }, 'entry.approve', entry).effect).toBe('allow');
  });
});
