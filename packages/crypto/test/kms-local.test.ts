import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { kekFromEnv, kekFromFile, localKms } from '../src/local/index.ts';
import { faultyKms, type KmsHarness, kmsConformance } from '../src/testing/index.ts';
import { codeOfAsync, ORG_A } from './keyring-setup.ts';

function harness(): KmsHarness {
  const provider = faultyKms(localKms({ keks: { a: randomBytes(32), b: randomBytes(32) } }));
  return {
    provider,
    kekUri: 'local:a',
    otherKekUri: 'local:b',
    disable: () => provider.fail('disabled'),
    enable: () => provider.heal(),
    scheduleDeletion: () => provider.fail('pending_deletion'),
    destroy: () => provider.fail('destroyed'),
    deny: () => provider.fail('denied'),
    inject: (fault) => provider.fail(fault),
  };
}

describe('the local provider passes the conformance suite:', () => {
  it.each(kmsConformance.map((one) => [one.name, one] as const))('%s', async (_, one) => {
    await one.run(harness());
  });
});

describe('the local provider', () => {
  const context = { app: 'a', org: ORG_A, keyId: '00'.repeat(16), version: 1, purpose: 'dek' } as const;

  it('answers key_destroyed for a KEK it does not have, as a KMS does', async () => {
    const kms = localKms({ keks: { a: randomBytes(32) } });
    expect(await codeOfAsync(kms.wrap('local:x', randomBytes(32), context))).toBe('crypto.key_destroyed');
    expect(await codeOfAsync(kms.unwrap('local:x', randomBytes(61), context))).toBe('crypto.key_destroyed');
    expect(await kms.describe('local:x')).toBe('destroyed');
  });

  it('refuses a wrap made under a KEK of the same name and other bytes', async () => {
    const { wrapped } = await localKms({ keks: { a: randomBytes(32) } }).wrap(
      'local:a',
      randomBytes(32),
      context,
    );
    const other = localKms({ keks: { a: randomBytes(32) } });
    expect(await codeOfAsync(other.unwrap('local:a', wrapped, context))).toBe('crypto.wrap_tampered');
  });

  it('refuses the wrong version byte and wraps only 32-byte keys', async () => {
    const kms = localKms({ keks: { a: randomBytes(32) } });
    const { wrapped } = await kms.wrap('local:a', randomBytes(32), context);
    expect(wrapped.length).toBe(61);
    wrapped[0] = 2;
    expect(await codeOfAsync(kms.unwrap('local:a', wrapped, context))).toBe('crypto.wrap_tampered');
    await expect(kms.wrap('local:a', randomBytes(31), context)).rejects.toThrow(TypeError);
  });

  it('refuses KEKs of the wrong length and odd names', () => {
    expect(() => localKms({ keks: { a: randomBytes(16) } })).toThrow(TypeError);
    expect(() => localKms({ keks: { 'a:b': randomBytes(32) } })).toThrow(TypeError);
    expect(() => localKms({ keks: { '': randomBytes(32) } })).toThrow(TypeError);
  });
});

describe('a KEK', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-kek-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const kek = randomBytes(32);
  const file = (content: string | Uint8Array, mode = 0o600): string => {
    const path = join(folder, randomBytes(6).toString('hex'));
    writeFileSync(path, content, { mode });
    chmodSync(path, mode);
    return path;
  };

  it('comes from an environment variable in base64 or base64url', () => {
    for (const encoding of ['base64', 'base64url'] as const) {
      process.env['RINGFENCE_TEST_KEK'] = kek.toString(encoding);
      expect(Buffer.from(kekFromEnv('RINGFENCE_TEST_KEK')()).equals(kek)).toBe(true);
    }
    for (const wrong of ['', 'secret', kek.toString('hex'), randomBytes(31).toString('base64')]) {
      process.env['RINGFENCE_TEST_KEK'] = wrong;
      expect(() => localKms({ keks: { a: kekFromEnv('RINGFENCE_TEST_KEK') } })).toThrow(
        /does not hold 32 bytes/,
      );
    }
    delete process.env['RINGFENCE_TEST_KEK'];
    expect(() => localKms({ keks: { a: kekFromEnv('RINGFENCE_TEST_KEK') } })).toThrow(/not set/);
  });

  it('comes from a file, raw or in base64', () => {
    for (const content of [kek, kek.toString('base64'), `${kek.toString('base64')}\n`]) {
      expect(Buffer.from(kekFromFile(file(content))()).equals(kek)).toBe(true);
    }
    expect(() => kekFromFile(file('short'))()).toThrow(TypeError);
    expect(() => kekFromFile(file(randomBytes(33)))()).toThrow(TypeError);
  });

  it.skipIf(process.platform === 'win32')('is not read from a file that others may read or write', () => {
    for (const mode of [0o640, 0o604, 0o620, 0o602, 0o644, 0o666]) {
      expect(() => kekFromFile(file(kek, mode))(), mode.toString(8)).toThrow(/open to group or others/);
    }
    expect(Buffer.from(kekFromFile(file(kek, 0o400))()).equals(kek)).toBe(true);
  });

  it('is not read from a folder', () => {
    const path = join(folder, 'folder');
    mkdirSync(path, { mode: 0o700 });
    expect(() => kekFromFile(path)()).toThrow(/no regular file/);
  });
});
