/**
 * The suite `crypto`: fields and documents per CPU second against raw node AES-256-GCM (the limit) and the peers; a row
 * of ten fields against ten seals; a 1 GiB stream against node's own; KMS calls for 1000 openers of one cold organisation.
 */
import { randomBytes } from 'node:crypto';
import type { BenchCase, Subject, Suite } from '../../../tools/bench/suite.ts';
import { createKeyring, type KmsProvider, parseOrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { memoryKeyStore } from '../src/testing/index.ts';
import { benchKeys, rawGcm } from './field.ts';
import { type Contender, peers } from './peers.ts';
import { rewrapCases } from './rewrap.ts';
import { type StreamSample, streamInChild } from './stream.ts';

/** CPU time of one slice, ms. */
const SLICE_MS = 150;
const LIMIT = 'node-gcm';
const cell = { table: 'invoice', column: 'memo', row: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7000' };

/** Operations per CPU second. The loop awaits only what is a promise, so that synchronous contenders pay for none. */
async function rate(run: () => unknown): Promise<number> {
  const start = process.cpuUsage();
  let count = 0;
  for (;;) {
    for (let i = 0; i < 50; i++) {
      const result = run();
      if (result instanceof Promise) await result;
    }
    count += 50;
    const { user, system } = process.cpuUsage(start);
    if (user + system >= SLICE_MS * 1000) return (count / (user + system)) * 1e6;
  }
}

async function contenders(): Promise<Contender[]> {
  const keys = await benchKeys();
  const ours: Contender = {
    name: 'ringfence',
    seal: (plaintext) => keys.seal(cell, plaintext),
    open: (message) => keys.open(cell, message as Uint8Array),
  };
  const raw = rawGcm();
  const limit: Contender = {
    name: LIMIT,
    seal: (plaintext) => raw.seal(plaintext),
    open: (message) => raw.open(message as Uint8Array),
  };
  return [limit, ours, ...(await peers())];
}

const noClose = async (): Promise<void> => {};

function message(id: string, operation: 'seal' | 'open', bytes: number): BenchCase {
  return {
    id,
    unit: 'ops/CPU-s',
    limit: LIMIT,
    rounds: 9,
    prepare: async () => {
      const plaintext = new Uint8Array(randomBytes(bytes));
      const subjects: Subject[] = [];
      for (const { name, seal, open } of await contenders()) {
        const sealed = await seal(plaintext);
        const run = operation === 'seal' ? () => seal(plaintext) : () => open(sealed);
        subjects.push({ name, measure: () => rate(run) });
      }
      return { subjects, close: noClose };
    },
  };
}

const rowOfTen: BenchCase = {
  id: 'row10-seal',
  unit: 'rows/CPU-s',
  rounds: 9,
  prepare: async () => {
    const keys = await benchKeys();
    const fields = Object.fromEntries(
      Array.from({ length: 10 }, (_, i) => [`column_${i}`, randomBytes(16).toString('hex')]),
    );
    const singles = Object.entries(fields).map(([column, text]) => ({
      cell: { ...cell, column },
      bytes: new Uint8Array(Buffer.from(text)),
    }));
    const ours = () => keys.sealRow({ table: cell.table, row: cell.row }, fields);
    const ten = () => {
      for (const single of singles) keys.seal(single.cell, single.bytes);
    };
    return {
      subjects: [
        { name: 'ringfence', measure: () => rate(ours) },
        { name: 'ten-single-seals', measure: () => rate(ten) },
      ],
      close: noClose,
    };
  },
};

const bytesAdded: BenchCase = {
  id: 'bytes-added',
  unit: 'bytes',
  rounds: 1,
  prepare: async () => {
    const plaintext = new Uint8Array(randomBytes(32));
    const subjects: Subject[] = [];
    for (const { name, seal } of await contenders()) {
      if (name !== 'ringfence' && name !== 'aws-esdk-cached' && name !== LIMIT) continue;
      const sealed = (await seal(plaintext)) as Uint8Array;
      subjects.push({ name, measure: async () => sealed.length - plaintext.length });
    }
    return { subjects, close: noClose };
  },
};

/** Streams of 1 GiB: the limit is node's own stream of the same kind. */
function stream(id: string, unit: string, pick: (sample: StreamSample) => number, suffix = ''): BenchCase {
  const subject = (name: string, run: string): Subject => ({
    name,
    measure: async () => pick(await streamInChild(run + suffix)),
  });
  return {
    id,
    unit,
    limit: LIMIT,
    rounds: 5,
    prepare: async () => ({
      subjects: [subject(LIMIT, 'node-gcm'), subject('ringfence', 'ringfence')],
      close: noClose,
    }),
  };
}

const coldOrg: BenchCase = {
  id: 'cold-org-1000',
  unit: 'KMS calls',
  rounds: 5,
  prepare: async () => ({
    subjects: [{ name: 'ringfence', measure: () => callsOfAThousandOpeners() }],
    close: noClose,
  }),
};

async function callsOfAThousandOpeners(): Promise<number> {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
  const kms = localKms({ keks: { bench: randomBytes(32) } });
  let calls = 0;
  const counting: KmsProvider = {
    scheme: kms.scheme,
    wrap: (...args) => kms.wrap(...args),
    unwrap: (...args) => {
      calls++;
      return kms.unwrap(...args);
    },
    describe: (...args) => kms.describe(...args),
  };
  const store = memoryKeyStore();
  const options = { app: 'bench', store, kekFor: () => 'local:bench' };
  const first = createKeyring({ ...options, kms: [kms] });
  await first.createOrg(org);
  const sealed = (await first.org(org)).seal(cell, new Uint8Array(32));
  const cold = createKeyring({ ...options, kms: [counting] });
  await Promise.all(Array.from({ length: 1000 }, async () => (await cold.org(org)).open(cell, sealed)));
  return calls;
}

/** The suite. */
export const suite: Suite = {
  name: 'crypto',
  cases: [
    message('field-seal-32', 'seal', 32),
    message('field-open-32', 'open', 32),
    message('field-seal-256', 'seal', 256),
    message('field-open-256', 'open', 256),
    message('doc-seal-4k', 'seal', 4096),
    message('doc-open-4k', 'open', 4096),
    rowOfTen,
    bytesAdded,
    coldOrg,
    ...rewrapCases,
    stream('stream-seal-1g', 'MiB/CPU-s', (sample) => sample.mibPerCpuSecond),
    stream('stream-seal-1g-web', 'MiB/CPU-s', (sample) => sample.mibPerCpuSecond, '-web'),
    stream('stream-growth-1g', 'MiB RSS', (sample) => sample.growthMib),
  ],
};
