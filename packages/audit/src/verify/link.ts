/**
 * The two hashes of the chain (docs/formats/audit-chain-v1.md §4):
 *
 *     leaf = SHA-256(0x00 || record)                                   the leaf hash of RFC 6962 §2.1
 *     link = SHA-256(0x02 || org (16 bytes) || be64(seq) || previous link || leaf)
 *
 * 0x02 keeps links apart from the 0x01 nodes of a Merkle tree over the same leaves; org and seq keep a link from being
 * used at another place. Browser-safe: SHA-256 is handed in.
 */

/** A synchronous SHA-256. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

/** One that can also write a digest into bytes at hand: a walk needs two for each link and keeps none. */
export interface InPlaceSha256 extends Sha256 {
  /** Writes the SHA-256 of `bytes` to `out` from `at` on. */
  into(bytes: Uint8Array, out: Uint8Array, at: number): void;
}

const DIGEST_LENGTH = 32;
const LINK_LENGTH = 1 + 16 + 8 + 2 * DIGEST_LENGTH;

/** The link before the first: 32 zero bytes. The first link still differs by organisation. */
export const GENESIS: Readonly<Uint8Array> = new Uint8Array(32);

/** Computes links. */
export interface ChainHasher {
  /** Link of `leaf` at `seq` behind `previous`. */
  link(seq: number, previous: Readonly<Uint8Array>, leaf: Readonly<Uint8Array>): Uint8Array;
  /** Leaf of a record with its prefix. Valid until the next one. */
  leaf(record: Uint8Array): Readonly<Uint8Array>;
  /** Whether `hash` is the link of `leaf` at `seq` behind `previous`. */
  holds(
    seq: number,
    previous: Readonly<Uint8Array>,
    leaf: Readonly<Uint8Array>,
    hash: Readonly<Uint8Array>,
  ): boolean;
}

/** A hasher for the chain of one organisation, whose id is 16 bytes. */
export function chainHasher(org: Uint8Array, sha256: Sha256): ChainHasher {
  const block = new Uint8Array(LINK_LENGTH);
  const view = new DataView(block.buffer);
  const ofRecord = new Uint8Array(DIGEST_LENGTH);
  const ofLink = new Uint8Array(DIGEST_LENGTH);
  const into = 'into' in sha256 ? (sha256 as InPlaceSha256).into : copying(sha256);
  block[0] = 0x02;
  block.set(org, 1);
  const fill = (seq: number, previous: Readonly<Uint8Array>, leaf: Readonly<Uint8Array>) => {
    // A sequence number is a safe integer: 21 bits and 32.
    view.setUint32(17, Math.floor(seq / 0x1_0000_0000));
    view.setUint32(21, seq >>> 0);
    for (let index = 0; index < DIGEST_LENGTH; index++) {
      block[25 + index] = previous[index] as number;
      block[57 + index] = leaf[index] as number;
    }
  };
  return {
    link: (seq, previous, leaf) => {
      fill(seq, previous, leaf);
      return sha256(block);
    },
    leaf: (record) => {
      into(record, ofRecord, 0);
      return ofRecord;
    },
    holds: (seq, previous, leaf, hash) => {
      fill(seq, previous, leaf);
      into(block, ofLink, 0);
      return sameBytes(ofLink, hash);
    },
  };
}

function copying(sha256: Sha256): InPlaceSha256['into'] {
  return (bytes, out, at) => {
    const digest = sha256(bytes);
    if (digest.length !== DIGEST_LENGTH) throw new TypeError('sha256 must return 32 bytes');
    out.set(digest, at);
  };
}

/** The 16 bytes of a UUID string. */
export function uuidBytes(uuid: string): Uint8Array {
  return fromHex(uuid.replaceAll('-', ''));
}

/** The bytes of a string of hex digits. */
export function fromHex(hex: string): Uint8Array {
  const bytes = new Uint8Array(hex.length / 2);
  for (let index = 0; index < bytes.length; index++) {
    bytes[index] = Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16);
  }
  return bytes;
}

/** Whether two byte strings are equal. Not constant-time: nothing here is secret. */
export function sameBytes(a: Readonly<Uint8Array>, b: Readonly<Uint8Array>): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

/** Lower-case hex digits of some bytes. */
export function toHex(bytes: Readonly<Uint8Array>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
