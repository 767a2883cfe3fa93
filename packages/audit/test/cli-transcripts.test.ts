/**
 * The transcripts of docs/audit-cli.md are real: every command in them is run and must print what stands there, to the byte.
 * `UPDATE_DOCS=1` writes them anew.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { verifierKeyOf } from '../src/checkpoint/index.ts';
import { signNote } from '../src/checkpoint/signer.ts';
import { formatCheckpoint } from '../src/verify/checkpoint.ts';
import { exportOf, honest, type StoredLink } from './export-corpus.ts';
import { ORG_A } from './fixture.ts';
import { newSigner } from './memory-log.ts';

const DOC = fileURLToPath(new URL('../../../docs/audit-cli.md', import.meta.url));
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'audit-transcripts-'));
const log = honest();

const signer = newSigner('ledger.example/audit');

/** A note over the first links, made after RFC 6962 apart from the code under test. */
function noteOf(size: number): Promise<string> {
  const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest();
  const root = (leaves: readonly Uint8Array[]): Uint8Array => {
    if (leaves.length < 2) return leaves[0] ?? sha256();
    const split = 2 ** Math.floor(Math.log2(leaves.length - 1));
    return sha256(Uint8Array.of(1), root(leaves.slice(0, split)), root(leaves.slice(split)));
  };
  const leaves = log.slice(0, size).map(({ canon }) => sha256(Uint8Array.of(0), Buffer.from(canon)));
  const origin = `ledger.example/audit/${ORG_A}`;
  return signNote(formatCheckpoint({ origin, size, root: root(leaves) }), signer);
}

beforeAll(async () => {
  const fifth = log[4] as StoredLink;
  const edited = log.with(4, { ...fifth, canon: fifth.canon.replace('5.00', '9.00') });
  writeFileSync(join(folder, 'march.ndjson'), exportOf(log));
  writeFileSync(join(folder, 'cut.ndjson'), exportOf(log.slice(0, 9)));
  writeFileSync(join(folder, 'edited.ndjson'), exportOf(edited));
  writeFileSync(join(folder, 'notes.txt'), 'to do\n');
  const text = Buffer.from(exportOf(log)).toString();
  const signed = text.replace('\n', `\n{"note":${JSON.stringify(await noteOf(14))}}\n`);
  writeFileSync(join(folder, 'signed.ndjson'), signed);
  writeFileSync(join(folder, 'kept.note'), await noteOf(12));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(command: string): string {
  const args = command
    .replace('<head of march.ndjson>', log.at(-1)?.hash ?? '')
    .replace('<org>', ORG_A)
    .replace('<key>', verifierKeyOf(signer))
    .split(' ');
  const child = spawnSync(process.execPath, ['--conditions=@ringfence/source', MAIN, ...args.slice(2)], {
    encoding: 'utf8',
    cwd: folder,
    env: { PATH: process.env['PATH'] },
  });
  return child.stderr + child.stdout;
}

test('the transcripts in docs/audit-cli.md are what the commands print', () => {
  const doc = readFileSync(DOC, 'utf8');
  const printed = doc.replace(/(?<=^```console\n)[^`]*(?=^```$)/gm, (block) =>
    [...block.matchAll(/^\$ (.*)$/gm)].map(([line, command = '']) => `${line}\n${run(command)}`).join(''),
  );
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(DOC, printed);
  else expect(doc).toBe(printed);
  expect(printed.match(/^\$ /gm)).toHaveLength(9);
}, 120_000);
