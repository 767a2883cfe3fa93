/**
 * Field messages against their limit: raw node AES-256-GCM with a KeyObject and pooled nonces, no context, no commitment.
 * Both run in alternating slices of CPU time in one process; the figure is the median of the ratios of neighbouring
 * slices, so that the noise of a shared machine hits both alike.
 */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, randomFillSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { createKeyring, parseOrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import type { OrgKeys } from '../src/org-keys.ts';
import { memoryKeyStore } from '../src/testing/index.ts';

/** One measured case. */
export interface FieldBenchRow {
  /** Case id. */
  readonly case: string;
  /** Operations of ours per CPU second, median. */
  readonly opsPerCpuSecond: number;
  /** Ours over the limit (or, for `row10-seal`, over ten single seals), median of slice ratios. */
  readonly ratio: number;
  /** Slices of each. */
  readonly rounds: number;
}

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const SLICE_MS = 25;
const GCM = { authTagLength: 16 } as const;

/** Leases keys of a fresh organisation. */
export async function benchKeys(): Promise<OrgKeys> {
  const kms = localKms({ keks: { bench: randomBytes(32) } });
  const keyring = createKeyring({
    app: 'bench',
    kms: [kms],
    store: memoryKeyStore(),
    kekFor: () => 'local:bench',
  });
  await keyring.createOrg(ORG);
  return keyring.org(ORG);
}

/** Raw node AES-256-GCM as fast as it goes: the limit. */
export function rawGcm(): { seal(plaintext: Uint8Array): Buffer; open(message: Uint8Array): Buffer } {
  const key = createSecretKey(randomBytes(32));
  const pool = Buffer.alloc(8184);
  let next = pool.length;
  return {
    seal(plaintext) {
      if (next >= pool.length) {
        randomFillSync(pool);
        next = 0;
      }
      const nonce = pool.subarray(next, next + 12);
      next += 12;
      const cipher = createCipheriv('aes-256-gcm', key, nonce, GCM);
      const body = cipher.update(plaintext);
      cipher.final();
      return Buffer.concat([nonce, body, cipher.getAuthTag()]);
    },
    open(message) {
      const decipher = createDecipheriv('aes-256-gcm', key, message.subarray(0, 12), GCM);
      decipher.setAuthTag(message.subarray(message.length - 16));
      const body = decipher.update(message.subarray(12, message.length - 16));
      decipher.final();
      return body;
    },
  };
}

/** Seals and opens of `bytes` bytes, against raw GCM. */
export async function fieldSealAndOpen(bytes: number, rounds = 25): Promise<readonly FieldBenchRow[]> {
  const keys = await benchKeys();
  const raw = rawGcm();
  const plaintext = randomBytes(bytes);
  const rows = Array.from(
    { length: 64 },
    (_, i) => `0190f5d2-7b1c-7d34-9a51-3f2e8c1b7${String(i).padStart(3, '0')}`,
  );
  let turn = 0;
  const next = () => {
    turn = (turn + 1) & 63;
    return turn;
  };
  const cellOf = (i: number) => ({ table: 'invoice', column: 'memo', row: rows[i] as string });
  const sealed = rows.map((_, i) => keys.seal(cellOf(i), plaintext));
  const rawSealed = rows.map(() => raw.seal(plaintext));
  const name = bytes >= 4096 ? 'doc' : 'field';
  const size = bytes >= 4096 ? `${bytes / 1024}k` : String(bytes);
  return [
    compare(
      `${name}-seal-${size}`,
      rounds,
      () => keys.seal(cellOf(next()), plaintext),
      () => raw.seal(plaintext),
    ),
    compare(
      `${name}-open-${size}`,
      rounds,
      () => keys.open(cellOf(next()), sealed[turn] as Uint8Array),
      () => raw.open(rawSealed[next()] as Uint8Array),
    ),
  ];
}

/** A row of ten texts of 32 bytes as one message, against ten single seals of the same texts. */
export async function rowOfTen(rounds = 25): Promise<FieldBenchRow> {
  const keys = await benchKeys();
  const names = Array.from({ length: 10 }, (_, i) => `column_${i}`);
  const fields = Object.fromEntries(names.map((name) => [name, randomBytes(16).toString('hex')]));
  const cells = names.map((column) => ({ table: 'invoice', column, row: ORG }));
  const bytes = names.map((name) => Buffer.from(fields[name] as string));
  const row = { table: 'invoice', row: ORG };
  return compare(
    'row10-seal',
    rounds,
    () => keys.sealRow(row, fields),
    () => {
      for (let i = 0; i < 10; i += 1) keys.seal(cells[i] as (typeof cells)[0], bytes[i] as Uint8Array);
    },
  );
}

/** All cases. */
export async function fieldBench(rounds = 25): Promise<readonly FieldBenchRow[]> {
  const rows: FieldBenchRow[] = [];
  for (const bytes of [32, 256, 4096]) rows.push(...(await fieldSealAndOpen(bytes, rounds)));
  rows.push(await rowOfTen(rounds));
  return rows;
}

function compare(id: string, rounds: number, ours: () => unknown, other: () => unknown): FieldBenchRow {
  slice(ours, 4 * SLICE_MS);
  slice(other, 4 * SLICE_MS);
  const rates: number[] = [];
  const ratios: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const before = slice(other, SLICE_MS);
    const rate = slice(ours, SLICE_MS);
    const after = slice(other, SLICE_MS);
    rates.push(rate);
    ratios.push(rate / ((before + after) / 2));
  }
  return { case: id, opsPerCpuSecond: Math.round(median(rates)), ratio: median(ratios), rounds };
}

/** Operations per CPU second within a slice of CPU time. */
function slice(run: () => unknown, ms: number): number {
  const start = process.cpuUsage();
  let count = 0;
  for (;;) {
    for (let i = 0; i < 200; i += 1) run();
    count += 200;
    const { user, system } = process.cpuUsage(start);
    if (user + system >= ms * 1000) return (count / (user + system)) * 1e6;
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  console.log(`Node ${process.version}: share of raw AES-256-GCM (row10: of ten single seals)`);
  for (const row of await fieldBench()) {
    console.log(row.case.padEnd(16), row.ratio.toFixed(2), `${row.opsPerCpuSecond}/CPU-s`);
  }
}
