import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import {
  decryptBytes,
  decryptTransform,
  encryptBytes,
  encryptTransform,
  fileKeys,
  openFile,
} from '../src/files/index.ts';
import { createKeyring, type Keyring } from '../src/keyring.ts';
import { localKms } from '../src/local/index.ts';
import { memoryKeyStore } from '../src/testing/index.ts';
import {
  CELL,
  CHUNK,
  CountingSource,
  collect,
  ORG,
  OTHER_ORG,
  outcome,
  pieces,
  READERS,
} from './files-setup.ts';

const MAX_AGE_MS = 60_000;
const plaintext = new Uint8Array(randomBytes(2 * CHUNK + 77));

async function keyringAt(time: { now: number }): Promise<Keyring> {
  const kek = new Uint8Array(randomBytes(32));
  const keyring = createKeyring({
    app: 'ledger',
    kms: [localKms({ keks: { main: () => Uint8Array.from(kek) } })],
    store: memoryKeyStore(),
    kekFor: () => 'local:main',
    lease: { maxAgeMs: MAX_AGE_MS },
    now: () => time.now,
    monotonicNow: () => time.now,
  });
  await keyring.createOrg(ORG);
  await keyring.createOrg(OTHER_ORG);
  return keyring;
}

describe('files under the keys of a keyring', () => {
  it('are sealed and opened with the leased keys themselves', async () => {
    const keyring = await keyringAt({ now: 0 });
    const keys = await keyring.org(ORG);
    const sealed = await collect(Readable.from(pieces(plaintext)).compose(encryptTransform(keys, CELL)));
    expect(Buffer.from(sealed.subarray(6, 22)).toString('hex')).toBe(keys.activeKeyId);
    for (const read of Object.values(READERS))
      expect(await read(fileKeys(keys), CELL, sealed)).toEqual(plaintext);
    expect(decryptBytes(keys, CELL, sealed)).toEqual(plaintext);
    await keyring.close();
  });

  it('do not open for another organisation of the same keyring', async () => {
    const keyring = await keyringAt({ now: 0 });
    const sealed = encryptBytes(await keyring.org(ORG), CELL, plaintext);
    const other = await keyring.org(OTHER_ORG);
    expect(await outcome(() => decryptBytes(other, CELL, sealed))).toBe('crypto.unknown_key_version');
    await keyring.close();
  });

  it('do not open as a field of the same cell, nor a field as a file', async () => {
    const keyring = await keyringAt({ now: 0 });
    const keys = await keyring.org(ORG);
    const file = encryptBytes(keys, CELL, plaintext);
    expect(await outcome(() => keys.open(CELL, file))).not.toBe('opened');
    expect(await outcome(() => keys.open({ ...CELL, purpose: 'file' }, file))).not.toBe('opened');
    const field = keys.seal({ ...CELL, purpose: 'file' }, plaintext);
    expect(await outcome(() => decryptBytes(keys, CELL, field))).toBe('crypto.malformed_message');
    await keyring.close();
  });

  it('can neither be begun nor read at random once the lease has ended', async () => {
    const time = { now: 0 };
    const keyring = await keyringAt(time);
    const keys = await keyring.org(ORG);
    const sealed = encryptBytes(keys, CELL, plaintext);
    const file = await openFile(keys, CELL, new CountingSource(sealed));
    time.now = MAX_AGE_MS;
    expect(await outcome(() => file.read(0, 1))).toBe('crypto.lease_expired');
    expect(await outcome(() => encryptTransform(keys, CELL))).toBe('crypto.lease_expired');
    expect(await outcome(() => decryptBytes(keys, CELL, sealed))).toBe('crypto.lease_expired');
    const reopened = await openFile(await keyring.org(ORG), CELL, new CountingSource(sealed));
    expect(await reopened.read(0, 5)).toEqual(plaintext.slice(0, 5));
    await keyring.close();
  });

  it('are finished by a stream that had begun when the lease ended', async () => {
    const time = { now: 0 };
    const keyring = await keyringAt(time);
    const sealed = encryptBytes(await keyring.org(ORG), CELL, plaintext);
    const stream = decryptTransform(await keyring.org(ORG), CELL);
    stream.write(sealed.subarray(0, CHUNK + 500));
    expect((stream.read() as Uint8Array).length).toBe(CHUNK);
    time.now = MAX_AGE_MS;
    stream.end(sealed.subarray(CHUNK + 500));
    expect(Buffer.from(await collect(stream)).equals(plaintext.subarray(CHUNK))).toBe(true);
    await keyring.close();
  });
});
