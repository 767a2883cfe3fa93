import { describe, expect, it, vi } from 'vitest';
import { createKeyring, type OrgKeys } from '../src/index.ts';
import type { KmsFault } from '../src/testing/index.ts';
import { CELL, codeOf, codeOfAsync, ORG_A, ORG_B, world } from './keyring-setup.ts';

const works = (keys: OrgKeys) => keys.openText(CELL, keys.sealText(CELL, 'x')) === 'x';

describe('leasing', () => {
  it('asks the KMS once for 1000 concurrent callers of a cold organisation', async () => {
    const { keyring, kms } = await world();
    const before = kms.calls;
    const all = await Promise.all(Array.from({ length: 1000 }, () => keyring.org(ORG_A)));
    expect(kms.calls - before).toBe(1);
    expect(new Set(all).size).toBe(1);
  });

  it('makes one version when many processes create the organisation at once', async () => {
    const { options, store, keyring, kms } = await world();
    const third = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a99' as typeof ORG_A;
    const processes = Array.from({ length: 20 }, () => createKeyring(options));
    await Promise.all(processes.map((process) => process.createOrg(third)));
    expect(await store.load(third)).toHaveLength(1);
    expect(works(await keyring.org(third))).toBe(true);
    const before = kms.calls;
    await keyring.createOrg(third);
    expect(kms.calls).toBe(before);
  });

  it('knows no organisation that was not created', async () => {
    const { keyring, kms } = await world();
    const before = kms.calls;
    const unknown = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7aff' as typeof ORG_A;
    expect(await codeOfAsync(keyring.org(unknown))).toBe('crypto.org_unknown');
    expect(kms.calls).toBe(before);
    await expect(keyring.org('x' as never)).rejects.toThrow(TypeError);
  });

  it('lets a new lease begin after a failure: a failed call is not kept', async () => {
    const { keyring, kms } = await world();
    kms.fail('throttled', 1);
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.kms_unavailable');
    expect(works(await keyring.org(ORG_A))).toBe(true);
  });
});

