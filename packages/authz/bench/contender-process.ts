/**
 * Measures contenders in a process of their own, in alternating slices of CPU time. Ours and the limit share one
 * process, so that noise hits both alike; each peer has its own, so that no library's objects slow down another's calls.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { median } from '../../../tools/bench/suite.ts';
import { contender } from './contenders.ts';

/** CPU time of one slice, ms. */
const SLICE_MS = 25;
/** Slices of each contender. */
const SLICES = 16;
/** CPU time before the first slice, ms. */
const WARM_UP_MS = 1_000;

/** Turns per CPU second within a slice. */
function slice(turn: () => number, ms: number): number {
  const start = process.cpuUsage();
  let count = 0;
  for (;;) {
    count += turn();
    const { user, system } = process.cpuUsage(start);
    if (user + system >= ms * 1_000) return (count / (user + system)) * 1e6;
  }
}

async function measure(names: readonly string[]): Promise<number[]> {
  const turns = await Promise.all(names.map(contender));
  const rates = turns.map((): number[] => []);
  for (const turn of turns) slice(turn, WARM_UP_MS);
  for (let round = 0; round < SLICES; round++) {
    for (const [index, turn] of turns.entries()) rates[index]?.push(slice(turn, SLICE_MS));
  }
  return rates.map(median);
}

/** Median rates of the named contenders, measured together in one child process. */
export function inOneProcess(names: readonly string[]): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(names)], {
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
  const rates = await measure(JSON.parse(process.argv[2] ?? '') as string[]);
  if (process.send === undefined) console.log(rates.map(Math.round));
  else process.send(rates);
  process.disconnect?.();
}
