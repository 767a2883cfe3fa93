/** What `audit.append`, `audit.append_from_template` and `audit.seal_pending` answer, read from rows of any driver. */

/** A place in an organisation's chain. */
export interface ChainPosition {
  /** Number of the event in the chain, from 1, without gaps. */
  readonly orgSeq: number;
  /** Hash over this event and all before it, 64 lower-case hex digits. */
  readonly hash: string;
}

/** One row of any of these functions. */
export interface FateRow {
  /** Event id (`seal_pending` only). */
  readonly id?: unknown;
  /** Organisation. */
  readonly org?: unknown;
  /** Sequence number, null while the event is not sealed. */
  readonly seq?: unknown;
  /** Chain hash, null while the event is not sealed. */
  readonly hash?: unknown;
  /** MAC of the template (`append_from_template` only), null when none is given. */
  readonly template_mac?: unknown;
}

/**
 * The chain position in a row, or undefined while the event waits.
 *
 * @throws TypeError when the row is not one of these functions'.
 */
export function positionOf({ seq, hash }: FateRow): ChainPosition | undefined {
  if (seq === null && hash === null) return undefined;
  const orgSeq = Number(seq);
  if (!Number.isSafeInteger(orgSeq) || orgSeq < 1 || !(hash instanceof Uint8Array) || hash.length !== 32) {
    throw new TypeError('not a row of audit.append: hand in the result of the receipt itself');
  }
  return { orgSeq, hash: toHex(hash) };
}

/** Lower-case hex digits of some bytes. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}
