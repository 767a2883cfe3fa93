/** Keys, cells and attack tools shared by the tests of encrypted files. */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { RingfenceCryptoError } from '../src/errors.ts';
import {
  decryptBytes,
  decryptStream,
  decryptTransform,
  type FileCell,
  type FileKeySource,
  openFile,
  type RangeSource,
} from '../src/files/index.ts';
import { keyIdText } from '../src/key-id.ts';
import { type OrgId, parseOrgId } from '../src/org-id.ts';

export const ORG: OrgId = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
export const OTHER_ORG: OrgId = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');
export const CELL: FileCell = {
  table: 'invoices',
  column: 'scan',
  row: '0190f5d2-0000-7000-8000-000000000001',
};
export const CHUNK = 16_384;
export const SEALED_CHUNK = 16_400;
export const PREFIX = 78;

/** Key source over fixed keys: the last version given is the active one. */
export class FixedFileKeys implements FileKeySource {
  readonly org: OrgId;
  readonly versions: Map<string, Uint8Array>;
  revoked = false;
  activeKeyId: Uint8Array;

  constructor(org: OrgId = ORG, versions: readonly (readonly [Uint8Array, Uint8Array])[] = [freshVersion()]) {
    this.org = org;
    this.versions = new Map(versions.map(([id, key]) => [keyIdText(id), key]));
    this.activeKeyId = versions.at(-1)?.[0] ?? new Uint8Array(16);
  }

  withFileKey<T>(keyId: Uint8Array, use: (key: Uint8Array) => T): T {
    if (this.revoked) throw new RingfenceCryptoError('crypto.key_revoked', 'revoked', { org: this.org });
    const key = this.versions.get(keyIdText(keyId));
    if (key === undefined)
      throw new RingfenceCryptoError('crypto.unknown_key_version', 'unknown', { org: this.org });
    return use(key);
  }
}

export function freshVersion(): [Uint8Array, Uint8Array] {
  return [new Uint8Array(randomBytes(16)), new Uint8Array(randomBytes(32))];
}

export function concat(pieces: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(pieces));
}

export function flip(bytes: Uint8Array, at: number, mask = 1): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ mask;
  return copy;
}

/** The prefix of a sealed file and its chunks with their tags. */
export function takeApart(sealed: Uint8Array): { prefix: Uint8Array; chunks: Uint8Array[] } {
  const chunks: Uint8Array[] = [];
  for (let at = PREFIX; at < sealed.length; at += SEALED_CHUNK)
    chunks.push(sealed.slice(at, at + SEALED_CHUNK));
  return { prefix: sealed.slice(0, PREFIX), chunks };
}

/** Code of the RingfenceCryptoError an attempt ends with, `opened` when it ends well. */
export async function outcome(attempt: () => unknown): Promise<string> {
  try {
    await attempt();
  } catch (error) {
    if (error instanceof RingfenceCryptoError) return error.code;
    throw error;
  }
  return 'opened';
}

/** A sealed file in memory as a range source that counts what is read from it. */
export class CountingSource implements RangeSource {
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly count = { calls: 0, bytes: 0 };

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.size = bytes.length;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    this.count.calls += 1;
    this.count.bytes += length;
    return Promise.resolve(this.#bytes.slice(offset, offset + length));
  }
}

/** The bytes in pieces of `size`. */
export function pieces(bytes: Uint8Array, size = 10_007): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) out.push(bytes.slice(at, at + size));
  return out;
}

/** All a Node.js stream yields; rejects with its error. */
export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return concat(parts);
}

/** Every way to read a sealed file whole. */
export const READERS: Record<
  string,
  (keys: FileKeySource, cell: FileCell, sealed: Uint8Array) => Promise<Uint8Array>
> = {
  decryptBytes: async (keys, cell, sealed) => decryptBytes(keys, cell, sealed),
  decryptTransform: (keys, cell, sealed) =>
    collect(Readable.from(pieces(sealed)).compose(decryptTransform(keys, cell))),
  decryptStream: (keys, cell, sealed) =>
    collect(ReadableStream.from<Uint8Array>(pieces(sealed)).pipeThrough(decryptStream(keys, cell))),
  openFile: async (keys, cell, sealed) => {
    const file = await openFile(keys, cell, new CountingSource(sealed));
    return file.read(0, file.size);
  },
};
