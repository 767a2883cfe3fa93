/** API keys under attack: who may make them, what they may do, and what is left of them when something has changed. */
import { createSecretKey, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ApiKeys } from '../src/keys/index.ts';
import { KeyFormat } from '../src/keys/key-format.ts';
import { createSessionGuard } from '../src/session/index.ts';
import { memoryApiKeyStore } from '../src/testing/index.ts';
import { work } from './counted-crypto.ts';
import { DAY, KeyWorld, type keyResources, stricterPolicy, widerPolicy } from './keys-fixture.ts';
import { ORG_A, ORG_B, TestIssuer } from './session-fixture.ts';

vi.mock('node:crypto', async (original) => {
  const { counted } = await import('./counted-crypto.ts');
  return counted(await original());
});

const issuer = await TestIssuer.start();
afterAll(async () => await issuer.close());
let world: KeyWorld;
let keys: ApiKeys<typeof keyResources>;
const entry = { org: ORG_A, id: 'entry:1', createdBy: 'user:bob', amountCents: 500, locked: false } as const;

beforeEach(() => {
  world = new KeyWorld(issuer);
  keys = world.keys();
});

async function made(subject = 'olga', part: Parameters<KeyWorld['creation']>[1] = {}): Promise<string> {
  return (await keys.create(await world.creation(subject, part))).key.reveal();
}

describe('a key', () => {
  test('does what its scope and its creator both allow, as its creator', async () => {
    const access = await keys.admit(await made());
    expect(access.actsFor).toBe('user:olga');
    expect(access.authorize('entry.post', entry).effect).toBe('allow');
    expect(access.authorize('entry.post', { ...entry, amountCents: 1_000 }).effect).toBe('deny');
    expect(access.authorize('entry.approve', entry).effect).toBe('deny');
    expect(access.authorize('entry.read', { ...entry, org: ORG_B }).effect).toBe('deny');
    expect(() => access.require('entry.approve', entry)).toThrow(
      expect.objectContaining({ code: 'authz.denied' }),
    );
  });

  test('does no action outside its scope, though its role and its creator both may', async () => {
    const access = await keys.admit(
      await made('olga', { scope: { roles: ['owner'], actions: ['entry.read'] } }),
    );
    expect(access.authorize('entry.read', entry).effect).toBe('allow');
    expect(access.authorize('entry.post', entry).effect).toBe('deny');
    const feed = await made();
    world.policy = widerPolicy; // its role may approve now, and so may its creator
    expect((await keys.admit(feed)).authorize('entry.approve', entry).effect).toBe('deny');
  });

  test('cannot approve what its creator entered, nor is what it entered approved by its creator', async () => {
    const scope = { roles: ['owner'], actions: ['entry.approve', 'entry.post'] };
    const access = await keys.admit(await made('olga', { scope }));
    expect(access.authorize('entry.approve', entry).effect).toBe('allow');
    expect(access.authorize('entry.approve', { ...entry, createdBy: 'user:olga' }).effect).toBe('deny');
    expect(access.authorize('entry.approve', { ...entry, createdBy: access.actsFor }).effect).toBe('deny');
  });

  test('is stored as a MAC, without any part of its secret', async () => {
    const key = await made();
    const records = await world.store.list(ORG_A);
    const stored = inspect(records, { depth: 9 }) + JSON.stringify(records);
    const secret = key.slice(9 + 16, -6);
    for (let at = 0; at + 6 <= secret.length; at += 1) expect(stored).not.toContain(secret.slice(at, at + 6));
    expect(records[0]?.mac).toHaveLength(32);
  });

  test('does not print itself', async () => {
    const issued = await keys.create(await world.creation());
    const secret = issued.key.reveal().slice(25);
    for (const text of [
      inspect(issued, { showHidden: true, depth: 9 }),
      JSON.stringify(issued),
      String(issued.key),
      `${issued.key}`,
      inspect(Object.assign(new Error('failed'), { issued })),
    ]) {
      expect(text).not.toContain(secret);
    }
  });

  test('stays in the memory of no cache', async () => {
    const key = await made();
    const { RecordCache } = await import('../src/keys/record-cache.ts');
    const kept: string[] = [];
    const { get } = RecordCache.prototype;
    RecordCache.prototype.get = function (digest, now) {
      kept.push(digest);
      return get.call(this, digest, now);
    };
    try {
      await keys.verify(key);
      await keys.verify(key);
      await world.keys().verify(key); // another process: another salt
    } finally {
      RecordCache.prototype.get = get;
    }
    expect(kept[0]).toBe(kept[1]);
    expect(kept[0]).toHaveLength(32);
    expect(kept[2]).not.toBe(kept[0]);
    const { hash } = await import('node:crypto');
    for (const text of [key, key.slice(0, -6)]) expect(kept).not.toContain(hash('sha256', text, 'latin1'));
  });

  test('does not stand in any refusal', async () => {
    const key = await made();
    await keys.revoke({ kind: 'org', org: ORG_A });
    const error = await keys.verify(key).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'authz.key_refused', reason: 'revoked' });
    const printed = inspect(error, { showHidden: true, depth: 9 });
    expect(printed).not.toContain(key.slice(9, 25));
    expect(printed).not.toContain(key.slice(25));
  });
});

