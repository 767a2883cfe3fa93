/** API keys over the store and the feed on PostgreSQL, as two processes use them, with clocks set by hand. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import type { ApiKeys, IssuedKey } from '../src/keys/index.ts';
import { postgresRevocations } from '../src/postgres/index.ts';
import { Revocations } from '../src/session/index.ts';
import { DAY, KeyWorld, type keyResources } from './keys-fixture.ts';
import { KeyDatabase } from './postgres-fixture.ts';
import { ORG_A, TestIssuer } from './session-fixture.ts';

type Keys = ApiKeys<typeof keyResources>;
const LONG = { timeout: 20_000 };
let db: KeyDatabase;
let issuer: TestIssuer;
let world: KeyWorld;
let first: Keys;
let second: Keys;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  [db, issuer] = await Promise.all([KeyDatabase.create('authz_world'), TestIssuer.start()]);
});
afterAll(async () => await Promise.all([db?.drop(), issuer?.close()]));
beforeEach(async () => {
  await db.owner.query('delete from authz.api_key; delete from authz.revocation');
  world = new KeyWorld(issuer);
  [first, second] = await Promise.all([process(), process()]);
});
afterEach(async () => {
  await Promise.all([first.flush(), second.flush()]); // a last use that is being written
  for (const stop of stops.splice(0)) await stop();
});

/** Keys of a process of its own: another cache, another register. */
async function process(): Promise<Keys> {
  const feed = postgresRevocations({
    db: db.system,
    pollMs: 60_000,
    connect: async () => {
      const client = new pg.Client({ connectionString: db.database.keysUrl });
      await client.connect();
      return client;
    },
  });
  const revocations = new Revocations({ publish: feed.publish, ...world.clock });
  stops.push(await feed.follow(revocations));
  return world.keys({ store: db.store, revocations, recordMaxAgeMs: 60_000 });
}

async function state({ key }: IssuedKey, by: Keys): Promise<string> {
  return await by.admit(key.reveal()).then(
    () => 'alive',
    (error: { reason: string }) => error.reason,
  );
}

async function rotation(id: string, overlapMs: number) {
  const { name: _name, scope: _scope, ...request } = await world.creation();
  return { ...request, id, overlapMs };
}

test('a key that one process makes works in the other, and expires at its second', async () => {
  const made = await first.create(await world.creation());
  expect(await state(made, second)).toBe('alive');
  world.clock.pass(made.expiresAt - world.clock.wall - 1);
  expect(await state(made, second)).toBe('alive');
  world.clock.pass(1);
  expect(await state(made, second)).toBe('expired');
});

test('an overlap ends at its second in both, also where the record is at hand', async () => {
  const old = await first.create(await world.creation());
  expect(await state(old, second)).toBe('alive');
  const next = await first.rotate(await rotation(old.id, 60_000));
  const end = Math.floor(world.clock.wall / 1_000) * 1_000 + 60_000;
  world.clock.pass(end - world.clock.wall - 1);
  expect([await state(old, first), await state(old, second)]).toEqual(['alive', 'alive']);
  world.clock.pass(1);
  expect([await state(old, first), await state(old, second)]).toEqual(['rotated', 'rotated']);
  expect(await state(next, second)).toBe('alive');
});

test('a rotation without an overlap ends the key in the other process at once', async () => {
  const old = await first.create(await world.creation());
  expect(await state(old, second)).toBe('alive');
  await first.rotate(await rotation(old.id, 0));
  await vi.waitFor(async () => expect(await state(old, second)).toBe('rotated'), LONG);
});

test('two processes that rotate a key at once leave one successor', async () => {
  const old = await first.create(await world.creation());
  const requests = [await rotation(old.id, 60_000), await rotation(old.id, 60_000)] as const;
  const outcomes = await Promise.allSettled([first.rotate(requests[0]), second.rotate(requests[1])]);
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  for (const outcome of outcomes)
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ reason: 'rotated' });
  expect(await db.store.list(ORG_A)).toHaveLength(2);
});

test.each(['org', 'creator', 'everywhere'] as const)(
  'a revocation by %s in one process ends the keys that the other has at hand',
  async (kind) => {
    const [mine, other] = [
      await first.create(await world.creation('olga')),
      await first.create(await world.creation('carl')),
    ];
    expect([await state(mine, second), await state(other, second)]).toEqual(['alive', 'alive']);
    const creator = { issuer: issuer.url, subject: 'olga' };
    const selection = {
      org: { kind: 'org', org: ORG_A },
      creator: { kind: 'creator', org: ORG_A, creator },
    } as const;
    await first.revoke(kind === 'everywhere' ? { kind } : selection[kind]);
    await vi.waitFor(async () => expect(await state(mine, second)).toBe('revoked'), LONG);
    expect(await state(other, second)).toBe(kind === 'creator' ? 'alive' : 'revoked');
  },
);

test('a revocation whose process died before it told anybody is heard of all the same', async () => {
  const made = await first.create(await world.creation());
  expect(await state(made, second)).toBe('alive');
  await db.store.revoke({ kind: 'key', org: ORG_A, id: made.id }, world.clock.wall);
  await vi.waitFor(async () => expect(await state(made, second)).toBe('revoked'), LONG);
});

test('last use is written, and the report sees the keys of the organisation', async () => {
  const made = await first.create(await world.creation());
  await second.admit(made.key.reveal());
  await second.flush();
  world.clock.pass(DAY / 2);
  const { keys } = await first.report(ORG_A, { rotateAfterMs: DAY / 2, unusedAfterMs: DAY });
  expect(keys).toMatchObject([{ id: made.id, findings: ['overdue'] }]);
});
