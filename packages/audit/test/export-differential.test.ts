/** Two verifiers by different hands, and one of them on pieces of any length and on threads, say the same of mutated logs. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { type ExportReport, verifyExport } from '../src/index.ts';
import { nodeSha256 } from '../src/node-sha256.ts';
import { verifyInBlocks } from '../src/parallel/verify-parallel.ts';
import { type MutatedExport, mutatedExport } from './export-mutations.ts';

const PYTHON = fileURLToPath(new URL('../python/verify_audit.py', import.meta.url));
const CASES = 2_000;

const classesOf = ({ findings }: ExportReport) => [...new Set(findings.map((one) => one.class))].sort();

function* pieces({ data }: MutatedExport, size: number): Generator<Uint8Array> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

/** What the second verifier says of each. */
function theirsOf(cases: readonly MutatedExport[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'audit-differential-'));
  try {
    const file = join(folder, 'cases.ndjson');
    const lines = cases.map(({ data, heads }) => JSON.stringify({ data: data.toString('base64'), heads }));
    writeFileSync(file, `${lines.join('\n')}\n`);
    const python = spawnSync('python3', [PYTHON, '--batch', file], { encoding: 'utf8', maxBuffer: 1 << 26 });
    expect(python.stderr).toBe('');
    return python.stdout.split('\n').slice(0, -1);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test(`both verifiers name the same classes of ${CASES} mutated logs, whole, in pieces and in blocks`, async () => {
  const [first = 0] = fc.sample(fc.integer(), 1);
  const cases = Array.from({ length: CASES }, (_, index) => mutatedExport((first + index) | 0));
  const theirs = theirsOf(cases);
  expect(theirs).toHaveLength(CASES);
  const disagreements: string[] = [];
  const seen = new Set<string>();
  let pruned = 0;
  for (const [index, one] of cases.entries()) {
    const options = { expectedHead: one.heads };
    const report = await verifyExport([one.data], { ...options, sha256: nodeSha256 });
    const ours = classesOf(report).join(',');
    seen.add(ours);
    if (report.ok && report.pruned > 0) pruned++;
    const tell = (what: string) => disagreements.push(`seed ${first + index}, ${what}; whole: ${ours}`);
    if (ours !== theirs[index]) tell(`the second verifier: ${theirs[index]}`);
    const size = 20 + (index % 700) * Math.ceil(one.data.length / 100_000);
    const inPieces = await verifyExport(pieces(one, size), { ...options, sha256: nodeSha256 });
    if (JSON.stringify(inPieces) !== JSON.stringify(report))
      tell(`pieces of ${size}: ${classesOf(inPieces)}`);
    if (index % 100 > 0) continue;
    const sizes = { aloneBytes: 600, blockBytes: 900, waits: true };
    const inBlocks = await verifyInBlocks(pieces(one, 500), { ...options, threads: 2 }, sizes);
    if (JSON.stringify(inBlocks) !== JSON.stringify(report)) tell(`blocks: ${classesOf(inBlocks)}`);
  }
  expect(disagreements.slice(0, 20)).toEqual([]);
  // The cases are worth something: logs that hold, prunings that hold, and many ways not to.
  expect(pruned).toBeGreaterThan(25);
  expect(seen).toContain('');
  expect(seen.size).toBeGreaterThan(60);
}, 240_000);