describe('the end of a lease', () => {
  it('comes at the maximum age on the monotonic clock, though the wall clock is set back', async () => {
    const { keyring, clock } = await world({ lease: { maxAgeMs: 1000 } });
    const keys = await keyring.org(ORG_A);
    clock.monotonic += 999;
    clock.wall -= 3_600_000;
    expect(works(keys)).toBe(true);
    clock.monotonic += 1;
    expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
  });

  it('comes at the maximum age on the wall clock, though the monotonic clock stood still in sleep', async () => {
    const { keyring, clock } = await world({ lease: { maxAgeMs: 1000 } });
    const keys = await keyring.org(ORG_A);
    clock.wall += 1000;
    expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
  });

  it('stops every operation of keys that a caller kept, for good', async () => {
    const { keyring, clock } = await world({ lease: { maxAgeMs: 1000 } });
    const keys = await keyring.org(ORG_A);
    const message = keys.seal(CELL, new Uint8Array(3));
    const row = keys.sealRow(CELL, { a: 'x' });
    const text = keys.sealText(CELL, 'x');
    clock.advance(1000);
    const fresh = await keyring.org(ORG_A);
    clock.advance(-500); // clocks that run back revive nothing
    for (const use of [
      () => keys.seal(CELL, new Uint8Array(3)),
      () => keys.open(CELL, message),
      () => keys.sealText(CELL, 'x'),
      () => keys.openText(CELL, text),
      () => keys.sealRow(CELL, {}),
      () => keys.openRow(CELL, row),
      () => keys.withPurposeKey('file', 'active', () => 1),
    ]) {
      expect(codeOf(use)).toBe('crypto.lease_expired');
    }
    expect(fresh.openText(CELL, text)).toBe('x');
  });

  it('counts from before the KMS was asked: a slow answer makes no longer lease', async () => {
    const { keyring, kms, clock } = await world({ lease: { maxAgeMs: 1000 } });
    kms.fail('slow', 1);
    const pending = keyring.org(ORG_A);
    await vi.waitFor(() => expect(kms.calls).toBe(3));
    clock.advance(900);
    kms.release();
    const keys = await pending;
    expect(works(keys)).toBe(true);
    clock.advance(100);
    expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
  });

  it('never serves an answer that came after its own lease would have ended', async () => {
    const { keyring, kms, clock } = await world({ lease: { maxAgeMs: 1000 } });
    kms.fail('slow', 1);
    const pending = keyring.org(ORG_A);
    await vi.waitFor(() => expect(kms.calls).toBe(3));
    clock.advance(1000);
    kms.release();
    expect(works(await pending)).toBe(true);
    expect(kms.calls).toBe(4); // asked again, since the first answer was outdated on arrival
  });

  it('comes when messages or bytes are used up; the next call of org leases anew', async () => {
    const { keyring, kms } = await world({ lease: { maxMessages: 3, maxBytes: 100 } });
    const keys = await keyring.org(ORG_A);
    const before = kms.calls;
    for (let i = 0; i < 3; i += 1) keys.seal(CELL, new Uint8Array(1));
    expect(codeOf(() => keys.seal(CELL, new Uint8Array(1)))).toBe('crypto.lease_exhausted');
    const next = await keyring.org(ORG_A);
    expect(kms.calls - before).toBe(1);
    next.seal(CELL, new Uint8Array(100));
    expect(codeOf(() => next.seal(CELL, new Uint8Array(1)))).toBe('crypto.lease_exhausted');
  });

  it('comes at once with revoke, for every lease of the organisation and no other', async () => {
    const { keyring, clock } = await world({ lease: { maxAgeMs: 1000 } });
    const first = await keyring.org(ORG_A);
    const other = await keyring.org(ORG_B);
    clock.advance(850);
    await keyring.org(ORG_A); // refreshes behind the scenes
    await vi.waitFor(() => expect(keyring.stats().refreshes).toBe(1));
    const second = await keyring.org(ORG_A);
    expect(second).not.toBe(first);
    expect(works(first)).toBe(true);
    keyring.revoke(ORG_A);
    expect(codeOf(() => first.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
    expect(codeOf(() => second.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
    expect(works(other)).toBe(true);
  });

  it('comes to the least recently used organisation when there are too many', async () => {
    const { keyring } = await world({ lease: { maxOrgs: 1 } });
    const a = await keyring.org(ORG_A);
    const b = await keyring.org(ORG_B);
    expect(codeOf(() => a.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
    expect(works(b)).toBe(true);
    expect(keyring.stats()).toMatchObject({ orgs: 1, leases: 1, evictions: 1 });
  });

  it('comes with close, and a closed keyring leases no more', async () => {
    const { keyring } = await world();
    const keys = await keyring.org(ORG_A);
    await keyring.close();
    expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
    await expect(keyring.org(ORG_A)).rejects.toThrow(TypeError);
  });

  it('comes by itself to an idle organisation: its keys are wiped though nobody asks', async () => {
    vi.useFakeTimers();
    try {
      const { keyring } = await world({
        lease: { maxAgeMs: 5000 },
        now: () => Date.now(),
        monotonicNow: () => performance.now(),
      });
      await keyring.org(ORG_A);
      vi.advanceTimersByTime(4999);
      expect(keyring.stats()).toMatchObject({ orgs: 1, leases: 1 });
      vi.advanceTimersByTime(1);
      expect(keyring.stats()).toMatchObject({ orgs: 0, leases: 0 });
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('refresh ahead of the end', () => {
  it('goes on in the background and serves from the running lease meanwhile', async () => {
    const { keyring, kms, clock } = await world({ lease: { maxAgeMs: 1000 } });
    const keys = await keyring.org(ORG_A);
    clock.advance(700);
    await keyring.org(ORG_A);
    expect(keyring.stats().refreshes).toBe(0);
    clock.advance(100);
    kms.fail('slow', 1);
    const before = kms.calls;
    const served = await Promise.all(Array.from({ length: 50 }, () => keyring.org(ORG_A)));
    expect(new Set(served)).toEqual(new Set([keys]));
    await vi.waitFor(() => expect(kms.calls).toBe(before + 1));
    kms.release();
    await vi.waitFor(() => expect(keyring.stats().refreshes).toBe(1));
    expect(await keyring.org(ORG_A)).not.toBe(keys);
    expect(kms.calls).toBe(before + 1);
  });

  it.each<KmsFault>(['throttled', 'timeout', 'server_error', 'network', 'malformed'])(
    'on %s serves to the end of the lease and not a moment longer',
    async (fault) => {
      const { keyring, kms, clock } = await world({ lease: { maxAgeMs: 1000 } });
      const keys = await keyring.org(ORG_A);
      kms.fail(fault);
      clock.advance(900);
      await keyring.org(ORG_A);
      await vi.waitFor(() => expect(keyring.stats().refreshFailures).toBe(1));
      expect(works(keys)).toBe(true);
      expect(works(await keyring.org(ORG_A))).toBe(true);
      clock.advance(100);
      expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
      const expected = fault === 'malformed' ? 'crypto.kms_malformed_answer' : 'crypto.kms_unavailable';
      expect(await codeOfAsync(keyring.org(ORG_A))).toBe(expected);
      kms.heal();
      expect(works(await keyring.org(ORG_A))).toBe(true);
    },
  );

  it.each<[KmsFault, string]>([
    ['disabled', 'crypto.key_revoked'],
    ['denied', 'crypto.key_denied'],
    ['pending_deletion', 'crypto.key_destroyed'],
    ['destroyed', 'crypto.key_destroyed'],
    ['wrong_key', 'crypto.wrap_tampered'],
  ])('on %s evicts at once and fails closed', async (fault, code) => {
    const { keyring, kms, clock } = await world({ lease: { maxAgeMs: 1000, deniedForMs: 50 } });
    const keys = await keyring.org(ORG_A);
    kms.fail(fault);
    clock.advance(900);
    await keyring.org(ORG_A);
    await vi.waitFor(() => expect(keyring.stats().refreshFailures).toBe(1));
    expect(codeOf(() => keys.sealText(CELL, 'x'))).toBe('crypto.lease_expired');
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe(code);
    kms.heal();
    clock.advance(50);
    expect(works(await keyring.org(ORG_A))).toBe(true); // the customer enabled the key: service resumes by itself
  });

  it('does not hammer a KMS that is down: attempts grow apart', async () => {
    const { keyring, kms, clock } = await world({ lease: { maxAgeMs: 100_000 } });
    await keyring.org(ORG_A);
    clock.advance(80_000);
    kms.fail('throttled');
    const before = kms.calls;
    for (let i = 0; i < 150; i += 1) {
      await keyring.org(ORG_A);
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(100);
    }
    expect(kms.calls - before).toBeGreaterThanOrEqual(2);
    expect(kms.calls - before).toBeLessThanOrEqual(6);
  });
});
