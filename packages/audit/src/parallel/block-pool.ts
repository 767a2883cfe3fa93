/**
 * A few threads that verify blocks. Invariant: a block comes back with its bytes whatever its verdict, and a thread that
 * dies rejects what it was asked, or the next call.
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
  /** Resolves when it listens, or is dead. */
  readonly ready: Promise<void>;
}

/** From source the worker is a file of its own folder, in a build a file beside every chunk. */
const WORKER = new URL(
  import.meta.url.endsWith('.ts') ? './block-worker.ts' : './verify-worker.js',
  import.meta.url,
);
/** Blocks that a thread has at most: one to verify, one so that it need not wait for the next. */
const MOST_WAITING = 2;

/** Threads that verify blocks. */
export class BlockPool {
  readonly #threads: Thread[] = [];
  #isReady = false;
  #failure: { readonly error: unknown } | undefined;

  /** Starts so many threads, and resolves when all are ready, or one is dead. */
  async start(threads: number): Promise<void> {
    for (let count = 0; count < threads; count++) this.#threads.push(this.#startOne());
    await Promise.all(this.#threads.map(({ ready }) => ready));
    this.#isReady = true;
  }

  /** Whether all threads are ready. */
  get isReady(): boolean {
    if (this.#failure !== undefined) throw this.#failure.error;
    return this.#isReady;
  }

  /** Verifies a block on a thread, to which its bytes are handed over; undefined, and nothing is, when all have enough to do. */
  verify(block: Block): Promise<VerifiedBlock> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    const idle = this.#threads.filter(({ waiting }) => waiting.length < MOST_WAITING);
    const [thread] = idle.toSorted((a, b) => a.waiting.length - b.waiting.length);
    if (thread === undefined) return undefined;
    return new Promise((resolve, reject) => {
      thread.waiting.push({ resolve, reject });
      thread.worker.postMessage(block, [block.bytes.buffer as ArrayBuffer]);
    });
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #startOne(): Thread {
    const worker = new Worker(WORKER);
    const waiting: Thread['waiting'] = [];
    const ready = new Promise<void>((resolve) => {
      worker.on('message', (message: VerifiedBlock | 'ready') => {
        if (message === 'ready') resolve();
        else waiting.shift()?.resolve(message);
      });
      const fail = (error: unknown) => {
        this.#failure ??= { error };
        resolve();
        for (const { reject } of waiting.splice(0)) reject(error);
      };
      worker.on('error', fail);
      worker.on('exit', () => fail(new Error('a thread of the verification ended before its answer')));
    });
    return { worker, waiting, ready };
  }
}
