/**
 * Verifies an export in blocks of whole lines, each from the head that the line before it claims, on other threads and on this
 * one. The blocks are joined in order, where each must begin with what the one before it came to. Invariant: the report is
 * that of one walk. The first block in which anything is to be found, and all behind it, are walked one link after the other,
 * because what was done to a log is told by neighbours.
 */
import { nodeSha256 } from '../node-sha256.ts';
import { verifyBlock } from '../verify/block.ts';
import { readTail } from '../verify/export-line.ts';
import type { ExportWalk } from '../verify/export-walk.ts';
import type { ChainHead, ExportReport } from '../verify/index.ts';
import { BlockCutter } from './block-cutter.ts';
import { BlockPool, type VerifiedBlock } from './block-pool.ts';

/** When other threads are worth their while. */
export interface BlockSizes {
  /** Bytes that are walked before any thread is started. */
  readonly aloneBytes: number;
  /** Bytes of a block, at most. */
  readonly blockBytes: number;
  /** Whether to wait until the threads are ready, instead of walking on. */
  readonly waits?: boolean;
}

/** Blocks that were cut and not joined, for each thread. */
const MOST_UNDER_WAY = 4;

interface UnderWay {
  readonly from: ChainHead;
  readonly block: Promise<VerifiedBlock>;
  /** Set once it is there. */
  done?: VerifiedBlock;
}

/** One export on several threads. */
export class BlockJoin {
  readonly #walk: ExportWalk;
  readonly #pool = new BlockPool();
  readonly #cutter: BlockCutter;
  readonly #threads: number;
  readonly #sizes: BlockSizes;
  readonly #underWay: UnderWay[] = [];
  /** How bytes are taken: by the walk alone, by the walk in whole lines until the threads are ready, in blocks. */
  #phase: 'alone' | 'starting' | 'blocks' = 'alone';
  #alone = 0;
  #started: Promise<void> | undefined;
  /** Head that the last line handed over claims. */
  #claimed: ChainHead | undefined;
  /** Once true, there is only the walk. */
  #oneByOne: boolean;

  constructor(walk: ExportWalk, threads: number, sizes: BlockSizes) {
    this.#walk = walk;
    this.#threads = threads;
    this.#sizes = sizes;
    this.#cutter = new BlockCutter(sizes.blockBytes);
    this.#oneByOne = threads === 1;
  }

  /** Takes the next bytes. */
  async push(chunk: unknown): Promise<void> {
    if (!(chunk instanceof Uint8Array)) await this.#goOneByOne();
    if (this.#oneByOne || this.#phase === 'alone') {
      this.#walk.push(chunk);
      if (!this.#oneByOne) this.#count((chunk as Uint8Array).length);
      return;
    }
    let rest = chunk as Uint8Array;
    while (rest.length > 0) {
      if (this.#oneByOne) {
        this.#walk.push(rest);
        return;
      }
      rest = rest.subarray(this.#cutter.take(rest));
      if (this.#cutter.isFull) await this.#cut();
    }
  }

  /** Ends the verification. */
  async finish(): Promise<ExportReport> {
    await this.#goOneByOne();
    return this.#walk.finish();
  }

  /** Ends the threads. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  #count(length: number): void {
    this.#alone += length;
    if (this.#alone < this.#sizes.aloneBytes) return;
    this.#phase = 'starting';
    this.#started = this.#pool.start(this.#threads - 1);
  }

  /** Verifies the whole lines that are there, here or elsewhere. */
  async #cut(): Promise<void> {
    const lines = this.#cutter.cut();
    if (lines === undefined) {
      await this.#goOneByOne();
      return;
    }
    if (this.#phase === 'starting') await this.#whileStarting(lines);
    else await this.#asBlock(lines);
    if (!this.#oneByOne) await aTurn();
  }

  /** The walk goes on until the threads are ready; it must then be sound and stand between two lines. */
  async #whileStarting(lines: Uint8Array): Promise<void> {
    this.#walk.push(lines);
    this.#cutter.reuse(lines);
    if (this.#sizes.waits === true) await this.#started;
    if (!this.#pool.isReady) return;
    this.#phase = 'blocks';
    this.#claimed = this.#walk.soundHead;
    if (this.#claimed === undefined) await this.#goOneByOne();
  }

  async #asBlock(bytes: Uint8Array): Promise<void> {
    const from = this.#claimed;
    const to = readTail(bytes);
    if (from === undefined || to === undefined) {
      await this.#joinAll();
      this.#oneByOne = true;
      this.#walk.push(bytes);
      await this.#goOneByOne();
      return;
    }
    const block = { org: this.#walk.org, from, kept: this.#walk.keptBetween(from.seq, to.seq), bytes };
    const asked = this.#pool.verify(block);
    if (asked === undefined) {
      const done = { end: verifyBlock(block, nodeSha256), bytes };
      this.#underWay.push({ from, block: Promise.resolve(done), done });
    } else {
      const one: UnderWay = { from, block: asked };
      this.#underWay.push(one);
      asked.then(
        (done) => {
          one.done = done;
        },
        () => {}, // met when its turn comes
      );
    }
    this.#claimed = to;
    while (this.#underWay[0]?.done !== undefined) await this.#joinNext();
    while (this.#underWay.length >= this.#threads * MOST_UNDER_WAY) await this.#joinNext();
    if (this.#oneByOne) await this.#goOneByOne();
  }

  async #joinNext(): Promise<void> {
    const next = this.#underWay.shift();
    if (next === undefined) return;
    const { end, bytes } = await next.block;
    if (!this.#oneByOne && end !== undefined && this.#walk.continuesAt(next.from)) this.#walk.accept(end);
    else {
      this.#oneByOne = true;
      this.#walk.push(bytes);
    }
    this.#cutter.reuse(bytes);
  }

  async #joinAll(): Promise<void> {
    while (this.#underWay.length > 0) await this.#joinNext();
  }

  /** Joins what is under way; from here on there is only the walk. */
  async #goOneByOne(): Promise<void> {
    await this.#joinAll();
    this.#oneByOne = true;
    this.#walk.push(this.#cutter.rest());
  }
}

/** Lets messages of the threads, and the stream, have their turn. */
function aTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
