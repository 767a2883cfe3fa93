import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { decryptBytes, encryptBytes } from '../src/files/index.ts';
import { keyIdOfMessage, type RevocationChannel } from '../src/index.ts';
import {
  createSubjectKeys,
  isIntactErasureCertificate,
  subjectKeyIdOfMessage,
} from '../src/subjects/index.ts';
import { codeOf, codeOfAsync, ORG_A, ORG_B } from './keyring-setup.ts';
import { answering, CELL, recordOf, subjectWorld, TEXT } from './subjects-setup.ts';

describe('the key of a data subject', () => {
  it('seals and opens text and bytes for a cell, without a KMS call', async () => {
    const { keyring, subjects, kms } = await subjectWorld();
    const orgKeys = await keyring.org(ORG_A);
    const calls = kms.calls;
    const anna = await subjects.of(orgKeys, 'employee-1');
    expect(anna.openText(CELL, anna.sealText(CELL, TEXT))).toBe(TEXT);
    const bytes = Uint8Array.of(1, 2, 3);
    const sealed = anna.seal(CELL, bytes);
    expect(sealed.length).toBe(bytes.length + 90);
    expect(anna.open(CELL, sealed)).toEqual(bytes);
    expect(kms.calls).toBe(calls);
    expect(subjectKeyIdOfMessage(sealed)).toBe(anna.keyId);
  });

  it('is the same key in another process and after the lease was renewed', async () => {
    const { keyring, subjects, subjectStore } = await subjectWorld();
    const anna = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    const sealed = anna.sealText(CELL, TEXT);
    keyring.revoke(ORG_A);
    const elsewhere = createSubjectKeys({ store: subjectStore });
    const again = await elsewhere.of(await keyring.org(ORG_A), 'employee-1');
    expect(again.keyId).toBe(anna.keyId);
    expect(again.openText(CELL, sealed)).toBe(TEXT);
  });

  it('does not open what was sealed for another subject, even with the key id in the header exchanged', async () => {
    const { keyring, subjects } = await subjectWorld();
    const orgKeys = await keyring.org(ORG_A);
    const anna = await subjects.of(orgKeys, 'employee-1');
    const ben = await subjects.of(orgKeys, 'employee-2');
    const sealed = anna.seal(CELL, Buffer.from(TEXT));
    expect(codeOf(() => ben.open(CELL, sealed))).toBe('crypto.unknown_key_version');
    const renamed = sealed.slice();
    renamed.set(Buffer.from(ben.keyId, 'hex'), 2);
    expect(codeOf(() => ben.open(CELL, renamed))).toBe('crypto.decrypt_failed');
  });

  it('opens for its own cell only', async () => {
    const { keyring, subjects } = await subjectWorld();
    const anna = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    const sealed = anna.sealText(CELL, TEXT);
    for (const other of [
      { ...CELL, table: 'contract' },
      { ...CELL, column: 'note' },
      { ...CELL, row: 'row-2' },
      { ...CELL, purpose: 'export' },
    ]) {
      expect(codeOf(() => anna.openText(other, sealed))).toBe('crypto.decrypt_failed');
    }
  });

  it('refuses every message with one byte changed', async () => {
    const { keyring, subjects } = await subjectWorld();
    const anna = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    const sealed = anna.seal(CELL, Buffer.from(TEXT));
    for (let i = 0; i < sealed.length; i += 1) {
      const flipped = sealed.slice();
      flipped[i] = (flipped[i] as number) ^ 0x01;
      expect(codeOf(() => anna.open(CELL, flipped))).toMatch(
        i < 2
          ? 'crypto.unsupported_version'
          : i < 18
            ? 'crypto.unknown_key_version'
            : 'crypto.decrypt_failed',
      );
    }
  });

  it('and the key of the organisation do not open each other, nor does the same subject id of another organisation', async () => {
    const { keyring, subjects } = await subjectWorld();
    const [orgA, orgB] = [await keyring.org(ORG_A), await keyring.org(ORG_B)];
    const anna = await subjects.of(orgA, 'employee-1');
    const namesake = await subjects.of(orgB, 'employee-1');
    const sealed = anna.seal(CELL, Buffer.from(TEXT));
    expect(codeOf(() => orgA.open(CELL, sealed))).toBe('crypto.unsupported_version');
    expect(codeOf(() => keyIdOfMessage(sealed))).toBe('crypto.unsupported_version');
    expect(codeOf(() => anna.open(CELL, orgA.seal(CELL, Buffer.from(TEXT))))).toBe(
      'crypto.unsupported_version',
    );
    expect(codeOf(() => namesake.open(CELL, sealed))).toBe('crypto.unknown_key_version');
  });

  it('leaves no trace of the subject id in messages and wraps', async () => {
    const subject = 'anna.schmidt@example.org';
    const { keyring, subjects, subjectStore } = await subjectWorld();
    const anna = await subjects.of(await keyring.org(ORG_A), subject);
    const { wrapped } = await recordOf(subjectStore, ORG_A, subject);
    for (const bytes of [anna.seal(CELL, Buffer.from(TEXT)), wrapped]) {
      const shown = ['latin1', 'hex', 'base64url'].map((form) =>
        Buffer.from(bytes).toString(form as BufferEncoding),
      );
      for (const form of ['latin1', 'hex', 'base64url'] as const) {
        expect(shown.join(' ')).not.toContain(Buffer.from(subject).toString(form));
      }
    }
  });

  it('is found by a message that names it', async () => {
    const { keyring, subjects } = await subjectWorld();
    const orgKeys = await keyring.org(ORG_A);
    const sealed = (await subjects.of(orgKeys, 'employee-1')).sealText(CELL, TEXT);
    const found = await subjects.ofSealed(orgKeys, sealed);
    expect([found.subject, found.openText(CELL, sealed)]).toEqual(['employee-1', TEXT]);
    const elsewhere = await keyring.org(ORG_B);
    expect(await codeOfAsync(subjects.ofSealed(elsewhere, sealed))).toBe('crypto.unknown_key_version');
  });

  it('prints neither key nor subject', async () => {
    const { keyring, subjects } = await subjectWorld();
    const anna = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    for (const shown of [inspect(anna, { depth: 9, showHidden: true }), JSON.stringify(anna), String(anna)]) {
      expect(shown.replaceAll('"', '')).toBe(`[SubjectKeys ${anna.keyId}]`);
    }
  });

  it('refuses subjects that are no ids, and keys that do not come from a keyring', async () => {
    const { keyring, subjects } = await subjectWorld();
    const orgKeys = await keyring.org(ORG_A);
    for (const subject of ['', 'x'.repeat(1025), '\ud800', 7 as never]) {
      await expect(subjects.of(orgKeys, subject)).rejects.toThrow(TypeError);
    }
    await expect(subjects.of({ ...orgKeys }, 'employee-1')).rejects.toThrow('keyring.org()');
  });
});

