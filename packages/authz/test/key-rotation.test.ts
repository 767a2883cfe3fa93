/** Time: expiry and overlap to the second under clocks that are moved, rotations that race, last use, and the report. */
import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { ApiKeys, IssuedKey } from '../src/keys/index.ts';
import { DAY, KeyWorld, type keyResources } from './keys-fixture.ts';
import { ORG_A, ORG_B, START_MS, TestIssuer } from './session-fixture.ts';

const issuer = await TestIssuer.start();
afterAll(async () => await issuer.close());
let world: KeyWorld;
let keys: ApiKeys<typeof keyResources>;
const HOUR = 3_600_000;
const entry = { org: ORG_A, id: 'entry:1', createdBy: 'user:bob', amountCents: 500, locked: false } as const;

beforeEach(() => {
  world = new KeyWorld(issuer);
  keys = world.keys();
});

const make = async (subject = 'olga'): Promise<IssuedKey> => await keys.create(await world.creation(subject));

async function rotation(id: string, part: Partial<Parameters<ApiKeys['rotate']>[0]> = {}) {
  const { name: _name, scope: _scope, ...request } = await world.creation();
  return { ...request, id, overlapMs: HOUR, ...part };
}

async function state({ key }: IssuedKey, by = keys): Promise<string> {
  return await by.verify(key.reveal()).then(
    () => 'alive',
    (error: { reason: string }) => error.reason,
  );
}

describe('expiry', () => {
  test('is exact: alive in the last millisecond before, over at the instant', async () => {
    world.clock.pass(1_234); // in the middle of a second
    const issued = await make();
    expect(issued.expiresAt).toBe(START_MS + 1_000 + DAY);
    world.clock.pass(issued.expiresAt - world.clock.wall - 1);
    expect(await state(issued)).toBe('alive');
    world.clock.pass(1);
    expect(await state(issued)).toBe('expired');
  });

  test('is not put off by a wall clock that is set back, also for a key admitted before', async () => {
    const issued = await make();
    const access = await keys.admit(issued.key.reveal());
    world.clock.mono += DAY;
    world.clock.wall -= 10 * DAY;
    expect(await state(issued)).toBe('expired');
    await expect(keys.admit(issued.key.reveal())).rejects.toMatchObject({ reason: 'expired' });
    expect(access.authorize('entry.read', entry).effect).toBe('deny');
  });

  test('comes early when the wall clock jumps forward, and no later when it jumps back again', async () => {
    const issued = await make();
    world.clock.wall += 2 * DAY;
    expect(await state(issued)).toBe('expired');
    world.clock.wall -= 2 * DAY;
    expect(await state(issued)).toBe('alive');
    world.clock.pass(DAY);
    expect(await state(issued)).toBe('expired');
  });

  test('ends a key that was admitted before it', async () => {
    const issued = await make();
    const access = await keys.admit(issued.key.reveal());
    world.clock.pass(DAY - 1);
    expect(access.authorize('entry.read', entry).effect).toBe('allow');
    world.clock.pass(1);
    expect(access.authorize('entry.read', entry).effect).toBe('deny');
  });

  test('is looked at again after a slow directory, though the wall clock was set back before', async () => {
    const issued = await make();
    const { directory } = world;
    const member: typeof directory.member = async (org, identity) => {
      world.clock.mono += DAY;
      return await directory.member(org, identity);
    };
    const slow = world.keys({ directory: { ...directory, member } });
    world.clock.wall -= 10 * DAY;
    await expect(slow.admit(issued.key.reveal())).rejects.toMatchObject({ reason: 'ended' });
  });

  test('is looked at again after a slow store', async () => {
    const issued = await make();
    const find: typeof world.store.find = async (id) => {
      const record = await world.store.find(id);
      world.clock.pass(DAY);
      return record;
    };
    expect(await state(issued, world.keys({ store: { ...world.store, find } }))).toBe('expired');
  });
});

