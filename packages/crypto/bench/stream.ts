/**
 * Streams 1 GiB and compares CPU time with node's own AES-256-GCM stream under one tag, which is the limit: it does the
 * same encryption, but its output cannot be decrypted safely in bounded memory. Each measurement is one child process;
 * subjects alternate round by round; values are medians, ratios are medians of the ratios within a round.
 *
 *     node --conditions=@ringfence/source packages/crypto/bench/stream.ts [--rounds 5] [--json FILE]
 */
import { fork } from 'node:child_process';
import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { Readable, type Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { TransformStream } from 'node:stream/web';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  decryptTransform,
  encryptStream,
  encryptTransform,
  type FileCell,
  type FileKeySource,
} from '../src/files/index.ts';
import { parseOrgId } from '../src/org-id.ts';

/** One subject's figure in one case. */
export interface StreamBenchRow {
  /** Always `crypto`. */
  readonly suite: string;
  /** Case id. */
  readonly case: string;
  /** Who was measured. */
  readonly subject: string;
  /** Median. */
  readonly value: number;
  /** Unit of the value. */
  readonly unit: string;
  /** Ours over the limit, median of the rounds; on our rows only. */
  readonly ratioToLimit?: number;
  /** Number of rounds. */
  readonly rounds: number;
}

interface Sample {
  readonly mibPerCpuSecond: number;
  readonly growthMib: number;
}

const TOTAL_BYTES = 2 ** 30;
const PIECE_BYTES = 65_536;
const MIB = 2 ** 20;
const cell: FileCell = { table: 'drawings', column: 'content', row: '1' };
const fixedKey = new Uint8Array(32).fill(7);
const keys: FileKeySource = {
  org: parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60'),
  activeKeyId: new Uint8Array(16),
  withFileKey: (_keyId, use) => use(fixedKey),
};

function repeat(piece: Uint8Array): Readable {
  let left = TOTAL_BYTES;
  return new Readable({
    highWaterMark: PIECE_BYTES,
    read() {
      if (left > 0) this.push(piece);
      else this.push(null);
      left -= piece.length;
    },
  });
}

function sink(): Writable {
  return new Writable({ highWaterMark: PIECE_BYTES, write: (_part, _encoding, done) => done() });
}

function oneTag(): Transform {
  return createCipheriv('aes-256-gcm', createSecretKey(randomBytes(32)), randomBytes(12), {
    authTagLength: 16,
  });
}

const piece: Uint8Array = new Uint8Array(randomBytes(PIECE_BYTES));

const subjects: Readonly<Record<string, () => Promise<void>>> = {
  'node-gcm': () => pipeline(repeat(piece), oneTag(), sink()),
  ringfence: () => pipeline(repeat(piece), encryptTransform(keys, cell), sink()),
  'ringfence-web': () =>
    Readable.toWeb(repeat(piece))
      .pipeThrough(encryptStream(keys, cell) as unknown as TransformStream<unknown, Uint8Array>)
      .pipeTo(Writable.toWeb(sink())),
  'node-gcm-web': () =>
    Readable.toWeb(repeat(piece))
      .pipeThrough(oneTagWeb() as unknown as TransformStream<unknown, Uint8Array>)
      .pipeTo(Writable.toWeb(sink())),
  'ringfence-roundtrip': () =>
    pipeline(repeat(piece), encryptTransform(keys, cell), decryptTransform(keys, cell), sink()),
};

function oneTagWeb(): TransformStream<Uint8Array, Uint8Array> {
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(randomBytes(32)), randomBytes(12));
  return new TransformStream<Uint8Array, Uint8Array>({
    transform: (part, controller) => controller.enqueue(cipher.update(part)),
  });
}

async function measure(subject: string): Promise<Sample> {
  const run = subjects[subject];
  if (run === undefined) throw new TypeError(`no subject ${subject}`);
  const rss = process.memoryUsage.rss();
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return {
    mibPerCpuSecond: TOTAL_BYTES / MIB / ((user + system) / 1e6),
    growthMib: (process.resourceUsage().maxRSS * 1024 - rss) / MIB,
  };
}

function inChild(subject: string): Promise<Sample> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ['--measure', subject], {
      execArgv: ['--conditions=@ringfence/source', '--disable-warning=ExperimentalWarning'],
    });
    child.once('message', (sample) => resolve(sample as Sample));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`measuring ${subject} ended with exit code ${code}`)));
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** Measures every subject `rounds` times, alternating, and returns its rows. */
export async function benchStreams(rounds = 5): Promise<StreamBenchRow[]> {
  const samples = new Map<string, Sample[]>(Object.keys(subjects).map((subject) => [subject, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [subject, list] of samples) list.push(await inChild(subject));
  }
  const rate = (subject: string): number[] =>
    (samples.get(subject) ?? []).map((each) => each.mibPerCpuSecond);
  const growth = (subject: string): number[] => (samples.get(subject) ?? []).map((each) => each.growthMib);
  const row = (
    id: string,
    subject: string,
    unit: string,
    values: number[],
    limit?: number[],
  ): StreamBenchRow => ({
    suite: 'crypto',
    case: id,
    subject,
    value: Number(median(values).toFixed(1)),
    unit,
    ...(limit && {
      ratioToLimit: Number(median(values.map((value, at) => value / (limit[at] ?? 0))).toFixed(3)),
    }),
    rounds,
  });
  const speed = 'MiB/CPU-s';
  return [
    row('stream-seal-1g', 'node-gcm', speed, rate('node-gcm')),
    row('stream-seal-1g', 'ringfence', speed, rate('ringfence'), rate('node-gcm')),
    row('stream-seal-1g-web', 'node-gcm', speed, rate('node-gcm-web')),
    row('stream-seal-1g-web', 'ringfence', speed, rate('ringfence-web'), rate('node-gcm-web')),
    row('stream-roundtrip-1g', 'ringfence', speed, rate('ringfence-roundtrip')),
    row('stream-growth-1g', 'node-gcm', 'MiB RSS', growth('node-gcm')),
    row('stream-growth-1g', 'ringfence', 'MiB RSS', growth('ringfence')),
    row('stream-growth-1g-roundtrip', 'ringfence', 'MiB RSS', growth('ringfence-roundtrip')),
    row('stream-growth-1g-web', 'ringfence', 'MiB RSS', growth('ringfence-web')),
  ];
}

async function main(): Promise<void> {
  const options = {
    measure: { type: 'string' },
    rounds: { type: 'string' },
    json: { type: 'string' },
  } as const;
  const { values } = parseArgs({ options });
  if (values.measure !== undefined) {
    const sample = await measure(values.measure);
    process.send?.(sample);
    process.disconnect?.();
    return;
  }
  const rows = await benchStreams(Number(values.rounds ?? 5));
  for (const each of rows) {
    const ratio = each.ratioToLimit === undefined ? '' : `  ${each.ratioToLimit} of the limit`;
    process.stdout.write(
      `${each.case.padEnd(28)}${each.subject.padEnd(12)}${each.value} ${each.unit}${ratio}\n`,
    );
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
}

// `import.meta.main` is younger than Node 22.
if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
