/**
 * Streams 1 GiB through one subject, each run in a child process of its own. The limit is node's own AES-256-GCM stream
 * under one tag: it does the same encryption, but its output cannot be decrypted safely in bounded memory.
 */
import { fork } from 'node:child_process';
import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { Readable, type Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { TransformStream } from 'node:stream/web';
import { fileURLToPath } from 'node:url';
import {
  decryptTransform,
  encryptStream,
  encryptTransform,
  type FileCell,
  type FileKeySource,
} from '../src/files/index.ts';
import { parseOrgId } from '../src/org-id.ts';

/** What one run of a subject took. */
export interface StreamSample {
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

async function measure(subject: string): Promise<StreamSample> {
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

/** Streams 1 GiB through a subject in a child process of its own. */
export function streamInChild(subject: string): Promise<StreamSample> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ['--measure', subject], {
      execArgv: ['--conditions=@ringfence/source', '--disable-warning=ExperimentalWarning'],
    });
    child.once('message', (sample) => resolve(sample as StreamSample));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`measuring ${subject} ended with exit code ${code}`)));
  });
}

// `import.meta.main` is younger than Node 22.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.send?.(await measure(process.argv[3] ?? ''));
  process.disconnect?.();
}