describe('rotation', () => {
  test('lets both keys work during the overlap, and ends the old one at its last second', async () => {
    const old = await make();
    world.clock.pass(500);
    const next = await keys.rotate(await rotation(old.id));
    const end = START_MS + HOUR; // from the whole second
    world.clock.pass(end - world.clock.wall - 1);
    expect([await state(old), await state(next)]).toEqual(['alive', 'alive']);
    world.clock.pass(1);
    expect([await state(old), await state(next)]).toEqual(['rotated', 'alive']);
    world.clock.wall -= DAY;
    expect(await state(old)).toBe('rotated');
  });

  test('does not lengthen the life of the old key', async () => {
    const old = await make();
    world.clock.pass(DAY - 1_000);
    await keys.rotate(await rotation(old.id));
    world.clock.pass(1_000);
    expect(await state(old)).toBe('expired');
  });

  test('without an overlap ends the old key at once, for processes that have it at hand too', async () => {
    const old = await make();
    expect(await state(old)).toBe('alive');
    const access = await keys.admit(old.key.reveal());
    await keys.rotate(await rotation(old.id, { overlapMs: 0 }));
    expect(await state(old)).toBe('rotated');
    expect(access.authorize('entry.read', entry).effect).toBe('deny');
  });

  test.each([
    ['in the middle of a second', 999, 0],
    ['by a store that takes its time', 0, 3_000],
  ])('with an overlap as short as it may be ends at its second, begun %s', async (_, into, waiting) => {
    const old = await make();
    world.clock.pass(into);
    const began = world.clock.wall;
    const other = world.keys();
    const rotate: typeof world.store.rotate = async (given) => {
      world.clock.pass(waiting);
      expect(await state(old, other)).toBe('alive'); // reads the record in the last moment before it has an end
      return await world.store.rotate(given);
    };
    const rotating = world.keys({ store: { ...world.store, rotate } });
    await rotating.rotate(await rotation(old.id, { overlapMs: 5_000 }));
    const end = began - into + 5_000;
    world.clock.pass(end - 1 - world.clock.wall);
    expect(await state(old, other)).toBe('alive');
    await other.admit(old.key.reveal());
    world.clock.pass(1);
    expect(await state(old, other)).toBe('rotated');
  });

  test('with an overlap is known to every process before it ends, even one with an old record', async () => {
    const old = await make();
    const other = world.keys();
    expect(await state(old, other)).toBe('alive'); // has the record without its end at hand from now on
    await keys.rotate(await rotation(old.id, { overlapMs: 5_000 }));
    world.clock.pass(4_999);
    expect(await state(old, other)).toBe('alive');
    world.clock.pass(1);
    expect(await state(old, other)).toBe('rotated');
    // An overlap shorter than a record may be old could not be kept, so it is not promised.
    const fresh = await make();
    await expect(keys.rotate(await rotation(fresh.id, { overlapMs: 4_000 }))).rejects.toThrow(
      'recordMaxAgeMs',
    );
  });

  test('of one key by several at once leaves one successor', async () => {
    const old = await make();
    const requests = await Promise.all(Array.from({ length: 6 }, () => rotation(old.id)));
    const outcomes = await Promise.allSettled(requests.map((request) => keys.rotate(request)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ reason: 'rotated' });
    }
    expect(await world.store.list(ORG_A)).toHaveLength(2);
  });

  test('sent again makes no second key; of an ended, unknown or foreign key makes none', async () => {
    const old = await make();
    const request = await rotation(old.id);
    await keys.rotate(request);
    await expect(keys.rotate(request)).rejects.toMatchObject({ code: 'authz.key_conflict' });
    const revoked = await make();
    await keys.revoke({ kind: 'key', org: ORG_A, id: revoked.id });
    await expect(keys.rotate(await rotation(revoked.id))).rejects.toMatchObject({ reason: 'ended' });
    await expect(keys.rotate(await rotation('0'.repeat(16)))).rejects.toMatchObject({ reason: 'missing' });
    const foreign = await rotation((await make()).id, { org: ORG_B });
    await expect(keys.rotate(foreign)).rejects.toMatchObject({ reason: 'missing' });
    const expired = await make();
    world.clock.pass(DAY);
    await expect(keys.rotate(await rotation(expired.id))).rejects.toMatchObject({ reason: 'ended' });
  });

  test('gives nobody the rights of another: the scope is held against who rotates', async () => {
    const { id } = await keys.create(
      await world.creation('olga', { scope: { roles: ['owner'], actions: ['entry.approve'] } }),
    );
    const session = await world.session('carl');
    await expect(keys.rotate(await rotation(id, { session }))).rejects.toMatchObject({
      code: 'authz.ceiling_exceeded',
    });
    const feed = await make('olga');
    const mine = await keys.rotate(await rotation(feed.id, { session }));
    expect((await keys.admit(mine.key.reveal())).actsFor).toBe('user:carl');
  });

  test('of the pepper leaves keys under the old one working until it is taken away', async () => {
    const old = await make();
    const [p1, p2] = [world.peppers.keys.p1, createSecretKey(randomBytes(32))];
    const both = world.keys({ peppers: { current: 'p2', keys: { p1, p2 } } });
    const next = await both.create(await world.creation());
    expect([await state(old, both), await state(next, both)]).toEqual(['alive', 'alive']);
    const after = world.keys({ peppers: { current: 'p2', keys: { p2 } } });
    expect([await state(old, after), await state(next, after)]).toEqual(['unknown', 'alive']);
    const { keys: listed } = await both.report(ORG_A, { rotateAfterMs: DAY, unusedAfterMs: DAY });
    expect(listed.map(({ pepper }) => pepper).sort()).toEqual(['p1', 'p2']);
  });

  test('and other options are checked when they are set', () => {
    const short = createSecretKey(randomBytes(31));
    for (const part of [
      { peppers: { current: 'p1', keys: { p1: short } } },
      { peppers: { current: 'p9', keys: world.peppers.keys } },
      { maxLifetimeMs: 731 * DAY },
      { recordMaxAgeMs: 60_001 },
      { recordMaxAgeMs: -1 },
      { lastUsedIntervalMs: 0 },
    ]) {
      expect(() => world.keys(part)).toThrow(TypeError);
    }
  });
});

