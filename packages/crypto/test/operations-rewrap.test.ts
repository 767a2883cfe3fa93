import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type KmsProvider, type OrgId, RingfenceCryptoError } from '../src/index.ts';
import { orgsWithKeys, type RewrapProgress } from '../src/operations/index.ts';
import { CELL } from './keyring-setup.ts';
import {
  anyOrg,
  type KeyDatabase,
  keks,
  keyDatabase,
  manyOrgs,
  type Station,
  station,
} from './operations-setup.ts';

let database: KeyDatabase;
let orgs: OrgId[];
let sealed: Map<OrgId, string>;
let provider: KmsProvider;
let parts: Station;

beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'rewrap');
});
afterAll(async () => {
  await database.close();
});

/** Organisations under `local:a`, each with something sealed. */
async function populate(count: number, kms: readonly KmsProvider[] = []): Promise<void> {
  provider = keks('a', 'b', 'c');
  parts = station(database.store, kms.length > 0 ? kms : [provider]);
  const filling = station(database.store, [provider]);
  orgs = manyOrgs(count);
  sealed = new Map();
  for (const org of orgs) {
    await filling.keyring.createOrg(org);
    sealed.set(org, (await filling.keyring.org(org)).sealText(CELL, org));
  }
}

async function kekOf(org: OrgId): Promise<string> {
  const records = await database.store.load(org);
  return records.map(({ wraps }) => wraps.map(({ kekUri }) => kekUri).join('+')).join(' ');
}

async function expectAllOpen(): Promise<void> {
  const keyring = station(database.store, [provider]).keyring;
  for (const org of orgs) {
    expect((await keyring.org(org)).openText(CELL, sealed.get(org) ?? '')).toBe(org);
  }
}

