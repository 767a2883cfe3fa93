import { describe, expect, it } from 'vitest';
import { createSubjectKeys } from '../src/subjects/index.ts';
import { memorySubjectKeyStore } from '../src/testing/index.ts';
import { codeOf, codeOfAsync, ORG_A } from './keyring-setup.ts';
import { answering, CELL, recordOf, subjectWorld, TEXT } from './subjects-setup.ts';

describe('the cache of subject keys', () => {
  it('makes one key and one read for many callers at once', async () => {
    const { keyring, subjects } = await subjectWorld();
    const orgKeys = await keyring.org(ORG_A);
    const all = await Promise.all(Array.from({ length: 50 }, () => subjects.of(orgKeys, 'employee-1')));
    expect(new Set(all).size).toBe(1);
    expect(subjects.stats()).toMatchObject({ keys: 1, misses: 50, hits: 0 });
    await subjects.of(orgKeys, 'employee-1');
    expect(subjects.stats().hits).toBe(1);
  });

  it('ends with the lease of the organisation: revoked, expired, or of a closed keyring', async () => {
    const { keyring, subjects, clock } = await subjectWorld();
    const revoked = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    const sealed = revoked.sealText(CELL, TEXT);
    keyring.revoke(ORG_A);
    expect(codeOf(() => revoked.openText(CELL, sealed))).toBe('crypto.lease_expired');
    expect(subjects.stats().keys).toBe(0);
    const expired = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    clock.advance(300_000);
    expect(codeOf(() => expired.openText(CELL, sealed))).toBe('crypto.lease_expired');
    expect(subjects.stats().keys).toBe(0);
    const closed = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    await keyring.close();
    expect(codeOf(() => closed.files.withFileKey(closed.files.activeKeyId, () => 1))).toBe(
      'crypto.lease_expired',
    );
    expect(subjects.stats().keys).toBe(0);
  });

  it('keeps no key that was loaded while the lease ended', async () => {
    const base = await subjectWorld();
    const orgKeys = await base.keyring.org(ORG_A);
    await base.subjects.of(orgKeys, 'employee-1');
    const subjects = createSubjectKeys({
      store: answering(base.subjectStore, (entry) => {
        base.keyring.revoke(ORG_A);
        return entry;
      }),
    });
    expect(await codeOfAsync(subjects.of(orgKeys, 'employee-1'))).toBe('crypto.lease_expired');
    expect(subjects.stats().keys).toBe(0);
  });

  it('is bounded: the least recently used key is wiped and comes back when asked for', async () => {
    const { keyring, subjects } = await subjectWorld({ maxKeys: 2 });
    const orgKeys = await keyring.org(ORG_A);
    const one = await subjects.of(orgKeys, 'employee-1');
    const two = await subjects.of(orgKeys, 'employee-2');
    await subjects.of(orgKeys, 'employee-1');
    await subjects.of(orgKeys, 'employee-3');
    expect(subjects.stats()).toMatchObject({ keys: 2, evictions: 1 });
    expect(codeOf(() => two.sealText(CELL, TEXT))).toBe('crypto.lease_expired');
    const again = await subjects.of(orgKeys, 'employee-2');
    expect([one.keyId === again.keyId, two.keyId === again.keyId]).toEqual([false, true]);
  });

  it('counts every use towards the limits of the lease', async () => {
    const { keyring, subjects } = await subjectWorld({}, { lease: { maxMessages: 6 } });
    const anna = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    const seal = () => codeOf(() => anna.sealText(CELL, TEXT));
    expect([seal(), seal(), seal(), seal()]).toContain('crypto.lease_exhausted');
  });
});