describe('what is wrong with a key is found', () => {
  test('before any look-up or MAC, when its checksum is wrong', async () => {
    const key = await made();
    world.calls.length = 0;
    const before = { ...work };
    for (const wrong of [
      `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`,
      key.slice(1),
      '',
      `${key}A`,
    ]) {
      await expect(keys.verify(wrong)).rejects.toMatchObject({ reason: 'malformed' });
    }
    await expect(keys.verify(undefined as unknown as string)).rejects.toMatchObject({ reason: 'malformed' });
    expect(world.calls).toEqual([]);
    expect(work).toEqual(before);
  });

  test('with the same work, whether the key exists, its secret is wrong, or its pepper is gone', async () => {
    const format = new KeyFormat('ldg', 'live');
    const key = await made();
    const { checksum } = await import('../src/keys/key-format.ts');
    const forged = key.slice(0, 25) + format.draw().authenticated.slice(25);
    const orphaned = world.keys({
      peppers: { current: 'p2', keys: { p2: createSecretKey(randomBytes(32)) } },
      recordMaxAgeMs: 0,
    });
    const uncached = world.keys({ recordMaxAgeMs: 0 });
    const costs: unknown[] = [];
    for (const [attempt, by] of [
      [key, uncached],
      [format.draw().text, uncached],
      [forged + checksum(forged), uncached],
      [key, orphaned],
    ] as const) {
      const before = { ...work };
      world.calls.length = 0;
      const outcome = await by.verify(attempt).then(
        () => 'verified',
        (error: { reason: string }) => error.reason,
      );
      expect(outcome).toBe(costs.length === 0 ? 'verified' : 'unknown');
      costs.push([work.macs - before.macs, work.comparisons - before.comparisons, [...world.calls]]);
    }
    expect(costs).toEqual(Array.from({ length: 4 }, () => [1, 1, ['find']]));
  });

  test('with the same work for an id whose record is at hand and one that does not exist, whatever is guessed', async () => {
    const format = new KeyFormat('ldg', 'live');
    const key = await made();
    await keys.verify(key);
    await keys.verify(key); // at hand
    const { checksum } = await import('../src/keys/key-format.ts');
    const forged = key.slice(0, 25) + format.draw().authenticated.slice(25);
    const costs: unknown[] = [];
    for (const attempt of [forged + checksum(forged), format.draw().text, forged + checksum(forged)]) {
      const before = { ...work };
      world.calls.length = 0;
      await expect(keys.verify(attempt)).rejects.toMatchObject({ reason: 'unknown' });
      const { digests, macs, comparisons } = work;
      costs.push([
        digests - before.digests,
        macs - before.macs,
        comparisons - before.comparisons,
        ...world.calls,
      ]);
    }
    expect(costs).toEqual([1, 2, 3].map(() => [1, 1, 1, 'find']));
    const before = { ...work };
    world.calls.length = 0;
    await keys.verify(key); // and guesses have not driven it out
    expect([work.digests - before.digests, work.macs - before.macs, ...world.calls]).toEqual([1, 0]);
  });

  test('also when the store answers with the record of another key, or a MAC of another length', async () => {
    const [first, second] = [await made(), await made()];
    const records = new Map((await world.store.list(ORG_A)).map((record) => [record.id, record]));
    const other = records.get(second.slice(9, 25));
    const own = records.get(first.slice(9, 25));
    for (const answer of [other, { ...own, mac: new Uint8Array(0) }, { ...own, mac: other?.mac }]) {
      const find = async () => answer as never;
      const lying = world.keys({ store: { ...memoryApiKeyStore(), find } });
      await expect(lying.verify(first)).rejects.toMatchObject({ reason: 'unknown' });
    }
  });

  test('when it comes from another environment that shares store and pepper', async () => {
    const staging = world.keys({ type: 'test' });
    const key = (await staging.create(await world.creation())).key.reveal();
    await expect(keys.verify(key)).rejects.toMatchObject({ reason: 'malformed' });
    const { checksum } = await import('../src/keys/key-format.ts');
    const relabelled = key.replace('_test_', '_live_').slice(0, -6);
    await expect(keys.verify(relabelled + checksum(relabelled))).rejects.toMatchObject({ reason: 'unknown' });
  });
});