/** 32 bits of a number, in which no regular step is left: an organisation's calls come at one, and must not all be refused. */
function mixed(call: number): number {
  let bits = Math.imul(call ^ (call >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** The provider behind counters and faults chosen per call. */
function counting(fault: (call: number, kind: 'wrap' | 'unwrap') => boolean = () => false) {
  const counts = { calls: 0, wraps: 0, unwraps: 0, running: 0, most: 0 };
  const call = async <T>(kind: 'wrap' | 'unwrap', run: () => Promise<T>): Promise<T> => {
    counts.calls += 1;
    counts[`${kind}s`] += 1;
    counts.running += 1;
    counts.most = Math.max(counts.most, counts.running);
    try {
      await new Promise((resolve) => setImmediate(resolve));
      if (fault(counts.calls, kind)) {
        throw new RingfenceCryptoError('crypto.kms_unavailable', 'injected: throttled', {}, true);
      }
      return await run();
    } finally {
      counts.running -= 1;
    }
  };
  const kms: KmsProvider = {
    scheme: 'local',
    wrap: (...args) => call('wrap', () => provider.wrap(...args)),
    unwrap: (...args) => call('unwrap', () => provider.unwrap(...args)),
    describe: (...args) => provider.describe(...args),
  };
  return { kms, counts };
}

describe('re-wrapping 200 organisations', () => {
  it('takes two KMS calls each and one more to prove the new KEK; all data opens; a second run asks nothing', async () => {
    const { kms, counts } = counting();
    await populate(200, [kms]);
    const report = await parts.operations.rewrapAll({ orgs, to: () => 'local:b' });
    expect(report).toMatchObject({
      orgs: 200,
      rewrapped: 200,
      skipped: 0,
      failed: 0,
      versions: 200,
      retries: 0,
    });
    expect(report.kmsCalls).toBe(401);
    expect(counts).toMatchObject({ wraps: 200, unwraps: 201 });
    expect(counts.most).toBeGreaterThan(1);
    expect(counts.most).toBeLessThanOrEqual(8);
    for (const org of orgs) expect(await kekOf(org)).toBe('local:b');
    await expectAllOpen();
    const again = await parts.operations.rewrapAll({ orgs, to: () => 'local:b' });
    expect(again).toMatchObject({
      orgs: 200,
      rewrapped: 0,
      skipped: 200,
      kmsCalls: 0,
      resumeAfter: orgs.at(-1),
    });
  });

  it('repeats later what was throttled, counts it, and leaves nothing half-written', async () => {
    await populate(200);
    const { kms } = counting((call) => mixed(call) < 2 ** 32 / 3);
    const throttled = station(database.store, [kms]);
    const report = await throttled.operations.rewrapAll({ orgs, to: () => 'local:b', attempts: 40 });
    expect(report).toMatchObject({ rewrapped: 200, failed: 0 });
    expect(report.retries).toBeGreaterThan(100);
    expect(report.retries).toBe(throttled.clock.waits.length);
    expect(report.kmsCalls).toBeGreaterThan(400);
    expect(Math.min(...throttled.clock.waits)).toBeGreaterThanOrEqual(250);
    expect(Math.max(...throttled.clock.waits)).toBeLessThanOrEqual(30_000);
    for (const org of orgs) expect(await kekOf(org)).toBe('local:b');
    await expectAllOpen();
  });

  it('gives up on an organisation after its attempts, reports it, and goes on with the others', async () => {
    await populate(20);
    const dead = new Set([orgs[3], orgs[11]]);
    const kms: KmsProvider = {
      ...counting().kms,
      unwrap: (uri, wrapped, context) =>
        dead.has(context.org)
          ? Promise.reject(new RingfenceCryptoError('crypto.kms_unavailable', 'injected', {}, true))
          : provider.unwrap(uri, wrapped, context),
    };
    const broken = station(database.store, [kms]);
    const report = await broken.operations.rewrapAll({
      orgs,
      to: () => 'local:b',
      attempts: 3,
      concurrency: 2,
    });
    expect(report).toMatchObject({ orgs: 20, rewrapped: 18, failed: 2, retries: 4, resumeAfter: orgs[2] });
    expect(new Set(report.failures.map(({ org }) => org))).toEqual(dead);
    for (const org of orgs) expect(await kekOf(org)).toBe(dead.has(org) ? 'local:a' : 'local:b');
    // Resuming does not lose them: the mark stopped before the first that failed.
    const { resumeAfter } = report;
    const resumed = await parts.operations.rewrapAll({
      orgs,
      to: () => 'local:b',
      ...(resumeAfter !== undefined && { resumeAfter }),
    });
    expect(resumed).toMatchObject({ rewrapped: 2, skipped: 15, failed: 0, resumeAfter: orgs.at(-1) });
    await expectAllOpen();
  });

  it('stays within its rate, whatever the concurrency', async () => {
    await populate(30);
    const starts: number[] = [];
    const clocked = station(database.store, [
      {
        ...counting().kms,
        wrap: (...args) => {
          starts.push(clocked.clock.monotonicNow());
          return provider.wrap(...args);
        },
        unwrap: (...args) => {
          starts.push(clocked.clock.monotonicNow());
          return provider.unwrap(...args);
        },
      },
    ]);
    const report = await clocked.operations.rewrapAll({
      orgs,
      to: () => 'local:b',
      ratePerSecond: 10,
      concurrency: 6,
    });
    expect(report.kmsCalls).toBe(61);
    expect(starts).toHaveLength(61);
    const from = starts[0] ?? 0;
    for (const [i, at] of starts.entries()) expect(at - from).toBeGreaterThanOrEqual(i * 100 - 0.001);
  });

  it('asks for the next organisation one at a time and never holds more than its concurrency', async () => {
    await populate(12);
    let pulled = 0;
    let pulling = 0;
    let finished = 0;
    async function* source() {
      for (const org of orgs) {
        expect(++pulling).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        pulling -= 1;
        pulled += 1;
        expect(pulled - finished).toBeLessThanOrEqual(3);
        yield org;
      }
    }
    const report = await parts.operations.rewrapAll({
      orgs: source(),
      to: () => 'local:b',
      concurrency: 3,
      onProgress: ({ orgs: done }) => {
        finished = done;
      },
    });
    expect(report.rewrapped).toBe(12);
  });
});

describe('re-wrapping is safe', () => {
  it('locks nobody out when the new KEK wraps but does not unwrap', async () => {
    await populate(10);
    const wrapOnly: KmsProvider = {
      ...counting().kms,
      unwrap: (uri, ...rest) =>
        uri === 'local:b'
          ? Promise.reject(new RingfenceCryptoError('crypto.key_denied', 'injected: no kms:Decrypt'))
          : provider.unwrap(uri, ...rest),
    };
    const report = await station(database.store, [wrapOnly]).operations.rewrapAll({
      orgs,
      to: () => 'local:b',
    });
    expect(report).toMatchObject({ rewrapped: 0, failed: 10 });
    for (const org of orgs) expect(await kekOf(org)).toBe('local:a');
    await expectAllOpen();
  });

  it('replaces only the wrap under `from` and asks for it where there are several', async () => {
    await populate(2);
    const [first, second] = orgs as [OrgId, OrgId];
    await parts.operations.addWrap(first, 'local:c');
    const unsure = await parts.operations.rewrapAll({ orgs, to: () => 'local:b' });
    expect(unsure.failures).toMatchObject([{ org: first, error: { code: 'crypto.several_wraps' } }]);
    expect(await kekOf(first)).toBe('local:a+local:c');
    expect(await kekOf(second)).toBe('local:b');
    const sure = await parts.operations.rewrapAll({ orgs, from: 'local:a', to: () => 'local:b' });
    expect(sure).toMatchObject({ rewrapped: 1, skipped: 1, failed: 0 });
    expect(await kekOf(first)).toBe('local:b+local:c');
    await expectAllOpen();
  });

  it('ends what an interrupted move left, after proving the wrap that stays', async () => {
    await populate(1);
    const [org] = orgs as [OrgId];
    await parts.operations.addWrap(org, 'local:b');
    const report = await parts.operations.rewrapAll({ orgs, from: 'local:a', to: () => 'local:b' });
    expect(report).toMatchObject({ rewrapped: 1, kmsCalls: 1 });
    expect(await kekOf(org)).toBe('local:b');
    await expectAllOpen();
  });

  it('skips organisations without keys and shredded ones, and lists those of the store in order', async () => {
    await populate(5);
    const [gone] = orgs as [OrgId];
    await parts.operations.shred(gone, { reason: 'test' });
    const report = await parts.operations.rewrapAll({ orgs: [...orgs, anyOrg()], to: () => 'local:b' });
    expect(report).toMatchObject({ rewrapped: 4, skipped: 2, failed: 0 });
    const listed: OrgId[] = [];
    for await (const org of orgsWithKeys(database.db, { batch: 2 })) listed.push(org);
    expect(listed).toEqual([...listed].sort());
    expect(listed).toEqual(expect.arrayContaining(orgs.slice(1)));
    expect(listed).not.toContain(gone);
    const under: OrgId[] = [];
    for await (const org of orgsWithKeys(database.db, { under: 'local:b', after: orgs[1] as OrgId }))
      under.push(org);
    expect(under.filter((org) => orgs.includes(org))).toEqual(orgs.slice(2));
  });

  it('resumes after the mark only in ascending order, and gives no mark otherwise', async () => {
    await populate(4);
    const reversed = orgs.toReversed();
    const report = await parts.operations.rewrapAll({ orgs: reversed, to: () => 'local:b' });
    expect(report.rewrapped).toBe(4);
    expect(report.resumeAfter).toBeUndefined();
    await expect(
      parts.operations.rewrapAll({ orgs: reversed, to: () => 'local:c', resumeAfter: orgs[0] as OrgId }),
    ).rejects.toThrow(TypeError);
    await expectAllOpen();
  });

  it('stops when told, says how far it came, and goes on from there', async () => {
    await populate(30);
    const stop = new AbortController();
    let last: RewrapProgress | undefined;
    const report = await parts.operations.rewrapAll({
      orgs,
      to: () => 'local:b',
      concurrency: 3,
      signal: stop.signal,
      onProgress: (progress) => {
        last = progress;
        if (progress.orgs === 10) stop.abort();
      },
    });
    expect(report.aborted).toBe(true);
    expect(report.orgs).toBeLessThan(14);
    const mark = report.resumeAfter as OrgId;
    expect(mark >= (last?.resumeAfter ?? '')).toBe(true);
    for (const org of orgs) if (org <= mark) expect(await kekOf(org)).toBe('local:b');
    const rest = await parts.operations.rewrapAll({ orgs, to: () => 'local:b', resumeAfter: mark });
    expect(rest.orgs).toBe(orgs.filter((org) => org > mark).length);
    for (const org of orgs) expect(await kekOf(org)).toBe('local:b');
    await expectAllOpen();
  });

  it('by two operators with the same goal, beside rotations, leaves every version under the new KEK', async () => {
    await populate(30);
    const goal = { orgs, to: () => 'local:b' };
    const reports = await Promise.all([
      parts.operations.rewrapAll(goal),
      parts.operator().rewrapAll(goal),
      (async () => {
        for (const org of orgs) await parts.operator().rotate(org);
      })(),
    ]);
    expect(reports[0].failures).toEqual([]);
    expect(reports[1].failures).toEqual([]);
    await parts.operations.rewrapAll(goal); // a rotation may have been decided before its organisation's turn
    for (const org of orgs) expect(await kekOf(org)).toBe('local:b local:b');
    await expectAllOpen();
  });

  it('refuses options out of range and lets a faulty `to` end the run', async () => {
    await populate(1);
    for (const wrong of [
      { concurrency: 0 },
      { attempts: 0 },
      { ratePerSecond: 0 },
      { ratePerSecond: Number.NaN },
    ]) {
      await expect(parts.operations.rewrapAll({ orgs, ...wrong })).rejects.toThrow(TypeError);
    }
    const to = (): string => {
      throw new TypeError('no KEK for this organisation');
    };
    await expect(parts.operations.rewrapAll({ orgs, to })).rejects.toThrow('no KEK');
    const unchanged = await parts.operations.rewrapAll({ orgs });
    expect(unchanged).toMatchObject({ skipped: 1 }); // kekFor still names the KEK it is under
  });
});
