/**
 * Measures contenders in a process of their own, in alternating slices of CPU time. Ours and the limit share one process,
 * so that noise hits both alike; each peer has its own, so that no library's objects slow down another's calls.
 */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { median } from '../../../tools/bench/suite.ts';
import { benchKeys, LIMIT, rawGcm } from './field.ts';
import { type Contender, peer } from './peers.ts';

/** CPU time of one slice, ms. */
const SLICE_MS = 25;
/** Slices of each contender. */
const SLICES = 16;
/** CPU time before the first slice, ms: with 150 the compiler was still at work on contenders of more code than a call. */
const WARM_UP_MS = 1000;

/** What is measured. */
export interface MessageCase {
  readonly operation: 'seal' | 'open';
  readonly bytes: number;
}

const cell = { table: 'invoice', column: 'memo', row: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7000' };

async function contender(name: string): Promise<Contender> {
  if (name === LIMIT) {
    const raw = rawGcm();
    return { name, seal: (plain) => raw.seal(plain), open: (sealed) => raw.open(sealed as Uint8Array) };
  }
  if (name !== 'ringfence') return await peer(name);
  const keys = await benchKeys();
  return {
    name,
    seal: (plain) => keys.seal(cell, plain),
    open: (sealed) => keys.open(cell, sealed as Uint8Array),
  };
}

/** Operations per CPU second within a slice. A synchronous contender pays for no promise. */
async function slice(run: () => unknown, ms: number): Promise<number> {
  const start = process.cpuUsage();
  let count = 0;
  for (;;) {
    for (let i = 0; i < 50; i++) {
      const result = run();
      if (result instanceof Promise) await result;
    }
    count += 50;
    const { user, system } = process.cpuUsage(start);
    if (user + system >= ms * 1000) return (count / (user + system)) * 1e6;
  }
}

async function measure(names: readonly string[], { operation, bytes }: MessageCase): Promise<number[]> {
  const plaintext = new Uint8Array(randomBytes(bytes));
  const runs: (() => unknown)[] = [];
  for (const { seal, open } of await Promise.all(names.map(contender))) {
    const sealed = await seal(plaintext);
    runs.push(operation === 'seal' ? () => seal(plaintext) : () => open(sealed));
  }
  const rates = runs.map((): number[] => []);
  for (const run of runs) await slice(run, WARM_UP_MS);
  for (let turn = 0; turn < SLICES; turn++) {
    for (const [index, run] of runs.entries()) rates[index]?.push(await slice(run, SLICE_MS));
  }
  return rates.map(median);
}

/** Median rates of the named contenders, measured together in one child process. */
export function inOneProcess(names: readonly string[], what: MessageCase): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [JSON.stringify({ names, what })], {
      execArgv: ['--conditions=@ringfence/source', '--disable-warning=ExperimentalWarning'],
    });
    child.once('message', (rates) => resolve(rates as number[]));
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(new Error(`measuring ${names.join(', ')} ended with exit code ${code}`)),
    );
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { names, what } = JSON.parse(process.argv[2] ?? '') as { names: string[]; what: MessageCase };
  process.send?.(await measure(names, what));
  process.disconnect?.();
}