describe('the re-wrap after a rotation', () => {
  it('moves every key under the new version; data stays readable, the old version can be retired', async () => {
    const { keyring, subjects, operations, clock } = await subjectWorld();
    const before = await keyring.org(ORG_A);
    const names = Array.from({ length: 7 }, (_, i) => `employee-${i}`);
    const sealed = new Map<string, string>();
    for (const name of names) sealed.set(name, (await subjects.of(before, name)).sealText(CELL, TEXT + name));
    await subjects.erase(ORG_A, 'employee-6');
    await operations.rotate(ORG_A);
    keyring.revoke(ORG_A);
    clock.advance(400_000);
    const { references } = subjects;
    expect(await references.count(ORG_A, before.activeKeyId)).toBe(6);
    expect(await codeOfAsync(operations.retire(ORG_A, before.activeKeyId, [references]))).toBe(
      'crypto.still_referenced',
    );
    const seen: number[] = [];
    const report = await subjects.rewrap(() => keyring.org(ORG_A), {
      batch: 2,
      onProgress: ({ rewrapped }) => seen.push(rewrapped),
    });
    expect(report).toEqual({ rewrapped: 6, skipped: 0, failed: [], complete: true });
    expect(seen).toEqual([2, 4, 6]);
    expect(await references.count(ORG_A, before.activeKeyId)).toBe(0);
    await operations.retire(ORG_A, before.activeKeyId, [references]);
    keyring.revoke(ORG_A);
    const after = await keyring.org(ORG_A);
    for (const name of names.slice(0, 6)) {
      expect((await subjects.of(after, name)).openText(CELL, sealed.get(name) as string)).toBe(TEXT + name);
    }
    expect(await subjects.rewrap(after)).toMatchObject({ rewrapped: 0, complete: true });
  });

  it('stops after the running batch and goes on where it stopped', async () => {
    const { keyring, subjects, operations } = await subjectWorld();
    const before = await keyring.org(ORG_A);
    for (let i = 0; i < 5; i += 1) await subjects.of(before, `employee-${i}`);
    await operations.rotate(ORG_A);
    keyring.revoke(ORG_A);
    const stop = new AbortController();
    const orgKeys = await keyring.org(ORG_A);
    const halted = await subjects.rewrap(orgKeys, {
      batch: 2,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    });
    expect(halted).toMatchObject({ rewrapped: 2, complete: false });
    expect(await subjects.rewrap(orgKeys, { batch: 2 })).toMatchObject({ rewrapped: 3, complete: true });
  });

  it('neither brings back a subject that is erased meanwhile nor stumbles over it', async () => {
    const base = await subjectWorld();
    const before = await base.keyring.org(ORG_A);
    for (let i = 0; i < 3; i += 1) await base.subjects.of(before, `employee-${i}`);
    await base.operations.rotate(ORG_A);
    base.keyring.revoke(ORG_A);
    const racing = {
      ...answering(base.subjectStore, (entry) => entry),
      listOthers: async (...args: Parameters<typeof base.subjectStore.listOthers>) => {
        const list = await base.subjectStore.listOthers(...args);
        await base.subjects.erase(ORG_A, 'employee-1');
        return list;
      },
    };
    const subjects = createSubjectKeys({ store: racing });
    const orgKeys = await base.keyring.org(ORG_A);
    expect(await subjects.rewrap(orgKeys)).toMatchObject({ rewrapped: 2, skipped: 1, complete: true });
    expect(await codeOfAsync(subjects.of(orgKeys, 'employee-1'))).toBe('crypto.key_shredded');
  });

  it('names a tampered wrap, leaves it, and so keeps its version', async () => {
    const base = await subjectWorld();
    const before = await base.keyring.org(ORG_A);
    for (let i = 0; i < 3; i += 1) await base.subjects.of(before, `employee-${i}`);
    const { keyId } = await recordOf(base.subjectStore, ORG_A, 'employee-1');
    await base.operations.rotate(ORG_A);
    base.keyring.revoke(ORG_A);
    const spoiling = {
      ...answering(base.subjectStore, (entry) => entry),
      listOthers: async (...args: Parameters<typeof base.subjectStore.listOthers>) =>
        (await base.subjectStore.listOthers(...args)).map((one) =>
          one.keyId === keyId ? { ...one, wrapped: one.wrapped.slice().fill(7, 80) } : one,
        ),
    };
    const report = await createSubjectKeys({ store: spoiling }).rewrap(await base.keyring.org(ORG_A), {
      batch: 2,
    });
    expect(report).toEqual({
      rewrapped: 2,
      skipped: 0,
      failed: [{ keyId, code: 'crypto.wrap_tampered' }],
      complete: true,
    });
    expect(await base.subjects.references.count(ORG_A, before.activeKeyId)).toBe(1);
  });

  it('is bound to the organisation: a shredded one has no subject keys either', async () => {
    const { keyring, subjects, operations, store } = await subjectWorld();
    await subjects.of(await keyring.org(ORG_A), 'employee-1');
    await operations.shred(ORG_A, { reason: 'contract 17 ended' });
    keyring.revoke(ORG_A);
    expect(await codeOfAsync(keyring.org(ORG_A))).toBe('crypto.key_shredded');
    const late = memorySubjectKeyStore(store).insert({
      org: ORG_A,
      subject: 'employee-2',
      keyId: '0'.repeat(32),
      dekKeyId: '0'.repeat(32),
      wrapped: new Uint8Array(122),
      createdAt: 0,
    });
    expect(await codeOfAsync(late)).toBe('crypto.store_conflict');
  });
});
