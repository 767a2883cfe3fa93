/**
 * A few threads that verify blocks. Invariant: a block comes back with its bytes whatever its verdict, and a thread that
 * dies rejects what it was asked.
 */
import { Worker } from 'node:worker_threads';
import type { Block, BlockEnd } from '../verify/block.ts';

/** A block that was verified. */
export interface VerifiedBlock {
  /** Its end; undefined when there is something to be found in it. */
  readonly end: BlockEnd | undefined;
  /** Its lines. */
  readonly bytes: Uint8Array;
}

interface Thread {
  readonly worker: Worker;
  /** What was asked, the oldest first: a thread answers in order. */
  readonly waiting: { resolve(block: VerifiedBlock): void; reject(error: unknown): void }[];
}

/** From source the worker is a file of its own folder, in a build a file beside every chunk. */
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? './block-worker.ts' : './verify-worker.js',
  import.meta.url,
);

/** Threads that verify blocks. */
export class BlockPool {
  readonly #threads: Thread[] = [];
  readonly #most: number;
  #next = 0;

  /** Each thread starts with its first block: a short export needs none. */
  constructor(threads: number) {
    this.#most = threads;
  }

  /** Verifies a block; its bytes are handed over. */
  verify(block: Block): Promise<VerifiedBlock> {
    const thread = this.#threads[this.#next] ?? start();
    this.#threads[this.#next] = thread;
    this.#next = (this.#next + 1) % this.#most;
    return new Promise((resolve, reject) => {
      thread.waiting.push({ resolve, reject });
      thread.worker.postMessage(block, [block.bytes.buffer as ArrayBuffer]);
    });
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }
}

function start(): Thread {
  const worker = new Worker(WORKER);
  const waiting: Thread['waiting'] = [];
  worker.on('message', (block: VerifiedBlock) => waiting.shift()?.resolve(block));
  const fail = (error: unknown) => {
    for (const { reject } of waiting.splice(0)) reject(error);
  };
  worker.on('error', fail);
  worker.on('exit', () => fail(new Error('a thread of the verification ended before its answer')));
  return { worker, waiting };
}
