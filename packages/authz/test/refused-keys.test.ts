/** Keys refused at the door: who is told, of what, how often, and that whoever presents the key notices none of it. */
import { inspect } from 'node:util';
import { Hono } from 'hono';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { createRoutes } from '../src/hono/index.ts';
import type { ApiKeys, RefusedKey } from '../src/keys/index.ts';
import { checksum, KeyFormat } from '../src/keys/key-format.ts';
import { RefusedKeys } from '../src/keys/refused-keys.ts';
import { work } from './counted-crypto.ts';
import { DAY, KeyWorld, type keyResources } from './keys-fixture.ts';
import { ORG_A, TestIssuer } from './session-fixture.ts';

vi.mock('node:crypto', async (original) => {
  const { counted } = await import('./counted-crypto.ts');
  return counted(await original());
});

const MINUTE = 60_000;
const issuer = await TestIssuer.start();
afterAll(async () => await issuer.close());
let world: KeyWorld;
let keys: ApiKeys<typeof keyResources>;
let told: RefusedKey[];

beforeEach(() => {
  world = new KeyWorld(issuer);
  told = [];
  keys = world.keys({ onRefused: (refused) => void told.push(refused) });
});

const idOf = (key: string) => key.slice(9, 25);
const made = async (subject = 'olga', part: Parameters<KeyWorld['creation']>[1] = {}) =>
  (await keys.create(await world.creation(subject, part))).key.reveal();
/** What is told comes after the answer. */
const settled = () => new Promise((resolve) => setImmediate(resolve));
const refused = async (key: string, by = keys) => {
  await expect(by.admit(key)).rejects.toMatchObject({
    code: expect.stringMatching(/^authz\.(key|session)_/),
  });
};
const revokedKey = async () => {
  const key = await made();
  await keys.revoke({ kind: 'key', org: ORG_A, id: idOf(key) });
  return key;
};
/** The id of a key that exists, with another secret and the right checksum. */
const forged = (key: string) => {
  const body = key.slice(0, 25) + new KeyFormat('ldg', 'live').draw().authenticated.slice(25);
  return body + checksum(body);
};

/** Keys that exist and are refused, by what has become of them. */
const ENDED: Readonly<Record<string, () => Promise<string>>> = {
  revoked: revokedKey,
  expired: async () => {
    const key = await made('olga', { lifetimeMs: 60_000 });
    world.clock.pass(60_000);
    return key;
  },
  rotated: async () => {
    const key = await made();
    const { name: _name, scope: _scope, ...request } = await world.creation();
    await keys.rotate({ ...request, id: idOf(key), overlapMs: 0 });
    return key;
  },
  member: async () => {
    const key = await made();
    world.members.delete('olga');
    return key;
  },
  org: async () => {
    const key = await made();
    world.settings.delete(ORG_A);
    return key;
  },
  key_origin: async () => {
    const key = await made();
    world.settings.set(ORG_A, { plan: 'pro', ssoProven: true, requireSso: 'on' });
    return key;
  },
};

describe('the refusal of a key that exists', () => {
  test.each(Object.entries(ENDED))('is told with organisation, id and reason: %s', async (reason, end) => {
    const key = await end();
    await refused(key);
    await settled();
    const at = world.clock.wall;
    expect(told).toEqual([
      {
        org: ORG_A,
        id: idOf(key),
        code: reason === 'key_origin' ? 'authz.session_refused' : 'authz.key_refused',
        reason,
        attempts: 1,
        firstAt: at,
        lastAt: at,
      },
    ]);
  });

  test('is told for verify as for admit, and an admission tells nobody', async () => {
    const [alive, key] = [await made(), await revokedKey()];
    await keys.admit(alive);
    await settled();
    expect(told).toEqual([]);
    await expect(keys.verify(key)).rejects.toMatchObject({ reason: 'revoked' });
    await settled();
    expect(told).toMatchObject([{ id: idOf(key), reason: 'revoked' }]);
  });

  test('holds nothing of the secret, in whatever form it is printed', async () => {
    const key = await revokedKey();
    await refused(key);
    await refused(forged(key));
    await refused(`${key.slice(0, -1)}~`);
    await settled();
    expect(told).toHaveLength(3);
    const printed = inspect(told, { showHidden: true, depth: 9 }) + JSON.stringify(told);
    const secret = key.slice(25);
    for (let at = 0; at + 6 <= secret.length; at += 1)
      expect(printed).not.toContain(secret.slice(at, at + 6));
  });
});