describe('nobody makes a key', () => {
  test.each([
    ['more actions', { roles: ['owner'], actions: ['entry.approve'] }, 'rights'],
    ['a weaker condition', { roles: ['owner'], actions: ['entry.post'] }, 'rights'],
    ['a key that mints keys', { roles: ['vault'], actions: ['apiKey.create'] }, 'rights'],
    ['a role nobody knows yet', { roles: ['admin'], actions: ['entry.read'] }, 'unknown'],
  ])('above their own rights: %s', async (_shape, scope, breach) => {
    await expect(keys.create(await world.creation('carl', { scope }))).rejects.toMatchObject({
      code: 'authz.ceiling_exceeded',
      door: 'api_key',
      breach,
    });
    expect(await world.store.list(ORG_A)).toEqual([]);
  });

  test('that sheds a forbid of theirs', async () => {
    const scope = { roles: ['clerk'], actions: ['entry.post'] };
    const creation = await world.creation('tina', { scope });
    await expect(keys.create(creation)).rejects.toMatchObject({ breach: 'rights' });
    const kept = await made('tina', { scope: { roles: ['clerk', 'trainee'], actions: ['entry.post'] } });
    const access = await keys.admit(kept);
    expect(access.authorize('entry.post', entry).effect).toBe('allow');
    expect(access.authorize('entry.post', { ...entry, locked: true }).effect).toBe('deny');
  });

  test('with a key, or with something that looks like a session', async () => {
    const { session } = await keys.verify(await made());
    const creation = await world.creation();
    await expect(keys.create({ ...creation, session })).rejects.toMatchObject({ reason: 'key_origin' });
    const forged = { ...creation.session } as typeof session;
    await expect(keys.create({ ...creation, session: forged })).rejects.toMatchObject({ reason: 'forged' });
  });

  test('in an organisation they are no member of, or that asks for more than their session has', async () => {
    await expect(keys.create(await world.creation('mallory'))).rejects.toMatchObject({ reason: 'member' });
    world.settings.set(ORG_A, { plan: 'pro', ssoProven: true, requireSso: 'on' });
    await expect(keys.create(await world.creation())).rejects.toMatchObject({
      code: 'authz.session_insufficient',
    });
  });

  test('without an end, with one too far, or with one between two seconds', async () => {
    for (const lifetimeMs of [
      undefined,
      0,
      -1_000,
      1_500,
      366 * DAY,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      '1000',
    ]) {
      const creation = await world.creation('olga', { lifetimeMs: lifetimeMs as number });
      await expect(keys.create(creation)).rejects.toBeInstanceOf(TypeError);
    }
  });

  test('twice with one request, one after the other or at once', async () => {
    const creation = await world.creation();
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => keys.create(creation)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await expect(keys.create(creation)).rejects.toMatchObject({
      code: 'authz.key_conflict',
      reason: 'replayed',
    });
    expect(await world.store.list(ORG_A)).toHaveLength(1);
  });
});

describe('a key that exists does no more', () => {
  test('once its creator has left, and does again what they may when they are back', async () => {
    const key = await made();
    world.members.delete('olga');
    await expect(keys.admit(key)).rejects.toMatchObject({ code: 'authz.key_refused', reason: 'member' });
    world.members.set('olga', ['clerk']);
    expect((await keys.admit(key)).authorize('entry.post', entry).effect).toBe('allow');
  });

  test('than its creator may do now', async () => {
    const scope = { roles: ['owner'], actions: ['entry.approve', 'entry.post'] };
    const key = await made('olga', { scope });
    world.members.set('olga', ['clerk']);
    const access = await keys.admit(key);
    expect(access.authorize('entry.approve', entry).effect).toBe('deny');
    expect(access.authorize('entry.post', { ...entry, amountCents: 99_999 }).effect).toBe('allow');
    expect(access.authorize('entry.post', { ...entry, amountCents: 100_000 }).effect).toBe('deny');
  });

  test('when the role in its scope gains rights', async () => {
    const scope = { roles: ['feed'], actions: ['entry.read', 'entry.post'] };
    const key = await made('carl', { scope });
    world.policy = widerPolicy;
    const access = await keys.admit(key);
    expect(access.authorize('entry.approve', entry).effect).toBe('deny');
    expect(access.authorize('entry.post', { ...entry, amountCents: 99_999 }).effect).toBe('allow');
    expect(access.authorize('entry.post', { ...entry, amountCents: 100_000 }).effect).toBe('deny');
  });

  test('when the creator needs a second factor, which a key has not', async () => {
    const key = await made('olga', { scope: { roles: ['feed'], actions: ['entry.read'] } });
    world.policy = stricterPolicy;
    const decision = (await keys.admit(key)).authorize('entry.read', entry);
    expect(decision).toMatchObject({ effect: 'step_up', grant: 'owner-reads' });
  });

  test('when the organisation asks for SSO and it was made without', async () => {
    const [without, through] = [
      await made(),
      await made('olga', { session: await world.session('olga', { connection: 'conn-a' }) }),
    ];
    world.settings.set(ORG_A, { plan: 'pro', ssoProven: true, requireSso: 'on' });
    await expect(keys.admit(without)).rejects.toMatchObject({ reason: 'key_origin' });
    expect((await keys.admit(through)).authorize('entry.read', entry).effect).toBe('allow');
  });

  test('through a guard of the application, whose directory knows people only', async () => {
    const { session } = await keys.verify(await made());
    const { directory, revocations, clock } = world;
    const guard = createSessionGuard({ directory, revocations, ...clock });
    await expect(guard.admit(session, ORG_A)).rejects.toMatchObject({ reason: 'member' });
    await expect(guard.admit(session, ORG_B)).rejects.toMatchObject({ code: 'authz.session_refused' });
  });
});