describe('last use', () => {
  const written = async () => (await world.store.list(ORG_A)).map(({ lastUsedAt }) => lastUsedAt);
  const writes = () => world.calls.filter((name) => name === 'touch').length;

  test('is written once per interval, however often a key is used', async () => {
    const key = (await make()).key.reveal();
    for (let n = 0; n < 100; n += 1) await keys.admit(key);
    expect(writes()).toBe(1);
    world.clock.pass(59_999);
    await keys.admit(key);
    expect(writes()).toBe(1);
    world.clock.pass(1);
    await keys.admit(key);
    await keys.flush();
    expect(await written()).toEqual([START_MS + 60_000]);
  });

  test('that could not be written is told, written later, and stands in nobody’s way', async () => {
    const key = (await make()).key.reveal();
    const told: unknown[] = [];
    let broken = true;
    const touch: typeof world.store.touch = async (uses) => {
      if (broken) throw new Error('no connection');
      await world.store.touch(uses);
    };
    const store = { ...world.store, touch };
    const faulty = world.keys({ store, onLastUsedError: (cause) => told.push(cause) });
    await faulty.admit(key);
    await expect(faulty.flush()).rejects.toThrow('no connection');
    expect(told).toHaveLength(1);
    broken = false;
    await faulty.flush();
    expect(await written()).toEqual([START_MS]);
  });
});

test('the report names keys that are overdue, unused, orphaned or above their creator', async () => {
  const limits = { rotateAfterMs: 12 * HOUR, unusedAfterMs: 6 * HOUR };
  const used = await make();
  const scope = { roles: ['owner'], actions: ['entry.approve'] };
  const high = await keys.create(await world.creation('olga', { scope }));
  const orphan = await make('carl');
  const gone = await make();
  await keys.revoke({ kind: 'key', org: ORG_A, id: gone.id });
  const findings = async () =>
    new Map((await keys.report(ORG_A, limits)).keys.map((key) => [key.id, key.findings]));
  expect([...(await findings()).values()]).toEqual([[], [], []]);
  world.clock.pass(12 * HOUR - 1);
  await keys.admit(used.key.reveal());
  await keys.flush();
  world.clock.pass(1);
  world.members.set('olga', ['clerk']);
  world.members.delete('carl');
  expect(await findings()).toEqual(
    new Map([
      [used.id, ['overdue']],
      [high.id, ['overdue', 'unused', 'above_ceiling']],
      [orphan.id, ['overdue', 'unused', 'orphaned']],
    ]),
  );
  const [, second] = (await keys.report(ORG_A, limits)).keys;
  expect(second?.witness?.action).toBe('entry.approve');
  expect((await keys.report(ORG_B, limits)).keys).toEqual([]);
});
