/**
 * Verifies a block of link lines apart from the rest of its export, from the head that the line before it claims. The
 * walk is the one over a whole export, so a block that holds here holds there; one that does not says only that.
 */
import { ChainWalk } from './chain-walk.ts';
import { LinkLine, readLink } from './export-line.ts';
import { MAX_LINE_BYTES } from './lines.ts';
import type { Sha256 } from './link.ts';
import type { ChainHead } from './report.ts';

/** Whole link lines of one export. */
export interface Block {
  /** Organisation of the export. */
  readonly org: string;
  /** Head behind which the block begins, as the line before it claims. */
  readonly from: ChainHead;
  /** Kept heads at places of the block. */
  readonly kept: readonly ChainHead[];
  /** The lines, each with its LF. */
  readonly bytes: Uint8Array;
}

/** What a block that holds leaves behind. */
export interface BlockEnd {
  /** Its last link. */
  readonly head: ChainHead;
  /** Number of links. */
  readonly links: number;
}

/** The end of a block in which nothing is to be found; undefined for any other. */
export function verifyBlock({ org, from, kept, bytes }: Block, sha256: Sha256): BlockEnd | undefined {
  const walk = new ChainWalk({ sha256, org, from, expectedHead: kept });
  const link = new LinkLine();
  for (let at = 0; at < bytes.length; ) {
    const most = Math.min(bytes.length, at + MAX_LINE_BYTES + 1);
    const end = readLink(bytes, at, most, walk.record, link);
    // Whether a record that is gone was pruned is told by those before it.
    if (end === -1 || !link.hasRecord) return undefined;
    walk.stepLink(link);
    at = end + 1;
  }
  const { ok, head, checked } = walk.finish();
  return ok ? { head, links: checked } : undefined;
}