describe('a wrapped subject key', () => {
  it('is refused in the place of another subject, organisation, key id or data-key version', async () => {
    const base = await subjectWorld();
    const orgA = await base.keyring.org(ORG_A);
    await base.subjects.of(orgA, 'employee-1');
    await base.subjects.of(orgA, 'employee-2');
    await base.subjects.of(await base.keyring.org(ORG_B), 'employee-1');
    const stolen = await recordOf(base.subjectStore, ORG_A, 'employee-2');
    const foreign = await recordOf(base.subjectStore, ORG_B, 'employee-1');
    const own = await recordOf(base.subjectStore, ORG_A, 'employee-1');
    for (const moved of [
      { ...own, wrapped: stolen.wrapped },
      { ...own, keyId: stolen.keyId, wrapped: stolen.wrapped },
      { ...own, keyId: foreign.keyId, wrapped: foreign.wrapped },
      { ...own, keyId: stolen.keyId },
      { ...stolen },
      { ...foreign },
    ]) {
      const subjects = createSubjectKeys({ store: answering(base.subjectStore, () => moved) });
      expect(await codeOfAsync(subjects.of(orgA, 'employee-1'))).toBe('crypto.wrap_tampered');
    }
  });

  it('of an earlier data-key version is refused as one of the present version', async () => {
    const base = await subjectWorld();
    await base.subjects.of(await base.keyring.org(ORG_A), 'employee-1');
    const record = await recordOf(base.subjectStore, ORG_A, 'employee-1');
    const { keyId } = await base.operations.rotate(ORG_A);
    base.keyring.revoke(ORG_A);
    const renamed = record.wrapped.slice();
    renamed.set(Buffer.from(keyId, 'hex'), 2);
    for (const wrapped of [record.wrapped, renamed]) {
      const store = answering(base.subjectStore, () => ({ ...record, dekKeyId: keyId, wrapped }));
      const subjects = createSubjectKeys({ store });
      expect(await codeOfAsync(subjects.of(await base.keyring.org(ORG_A), 'employee-1'))).toBe(
        'crypto.wrap_tampered',
      );
    }
  });

  it('is refused with any byte changed, cut or extended', async () => {
    const base = await subjectWorld();
    const orgA = await base.keyring.org(ORG_A);
    await base.subjects.of(orgA, 'employee-1');
    const record = await recordOf(base.subjectStore, ORG_A, 'employee-1');
    const spoilt = [record.wrapped.slice(0, 121), Uint8Array.of(...record.wrapped, 0), new Uint8Array(0)];
    for (let i = 0; i < record.wrapped.length; i += 1) {
      const flipped = record.wrapped.slice();
      flipped[i] = (flipped[i] as number) ^ 0x80;
      spoilt.push(flipped);
    }
    for (const wrapped of spoilt) {
      const subjects = createSubjectKeys({
        store: answering(base.subjectStore, () => ({ ...record, wrapped })),
      });
      expect(await codeOfAsync(subjects.of(orgA, 'employee-1'))).toBe('crypto.wrap_tampered');
    }
  });

  it('is no field message that an application could seal itself', async () => {
    const base = await subjectWorld();
    const orgA = await base.keyring.org(ORG_A);
    const anna = await base.subjects.of(orgA, 'employee-1');
    const record = await recordOf(base.subjectStore, ORG_A, 'employee-1');
    const cell = {
      table: 'ringfence.subject_key',
      column: 'employee-1',
      row: anna.keyId,
      purpose: 'subject-key',
    };
    expect(codeOf(() => orgA.open(cell, record.wrapped))).toBe('crypto.decrypt_failed');
    const wrapped = orgA.seal(cell, new Uint8Array(32));
    const subjects = createSubjectKeys({
      store: answering(base.subjectStore, () => ({ ...record, wrapped })),
    });
    expect(await codeOfAsync(subjects.of(orgA, 'employee-1'))).toBe('crypto.wrap_tampered');
  });
});