describe('the refusal of anything else', () => {
  test('is a number, in the organisation of nobody: not of the format, unknown, an id that exists with another secret', async () => {
    const key = await made();
    for (const attempt of [
      '',
      'ldg_live_x',
      `${key}A`,
      undefined as never,
      new KeyFormat('ldg', 'live').draw().text,
    ])
      await refused(attempt);
    for (let n = 0; n < 3; n += 1) await refused(forged(key));
    await settled();
    expect(told).toEqual([
      expect.objectContaining({ code: 'authz.key_refused', reason: 'malformed', attempts: 4 }),
      expect.objectContaining({ code: 'authz.key_refused', reason: 'unknown', attempts: 4 }),
    ]);
    for (const each of told) expect(Object.keys(each)).not.toEqual(expect.arrayContaining(['org']));
    expect(JSON.stringify(told)).not.toContain(idOf(key));
  });

  test('by a store that cannot be reached is no refusal', async () => {
    const find = async () => Promise.reject(new Error('connection lost'));
    const broken = world.keys({
      store: { ...world.store, find },
      onRefused: (each) => void told.push(each),
    });
    await expect(broken.verify(await made())).rejects.toThrow('connection lost');
    await settled();
    expect(told).toEqual([]);
  });
});

describe('whoever floods the door with a key that was revoked', () => {
  test('writes one report a minute, which has the number', async () => {
    const key = await revokedKey();
    const other = await revokedKey();
    for (let minute = 0; minute < 3; minute += 1) {
      for (let n = 0; n < 1_000; n += 1) {
        await refused(key);
        if (n % 100 === 0) await settled();
      }
      await refused(other); // which is not drowned by it
      await settled();
      world.clock.pass(MINUTE);
    }
    await refused(new KeyFormat('ldg', 'live').draw().text);
    await settled();
    const of = (id: string) => told.filter((each) => each.id === id);
    expect(of(idOf(key)).map(({ attempts }) => attempts)).toEqual([1, 1_000, 1_000, 999]);
    expect(of(idOf(other)).map(({ attempts }) => attempts)).toEqual([1, 1, 1]);
    const times = of(idOf(key)).map(({ firstAt }) => firstAt);
    expect(times.map((at) => at - (times[0] ?? 0))).toEqual([0, 0, MINUTE, 2 * MINUTE]);
  });

  test('does not keep the last count back: any later request brings it, and so does the stop of the process', async () => {
    const [alive, key] = [await made(), await revokedKey()];
    for (let n = 0; n < 5; n += 1) await refused(key);
    await settled();
    for (let n = 0; n < 4; n += 1) await refused(key);
    await keys.admit(alive);
    await settled();
    expect(told.map(({ attempts }) => attempts)).toEqual([5]);
    world.clock.pass(MINUTE);
    await keys.admit(alive);
    await settled();
    expect(told.map(({ attempts }) => attempts)).toEqual([5, 4]);
    await refused(key);
    await keys.flush();
    expect(told.map(({ attempts }) => attempts)).toEqual([5, 4, 1]);
    await keys.flush();
    await refused(key);
    await settled();
    expect(told).toHaveLength(3); // nor does a flush open the door for more
  });

  test('with more keys than are told apart is counted still, and memory is bounded', async () => {
    const log = new RefusedKeys({
      tell: (each) => void told.push(each),
      onError: () => undefined,
      intervalMs: MINUTE,
    });
    const owner = (n: number) => ({ org: ORG_A, id: String(n).padStart(16, '0') });
    for (let round = 0; round < 2; round += 1)
      for (let n = 0; n < 12_000; n += 1) log.note(owner(n), 'authz.key_refused', 'revoked', 0);
    await log.flush();
    expect(told).toHaveLength(10_001);
    expect(told.at(-1)).toMatchObject({ reason: 'many', attempts: 4_000 });
    expect(told.at(-1)).not.toHaveProperty('org');
    // An interval in which they kept still: they are forgotten, and others have room.
    told.length = 0;
    log.pass(2 * MINUTE);
    await settled();
    log.note(owner(11_000), 'authz.key_refused', 'revoked', 2 * MINUTE);
    await settled();
    expect(told).toMatchObject([owner(11_000)]);
  });
});

