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

const LINK_LENGTH = 1 + 16 + 8 + 32 + 32;

/** The link before the first: 32 zero bytes. The first link still differs by organisation. */
export const GENESIS: Readonly<Uint8Array> = new Uint8Array(32);

/** Computes links. */
export interface ChainHasher {
  /** Link of `leaf` at `seq` behind `previous`. */
  link(seq: number, previous: Readonly<Uint8Array>, leaf: Readonly<Uint8Array>): Uint8Array;
}

/** A hasher for the chain of one organisation, whose id is 16 bytes. */
export function chainHasher(org: Uint8Array, sha256: Sha256): ChainHasher {
  const block = new Uint8Array(LINK_LENGTH);
  const view = new DataView(block.buffer);
  block[0] = 0x02;
  block.set(org, 1);
  return {
    link: (seq, previous, leaf) => {
      // A sequence number is a safe integer: 21 bits and 32.
      view.setUint32(17, Math.floor(seq / 0x1_0000_0000));
      view.setUint32(21, seq >>> 0);
      block.set(previous, 25);
      block.set(leaf, 57);
      return sha256(block);
    },
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