describe('an erased subject', () => {
  it('opens nothing any more: with held keys, with new ones, and in a copy of the data', async () => {
    const { keyring, subjects } = await subjectWorld();
    const orgKeys = await keyring.org(ORG_A);
    const anna = await subjects.of(orgKeys, 'employee-1');
    const ben = await subjects.of(orgKeys, 'employee-2');
    const [hers, his] = [anna.sealText(CELL, TEXT), ben.sealText(CELL, TEXT)];
    const file = encryptBytes(anna.files, CELL, Buffer.from(TEXT));
    expect(Buffer.from(decryptBytes(anna.files, CELL, file)).toString()).toBe(TEXT);
    await subjects.erase(ORG_A, 'employee-1');
    expect(codeOf(() => anna.openText(CELL, hers))).toBe('crypto.key_shredded');
    expect(codeOf(() => anna.sealText(CELL, TEXT))).toBe('crypto.key_shredded');
    expect(codeOf(() => decryptBytes(anna.files, CELL, file))).toBe('crypto.key_shredded');
    expect(await codeOfAsync(subjects.of(orgKeys, 'employee-1'))).toBe('crypto.key_shredded');
    expect(await codeOfAsync(subjects.ofSealed(orgKeys, hers))).toBe('crypto.key_shredded');
    expect(ben.openText(CELL, his)).toBe(TEXT);
  });

  it('leaves a tombstone without key bytes and a certificate that stays the same when repeated', async () => {
    const { keyring, subjects, subjectStore, clock } = await subjectWorld();
    const { keyId } = await subjects.of(await keyring.org(ORG_A), 'employee-1');
    const certificate = await subjects.erase(ORG_A, 'employee-1');
    expect(certificate).toEqual({
      v: 1,
      org: ORG_A,
      subject: 'employee-1',
      keyId,
      erasedAt: new Date(clock.wall).toISOString(),
      notified: false,
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(await subjectStore.load(ORG_A, 'employee-1')).toEqual({
      org: ORG_A,
      subject: 'employee-1',
      keyId,
      erasedAt: clock.wall,
    });
    clock.advance(1000);
    expect(await subjects.erase(ORG_A, 'employee-1')).toEqual(certificate);
    expect(isIntactErasureCertificate(certificate)).toBe(true);
    for (const changed of [
      { subject: 'employee-2' },
      { erasedAt: '2020-01-01T00:00:00.000Z' },
      { keyId: null },
    ]) {
      expect(isIntactErasureCertificate({ ...certificate, ...changed })).toBe(false);
    }
  });

  it('gets no key when it had none before', async () => {
    const { keyring, subjects } = await subjectWorld();
    expect((await subjects.erase(ORG_A, 'employee-9')).keyId).toBeNull();
    expect(await codeOfAsync(subjects.of(await keyring.org(ORG_A), 'employee-9'))).toBe(
      'crypto.key_shredded',
    );
  });

  it('is not brought back by a read of the store that began before the erasure', async () => {
    const base = await subjectWorld();
    const orgKeys = await base.keyring.org(ORG_A);
    await base.subjects.of(orgKeys, 'employee-1');
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let first = true;
    const slow = {
      ...answering(base.subjectStore, (entry) => entry),
      load: async (org: typeof ORG_A, subject: string) => {
        const entry = await base.subjectStore.load(org, subject);
        if (first) {
          first = false;
          await held;
        }
        return entry;
      },
    };
    const subjects = createSubjectKeys({ store: slow });
    const waiting = subjects.of(orgKeys, 'employee-1');
    await subjects.erase(ORG_A, 'employee-1');
    release();
    expect(await codeOfAsync(waiting)).toBe('crypto.key_shredded');
  });

  it('is told to all processes through the revocation channel, and says so when that fails', async () => {
    const told: string[] = [];
    const channel: RevocationChannel = {
      publish: async (org) => void told.push(org),
      subscribe: async () => async () => {},
    };
    const { subjects } = await subjectWorld({ revocations: channel });
    expect((await subjects.erase(ORG_A, 'employee-1')).notified).toBe(true);
    expect(told).toEqual([ORG_A]);
    const broken: RevocationChannel = {
      ...channel,
      publish: () => Promise.reject(new Error('no connection')),
    };
    const deaf = await subjectWorld({ revocations: broken });
    expect((await deaf.subjects.erase(ORG_A, 'employee-1')).notified).toBe(false);
  });
});
