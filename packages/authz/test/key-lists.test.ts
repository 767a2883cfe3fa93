/** Lists through a key: the rows that its scope and its creator both allow, compared with `authorize` on each row. */

import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { type PolicyDocument, policyFromJSON } from '../src/index.ts';
import type { ApiKeyRecord, VerifiedKey } from '../src/keys/index.ts';
import { ScopedAccess } from '../src/keys/key-access.ts';
import { whereFilter } from '../src/kysely.ts';
import { rowFilter, rowFilterWithinCeiling } from '../src/sql/index.ts';
import { unsafeSessionFacts } from '../src/testing/index.ts';
import { ORGS, policyDocument, type Request, ROLES, type Row, request, row } from './arbitraries.ts';
import { FEED, KeyWorld, stricterPolicy } from './keys-fixture.ts';
import { ORG_A, TestIssuer } from './session-fixture.ts';

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

let database: TestDatabase;
let owner: pg.Client;
let kysely: Kysely<{ item: { id: string } }>;
let rows: readonly Row[];
let issuer: TestIssuer;

beforeAll(async () => {
  issuer = await TestIssuer.start();
  database = await createTestDatabase(inject('databaseUrl'), 'authz_lists');
  owner = new pg.Client({ connectionString: database.ownerUrl });
  await owner.connect();
  kysely = new Kysely({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: database.ownerUrl, max: 1 }) }),
  });
  await owner.query(`create table item (
    id text primary key, org_id uuid not null, kind text, owner_id text, peer_id text, n bigint, flag boolean)`);
  rows = fc
    .sample(row, { numRuns: ROWS, seed: 43 })
    .map((each, k) => ({ id: `item:${String(k).padStart(3, '0')}`, ...each }));
  for (const { id, org, kind, owner: of, peer, n, flag } of rows)
    await owner.query('insert into item values ($1, $2, $3, $4, $5, $6, $7)', [
      id,
      org,
      kind,
      of,
      peer,
      n === null ? null : BigInt(n),
      flag,
    ]);
});
afterAll(async () => {
  await Promise.all([owner?.end(), kysely?.destroy(), issuer?.close()]);
  await database?.drop();
});

const scope = fc.record({
  roles: fc.uniqueArray(fc.constantFrom(...ROLES), { minLength: 1 }),
  actions: fc.constantFrom<string[]>(['row.read'], ['row.read', 'row.write'], ['row.write']),
});

/** The access of a key with this scope, whose creator is the principal of the request. */
function accessOf(document: PolicyDocument, { principal, session, now }: Request, of: ApiKeyRecord['scope']) {
  const context = { principal, session: unsafeSessionFacts(session) };
  return new ScopedAccess(
    {} as VerifiedKey,
    policyFromJSON(document),
    context,
    { scope: of } as ApiKeyRecord,
    () => now,
  );
}

describe('a list through a key', () => {
  test(`has the rows that authorize allows, on ${POLICIES} random policies, creators and scopes`, async () => {
    let visible = 0;
    let narrowed = 0;
    let capped = 0;
    const cases = fc.sample(fc.tuple(policyDocument, request(Date.now()), scope), {
      numRuns: POLICIES,
      seed: 8,
    });
    for (const [document, asked, of] of cases) {
      const access = accessOf(document, asked, of);
      const expected = rows
        .filter((each) => access.authorize('row.read', each as never).effect === 'allow')
        .map(({ id }) => id);
      const filter = access.filter('row.read', COLUMNS as never);
      const { text, parameters } = filter.toSql();
      const found = await owner.query<{ id: string }>(`select id from item where ${text} order by id`, [
        ...parameters,
      ]);
      expect(found.rows.map(({ id }) => id)).toEqual(expected);
      if (!filter.possible) expect(expected).toEqual([]);
      const through = await kysely
        .selectFrom('item')
        .select('id')
        .where(whereFilter(filter))
        .orderBy('id')
        .execute();
      expect(through.map(({ id }) => id)).toEqual(expected);
      // Neither half alone is the answer.
      const alone = (roles: readonly string[]): number => {
        const context = { ...asked, principal: { ...asked.principal, roles: [...roles] } };
        const session = unsafeSessionFacts(asked.session);
        const loaded = policyFromJSON(document);
        return rows.filter(
          (each) => loaded.authorize({ ...context, session }, 'row.read', each as never).effect === 'allow',
        ).length;
      };
      visible += expected.length;
      if (expected.length < alone(asked.principal.roles)) narrowed += 1;
      if (of.actions.includes('row.read') && expected.length < alone(of.roles)) capped += 1;
    }
    expect(visible).toBeGreaterThan(500); // the comparison is not one of empty lists
    expect(narrowed).toBeGreaterThan(20);
    expect(capped).toBeGreaterThan(20);
  });

  test('is empty for an action outside the scope, without a query, whatever role is in it', () => {
    const open: PolicyDocument = {
      version: 1,
      resources: { row: { actions: ['read', 'write'] } },
      roles: ['r0'],
      grants: [{ id: 'g', roles: ['r0'], actions: ['row.read', 'row.write'] }],
      forbids: [],
    };
    const asked = {
      principal: { id: 'user:ada', org: ORGS[0], roles: ['r0'] },
      session: { mfa: true },
      now: Date.now(),
    };
    const access = accessOf(open, asked, { roles: ['r0'], actions: ['row.read'] });
    expect(access.filter('row.read', COLUMNS as never).possible).toBe(true);
    expect(access.filter('row.write', COLUMNS as never).possible).toBe(false);
  });

  test('follows its creator, and ends with the key', async () => {
    const world = new KeyWorld(issuer);
    const keys = world.keys();
    const { id, key } = await keys.create(await world.creation('olga', { scope: FEED }));
    const columns = { org: 'org_id', amountCents: 'n', createdBy: 'owner_id', locked: 'flag' };
    const access = await keys.admit(key.reveal());
    const { text, parameters } = access.filter('entry.post', columns).toSql();
    expect(parameters).toContain(ORG_A);
    expect(text).toContain('"n" <');
    world.members.set('olga', []);
    expect((await keys.admit(key.reveal())).filter('entry.post', columns).possible).toBe(false);
    await keys.revoke({ kind: 'key', org: ORG_A, id });
    expect(() => access.filter('entry.post', columns)).toThrow(
      expect.objectContaining({ code: 'authz.invalid_request' }),
    );
  });

  test('says that rows are missing which its creator would see with a second factor', async () => {
    const world = new KeyWorld(issuer);
    const keys = world.keys();
    const scoped = { scope: { roles: ['feed'], actions: ['entry.read'] } };
    const { key } = await keys.create(await world.creation('olga', scoped));
    world.policy = stricterPolicy;
    const filter = (await keys.admit(key.reveal())).filter('entry.read', { org: 'org_id' });
    expect(filter).toMatchObject({ possible: false, stepUp: { mfa: true } });
    world.members.set('olga', ['clerk']); // who may not read under this policy, whatever the session
    const hopeless = (await keys.admit(key.reveal())).filter('entry.read', { org: 'org_id' });
    expect(hopeless).toMatchObject({ possible: false, stepUp: undefined });
  });
});