describe('whoever presents a key', () => {
  test('gets one answer, whatever was wrong with it', async () => {
    const routes = createRoutes({
      policy: world.policy,
      context: async (c) => {
        await keys.admit(c.req.header('authorization')?.slice(7) ?? '');
        return undefined;
      },
    });
    routes.get('/entries', { action: 'entry.read', load: () => undefined }, (c) => c.text('never'));
    const app = routes.install(new Hono());
    const attempts = [
      'nonsense',
      new KeyFormat('ldg', 'live').draw().text,
      forged(await made()),
      await revokedKey(),
      await ENDED['rotated']?.(),
      await ENDED['expired']?.(),
    ];
    const answers = [];
    for (let round = 0; round < 2; round += 1)
      for (const key of attempts) {
        const answer = await app.request('/entries', { headers: { authorization: `Bearer ${key}` } });
        answers.push([answer.status, [...answer.headers], await answer.text()]);
      }
    await settled();
    expect(told.map(({ reason }) => reason).toSorted()).toEqual(
      ['expired', 'malformed', 'revoked', 'rotated', 'unknown'].toSorted(),
    );
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers[0]?.[0]).toBe(401);
  });

  test('does not wait for who is told, nor sees that it throws, rejects or hangs', async () => {
    const key = await revokedKey();
    const errors: unknown[] = [];
    const failure = new Error('the log is down');
    let called = 0;
    for (const onRefused of [
      () => {
        called += 1;
        throw failure;
      },
      async () => {
        called += 1;
        return await Promise.reject(failure);
      },
      async () => {
        called += 1;
        return await new Promise<never>(() => undefined);
      },
    ]) {
      called = 0;
      const each = world.keys({ onRefused, onRefusedError: (cause) => void errors.push(cause) });
      const error = await each.verify(key).catch((cause: unknown) => cause);
      expect(called).toBe(0);
      const silent = await world
        .keys()
        .verify(key)
        .catch((cause: unknown) => cause);
      expect({ ...(error as Error), message: String(error) }).toEqual({
        ...(silent as Error),
        message: String(silent),
      });
      await settled();
      await settled();
      expect(called).toBe(1);
    }
    expect(errors).toEqual([failure, failure]);
  });

  test('causes the same work, whether or not anybody is told', async () => {
    const [key, ended] = [await made(), await revokedKey()];
    const attempts = ['nonsense', new KeyFormat('ldg', 'live').draw().text, forged(key), ended];
    const costs: unknown[] = [];
    for (const by of [world.keys(), world.keys({ onRefused: (each) => void told.push(each) })]) {
      const before = { ...work };
      world.calls.length = 0;
      for (const attempt of attempts) await expect(by.verify(attempt)).rejects.toBeDefined();
      await settled();
      const { digests, macs, comparisons } = work;
      costs.push([
        digests - before.digests,
        macs - before.macs,
        comparisons - before.comparisons,
        [...world.calls],
      ]);
    }
    expect(costs[0]).toEqual(costs[1]);
    expect(told).toHaveLength(3);
  });
});

test('what could not be told is counted into the next report, and a flush says that it failed', async () => {
  const [alive, key] = [await made(), await revokedKey()];
  let down = true;
  const each = world.keys({
    onRefused: async (report) => {
      if (down) throw new Error('the log is down');
      told.push(report);
    },
  });
  const firstAt = world.clock.wall;
  for (let n = 0; n < 3; n += 1) await refused(key, each);
  await settled();
  await settled();
  await refused(key, each);
  await expect(each.flush()).rejects.toThrow('the log is down');
  down = false;
  world.clock.pass(2 * MINUTE);
  await each.admit(alive);
  await settled();
  expect(told).toEqual([expect.objectContaining({ id: idOf(key), attempts: 4, firstAt })]);
});

test('an interval that bounds nothing is refused', () => {
  for (const refusedIntervalMs of [0, 999, Number.NaN, 2 * DAY])
    expect(() => world.keys({ refusedIntervalMs, onRefused: () => undefined })).toThrow(TypeError);
});
