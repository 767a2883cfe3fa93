/**
 * The verifier of a chain. Browser-safe: SHA-256 comes from @noble/hashes or from the caller, and nothing here knows a
 * database. Invariant: it never throws because of what a row holds; bad input is a finding.
 */
import { ChainWalk } from './chain-walk.ts';
import type { CheckpointTrust } from './checkpoint.ts';
import { ExportWalk } from './export-walk.ts';
import type { Sha256 } from './link.ts';
import { nobleSha256 } from './noble-sha256.ts';
import type { ChainHead, ChainReport, ChainRow, ExportReport } from './report.ts';
import { openKept, SignedRecords } from './signed-records.ts';

export {
  type Checkpoint,
  type CheckpointTrust,
  type OpenedCheckpoint,
  openCheckpoint,
} from './checkpoint.ts';
export { type DeploymentEntry, deploymentLeaf } from './deployment-entry.ts';
export { type Disclosure, verifyDisclosure } from './disclosure.ts';
export type { Sha256 } from './link.ts';
export {
  type ConsistencyClaim,
  type InclusionClaim,
  verifyConsistency,
  verifyInclusion,
} from './merkle-proof.ts';
export type {
  ChainHead,
  ChainReport,
  ChainRow,
  ExportReport,
  Finding,
  FindingClass,
  RecordColumns,
} from './report.ts';
export {
  type Ed25519Verify,
  formatVerifierKey,
  type NoteKeyKind,
  parseVerifierKey,
  type VerifiedSignature,
  type VerifierKey,
} from './signed-note.ts';

/** Settings of `verifyChain`. */
export interface VerifyChainOptions {
  /** Organisation whose chain it must be, lower-case UUID. Default: that of the first row. */
  readonly org?: string;
  /** Head behind which the rows begin, from an earlier report. Default: the beginning of the chain. */
  readonly from?: ChainHead;
  /** Head, or heads, that somebody kept outside the database: finds a chain that was cut or rewritten as a whole. */
  readonly expectedHead?: ChainHead | readonly ChainHead[];
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
  const walk = new ChainWalk({ ...options, sha256: options.sha256 ?? nobleSha256() });
  if (Symbol.iterator in rows) {
    for (const row of rows) walk.step(row);
  } else {
    for await (const row of rows) walk.step(row);
  }
  return walk.finish();
}

/** Bytes in pieces: of Node, of a browser, or at hand. */
export type ByteStream = Iterable<Uint8Array> | AsyncIterable<Uint8Array> | WebByteStream;

/** What is needed of a `ReadableStream<Uint8Array>`, which not every browser can iterate. */
export interface WebByteStream {
  /** Locks the stream to one reader. */
  getReader(): {
    /** The next piece. */
    read(): Promise<{
      /** True behind the last piece. */
      readonly done: boolean;
      /** The piece. */
      readonly value?: Uint8Array | undefined;
    }>;
  };
}

/** Settings of `verifyExport`. */
export interface VerifyExportOptions {
  /** Organisation that the export must be of, lower-case UUID. Default: the one it names. */
  readonly org?: string;
  /** Head, or heads, that somebody kept: finds a chain that was cut or rewritten as a whole, and vouches for a later beginning. */
  readonly expectedHead?: ChainHead | readonly ChainHead[];
  /**
   * Who signs checkpoints of this log: every note in the export must then be one of them, with the root that the records
   * give, and there must be one, or one that was kept. Events behind the last of them are not signed. Needs the log from its
   * beginning. Default: notes are not looked at.
   */
  readonly trust?: CheckpointTrust;
  /** Notes of checkpoints that somebody kept, held against the records. Needs `trust`. Default: none. */
  readonly keptNotes?: readonly string[];
  /** Synchronous SHA-256. Default: @noble/hashes. */
  readonly sha256?: Sha256;
}

/**
 * Verifies an export (docs/formats/audit-export-v1.md) as it arrives, in flat memory. No bytes make it throw; an error of the
 * stream itself passes through.
 *
 * @throws TypeError when a kept note is not a checkpoint of this log by one of its keys, or there are kept notes without `trust`.
 * @example
 * ```ts
 * const { body } = await fetch('/audit/export');
 * const report = await verifyExport(body, { expectedHead: keptLastMonth });
 * ```
 */
export async function verifyExport(
  stream: ByteStream,
  options: VerifyExportOptions = {},
): Promise<ExportReport> {
  const { trust, keptNotes = [], sha256 = nobleSha256(), ...rest } = options;
  if (trust === undefined && keptNotes.length > 0) throw new TypeError('kept notes need trust');
  const signed =
    trust === undefined ? undefined : new SignedRecords(sha256, trust, await openKept(keptNotes, trust));
  const walk = new ExportWalk({ ...rest, sha256, signed });
  if (Symbol.iterator in stream) {
    for (const chunk of stream) walk.push(chunk);
  } else if (Symbol.asyncIterator in stream) {
    for await (const chunk of stream) walk.push(chunk);
  } else {
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      walk.push(value);
    }
  }
  await signed?.open(walk.notes);
  return walk.finish();
}
