/**
 * Verifies an export on several threads (Node). A short export is walked on this one alone: starting another, whose code is
 * cold, takes longer than it saves. Invariant: the report is that of `verifyExport`, on however many threads.
 */
import { nodeSha256 } from '../node-sha256.ts';
import { ExportWalk } from '../verify/export-walk.ts';
import type { ChainHead, ExportReport } from '../verify/index.ts';
import { BlockJoin, type BlockSizes } from './block-join.ts';

export type { BlockSizes };

/** Settings of `verifyParallel`. */
export interface VerifyParallelOptions {
  /** Organisation that the export must be of, lower-case UUID. Default: the one it names. */
  readonly org?: string;
  /** Head, or heads, that somebody kept: finds a chain that was cut or rewritten as a whole, and vouches for a later beginning. */
  readonly expectedHead?: ChainHead | readonly ChainHead[];
  /** Number of threads, the calling one among them. Default 2. */
  readonly threads?: number;
}

/** A block has a thousand links, so that handing over costs nothing, and memory stays small. */
const SIZES: BlockSizes = { aloneBytes: 48 << 20, blockBytes: 1 << 20 };

/**
 * Verifies an export as `verifyExport` does, with the same report; of one longer than 48 MiB other threads verify parts.
 * Memory is flat: about 4 MiB per thread besides the threads themselves. An error of the stream itself passes through.
 *
 * @throws RangeError when `threads` is not a whole number from 1 to 64.
 * @example
 * ```ts
 * const report = await verifyParallel(createReadStream('audit.ndjson'), { expectedHead: keptLastMonth });
 * ```
 */
export function verifyParallel(
  stream: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: VerifyParallelOptions = {},
): Promise<ExportReport> {
  return verifyInBlocks(stream, options, SIZES);
}

/** Verifies with other sizes. */
export async function verifyInBlocks(
  stream: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: VerifyParallelOptions,
  sizes: BlockSizes,
): Promise<ExportReport> {
  const { threads = 2, ...rest } = options;
  if (!Number.isInteger(threads) || threads < 1 || threads > 64) {
    throw new RangeError('threads must be a whole number from 1 to 64');
  }
  const join = new BlockJoin(new ExportWalk({ ...rest, sha256: nodeSha256 }), threads, sizes);
  try {
    for await (const chunk of stream) await join.push(chunk);
    return await join.finish();
  } finally {
    await join.close();
  }
}
