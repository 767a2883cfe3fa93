/**
 * The suite `crypto`: fields and documents per CPU second against raw node AES-256-GCM (the limit) and the peers; a row
 * of ten fields against ten seals; a 1 GiB stream against node's own; KMS calls for 1000 openers of one cold organisation.
 */
import { randomBytes } from 'node:crypto';
import type { BenchCase, Subject, Suite } from '../../../tools/bench/suite.ts';
import { createKeyring, type KmsProvider, parseOrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { memoryKeyStore } from '../src/testing/index.ts';
import { inOneProcess, type MessageCase } from './contender-process.ts';
import { benchKeys, LIMIT } from './field.ts';
import { peer, peerNames } from './peers.ts';
import { rewrapCases } from './rewrap.ts';
import { type StreamSample, streamInChild } from './stream.ts';

/** CPU time of one slice, ms. */
const SLICE_MS = 150;
const cell = { table: 'invoice', column: 'memo', row: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7000' };

/** Operations per CPU second. */
async function rate(run: () => unknown): Promise<number> {
  const start = process.cpuUsage();
  let count = 0;
  for (;;) {
    for (let i = 0; i < 50; i++) run();
    count += 50;
    const { user, system } = process.cpuUsage(start);
    if (user + system >= SLICE_MS * 1000) return (count / (user + system)) * 1e6;
  }
}

const noClose = async (): Promise<void> => {};

/** Ours and the limit come out of one child process: who asks first starts it, the other takes its share. */
function pair(what: MessageCase): Subject[] {
  const names = [LIMIT, 'ringfence'];
  const waiting = new Map<string, number>();
  return names.map((name) => ({
    name,
    measure: async () => {
      if (!waiting.has(name)) {
        const rates = await inOneProcess(names, what);
        for (const [index, each] of names.entries()) waiting.set(each, rates[index] ?? Number.NaN);
      }
      const value = waiting.get(name) ?? Number.NaN;
      waiting.delete(name);
      return value;
    },
  }));
}

function message(id: string, operation: MessageCase['operation'], bytes: number): BenchCase {
  const what: MessageCase = { operation, bytes };
  const alone = (name: string): Subject => ({
    name,
    measure: async () => (await inOneProcess([name], what))[0] ?? Number.NaN,
  });
  return {
    id,
    unit: 'ops/CPU-s',
    limit: LIMIT,
    rounds: 5,
    prepare: async () => ({ subjects: [...pair(what), ...peerNames.map(alone)], close: noClose }),
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
    const ours = (await benchKeys()).seal(cell, plaintext);
    const esdk = (await (await peer('aws-esdk-cached')).seal(plaintext)) as Uint8Array;
    const added = (name: string, sealed: Uint8Array): Subject => ({
      name,
      measure: async () => sealed.length - plaintext.length,
    });
    return { subjects: [added('ringfence', ours), added('aws-esdk-cached', esdk)], close: noClose };
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