describe('a row filter under a ceiling', () => {
  const world = { org: ORG_A, roles: ['owner'] } as const;
  const policy = stricterPolicy;
  const context = {
    principal: { id: 'user:ada', org: ORG_A, roles: ['feed'] as const },
    session: unsafeSessionFacts({ mfa: true }),
    now: 1_000,
  };
  const columns = { org: 'org_id' };

  test('lets no row through without a giver who lives, in this organisation, with this action', () => {
    const possible = (giver: Parameters<typeof rowFilterWithinCeiling>[2]) =>
      rowFilterWithinCeiling(policy, context, giver, 'entry.read', columns).possible;
    expect(possible(world)).toBe(true);
    expect(possible(undefined)).toBe(false);
    expect(possible({ ...world, org: ORGS[1] })).toBe(false);
    expect(possible({ ...world, until: 1_000 })).toBe(false);
    expect(possible({ ...world, until: 1_001 })).toBe(true);
    expect(possible({ ...world, actions: ['entry.post'] })).toBe(false);
    expect(possible({ ...world, roles: [] })).toBe(false);
  });

  test('is refused where it is malformed, and a look-alike is no filter', () => {
    const wrong = { ...context, principal: { ...context.principal, roles: ['root'] as never } };
    expect(() => rowFilterWithinCeiling(policy, wrong, undefined, 'entry.read', columns)).toThrow(
      expect.objectContaining({ code: 'authz.invalid_request' }),
    );
    const filter = rowFilter(policy, context, 'entry.read', columns);
    const everything = { possible: true, stepUp: undefined, toSql: () => ({ text: 'true', parameters: [] }) };
    class Extended extends (filter.constructor as new (...given: unknown[]) => typeof filter) {}
    const forged: readonly unknown[] = [
      everything,
      { ...filter },
      {
        ...filter,
        expression: { kind: 'constant', value: true },
        '#expression': { kind: 'constant', value: true },
      },
      Object.create(filter),
      Object.setPrototypeOf({ ...everything }, Object.getPrototypeOf(filter) as object),
      new Proxy(filter, {}),
      structuredClone({ possible: true }),
      JSON.parse(JSON.stringify(filter)),
      Extended.prototype,
      () => filter,
      'true',
      null,
      undefined,
    ];
    for (const one of forged) {
      expect(() => whereFilter(one as never)).toThrow(
        expect.objectContaining({ code: 'authz.invalid_filter' }),
      );
    }
    // Nor is a real one bent: its expression is private, and what it shows is frozen.
    for (const bend of [
      () => Object.assign(filter, everything),
      () => Object.defineProperty(filter, 'toSql', { value: everything.toSql }),
      () => filter.toSql.call({ ...everything }),
    ]) {
      expect(bend).toThrow(TypeError);
    }
    expect(whereFilter(filter)).toBeDefined();
  });
});
