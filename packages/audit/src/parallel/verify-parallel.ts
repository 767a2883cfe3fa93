/**
 * Verifies an export on several threads (Node). The bytes are cut into blocks of whole lines, and each is verified from the
 * head that the line before it claims; the blocks are joined in order, where each must begin with what the one before it
 * came to. Invariant: the report is that of `verifyExport`. The first block in which anything is to be found, and all behind
 * it, are walked one link after the other, because what was done to a log is told by neighbours.
 */
import { nodeSha256 } from '../node-sha256.ts';
import { readTail } from '../verify/export-line.ts';
import { ExportWalk } from '../verify/export-walk.ts';
import type { ChainHead, ExportReport } from '../verify/index.ts';
import { BlockPool, type VerifiedBlock } from './block-pool.ts';

/** Settings of `verifyParallel`. */
export interface VerifyParallelOptions {
  /** Organisation that the export must be of, lower-case UUID. Default: the one it names. */
  readonly org?: string;
  /** Head, or heads, that somebody kept: finds a chain that was cut or rewritten as a whole, and vouches for a later beginning. */
  readonly expectedHead?: ChainHead | readonly ChainHead[];
  /** Number of threads. Default 2. */
  readonly threads?: number;
}

const LF = 0x0a;
/** Bytes of a block: a thousand links, so that handing over costs nothing, and memory stays small. */
const BLOCK_BYTES = 1 << 20;
/** Blocks that are under way, per thread. */
const AHEAD = 2;

/**
 * Verifies an export as `verifyExport` does, with the same report, on several threads. Memory is flat: about 4 MiB per thread
 * besides the threads themselves. An error of the stream itself passes through.
 *
 * @throws RangeError when `threads` is not a whole number from 1 to 64.
 * @example
 * ```ts
 * const report = await verifyParallel(createReadStream('audit.ndjson'), { expectedHead: keptLastMonth });
 * ```
 */
export async function verifyParallel(
  stream: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: VerifyParallelOptions = {},
): Promise<ExportReport> {
  const { threads = 2, ...rest } = options;
  if (!Number.isInteger(threads) || threads < 1 || threads > 64) {
    throw new RangeError('threads must be a whole number from 1 to 64');
  }
  const join = new BlockJoin(
    new ExportWalk({ ...rest, sha256: nodeSha256 }),
    new BlockPool(threads),
    threads,
  );
  try {
    for await (const chunk of stream) await join.push(chunk);
    return await join.finish();
  } finally {
    await join.close();
  }
}

class BlockJoin {
  readonly #walk: ExportWalk;
  readonly #pool: BlockPool;
  readonly #most: number;
  readonly #underWay: { readonly from: ChainHead; readonly block: Promise<VerifiedBlock> }[] = [];
  #pieces: Uint8Array[] = [];
  #length = 0;
  /** Head that the last line handed over claims; undefined until the walk has read the beginning. */
  #claimed: ChainHead | undefined;
  #oneByOne = false;

  constructor(walk: ExportWalk, pool: BlockPool, threads: number) {
    this.#walk = walk;
    this.#pool = pool;
    this.#most = threads * AHEAD;
  }

  async push(chunk: unknown): Promise<void> {
    if (!(chunk instanceof Uint8Array)) await this.#goOneByOne();
    if (this.#oneByOne) {
      this.#walk.push(chunk);
      return;
    }
    // A stream may use the memory of a chunk again.
    this.#pieces.push((chunk as Uint8Array).slice());
    this.#length += (chunk as Uint8Array).length;
    if (this.#length >= BLOCK_BYTES) await this.#cut();
  }

  async finish(): Promise<ExportReport> {
    await this.#goOneByOne();
    return this.#walk.finish();
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  /** Hands over the whole lines that are there. */
  async #cut(): Promise<void> {
    const bytes = joined(this.#pieces, this.#length);
    const end = bytes.lastIndexOf(LF) + 1;
    const lines = bytes.slice(0, end);
    const from = this.#claimed;
    if (from === undefined) {
      // Header, notes and the first links are for the walk.
      this.#keep([bytes.subarray(end)]);
      this.#walk.push(lines);
      this.#claimed = this.#walk.soundHead;
      if (this.#claimed === undefined) await this.#goOneByOne();
      return;
    }
    const to = readTail(lines);
    if (to === undefined) {
      this.#keep([bytes]);
      await this.#goOneByOne();
      return;
    }
    this.#keep([bytes.slice(end)]);
    const kept = this.#walk.keptBetween(from.seq, to.seq);
    const block = this.#pool.verify({ org: this.#walk.org, from, kept, bytes: lines });
    block.catch(() => {}); // met when its turn comes
    this.#underWay.push({ from, block });
    this.#claimed = to;
    if (this.#underWay.length >= this.#most) await this.#joinNext();
    if (this.#oneByOne) await this.#goOneByOne();
  }

  #keep(pieces: Uint8Array[]): void {
    this.#pieces = pieces;
    this.#length = pieces.reduce((length, piece) => length + piece.length, 0);
  }

  async #joinNext(): Promise<void> {
    const next = this.#underWay.shift();
    if (next === undefined) return;
    const { end, bytes } = await next.block;
    if (!this.#oneByOne && end !== undefined && this.#walk.continuesAt(next.from)) {
      this.#walk.accept(end);
      return;
    }
    this.#oneByOne = true;
    this.#walk.push(bytes);
  }

  /** Joins what is under way; from here on there is only the walk. */
  async #goOneByOne(): Promise<void> {
    while (this.#underWay.length > 0) await this.#joinNext();
    this.#oneByOne = true;
    for (const piece of this.#pieces.splice(0)) this.#walk.push(piece);
    this.#length = 0;
  }
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
