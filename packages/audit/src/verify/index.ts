/**
 * The verifier of a chain. Browser-safe: SHA-256 comes from @noble/hashes or from the caller, and nothing here knows a
 * database. Invariant: it never throws because of what a row holds; bad input is a finding.
 */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { ChainWalk } from './chain-walk.ts';
import type { Sha256 } from './link.ts';
import type { ChainHead, ChainReport, ChainRow } from './report.ts';

export type { Sha256 } from './link.ts';
export type { ChainHead, ChainReport, ChainRow, Finding, FindingClass, RecordColumns } from './report.ts';

/** Settings of `verifyChain`. */
export interface VerifyChainOptions {
  /** Organisation whose chain it must be, lower-case UUID. Default: that of the first row. */
  readonly org?: string;
  /** Head behind which the rows begin, from an earlier report. Default: the beginning of the chain. */
  readonly from?: ChainHead;
  /** Head that somebody kept outside the database: finds a chain that was cut or rewritten as a whole. */
  readonly expectedHead?: ChainHead;
  /** Synchronous SHA-256. Default: @noble/hashes. */
  readonly sha256?: Sha256;
}

/**
 * Verifies the rows of one organisation's chain, in the order of `seq`. What the rows hold never makes it throw; an
 * error of the iterator itself (a lost connection) passes through.
 *
 * @example
 * ```ts
 * const report = await verifyChain(rows, { expectedHead: keptLastMonth });
 * if (!report.ok) console.error(report.findings);
 * ```
 */
export async function verifyChain(
  rows: Iterable<ChainRow> | AsyncIterable<ChainRow>,
  options: VerifyChainOptions = {},
): Promise<ChainReport> {
  const walk = new ChainWalk({ ...options, sha256: options.sha256 ?? nobleSha256 });
  if (Symbol.iterator in rows) {
    for (const row of rows) walk.step(row);
  } else {
    for await (const row of rows) walk.step(row);
  }
  return walk.finish();
}
