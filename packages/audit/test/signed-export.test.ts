/** Notes in an export, and notes that somebody kept, are held against its records: each way to cheat is found by name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, expect, test } from 'vitest';
import { runCli } from '../src/cli/run-cli.ts';
import { verifyExport } from '../src/index.ts';
import { parseVerifierKey, type VerifyExportOptions } from '../src/verify/index.ts';
import { exportOf, headAt } from './export-corpus.ts';
import { ORG_A, ORG_B } from './fixture.ts';
import { newSigner } from './memory-log.ts';
import { DEPLOYMENT, exportWith, key, log, noteOf, ORIGIN, other } from './signed-corpus.ts';

const trust = { origin: ORIGIN, keys: [parseVerifierKey(key)] };

const folder = mkdtempSync(join(tmpdir(), 'audit-signed-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function found(bytes: Uint8Array, options: VerifyExportOptions = {}) {
  const { findings } = await verifyExport([bytes], { trust, ...options });
  return findings.map((finding) => [finding.class, finding.seq]);
}

test('notes of an honest log hold at every size, in the export or kept', async () => {
  for (let size = 0; size <= log.length; size++) {
    const note = await noteOf(log, size);
    expect(await found(exportWith(log, note))).toEqual([]);
    expect(await found(exportOf(log), { keptNotes: [note] })).toEqual([]);
  }
  const all = await Promise.all([1, 5, 14].map((size) => noteOf(log, size)));
  expect(await found(exportWith(log, ...all), { keptNotes: all })).toEqual([]);
});

test('a history that was written anew is found by a note alone, without a kept head', async () => {
  expect(await verifyExport([exportOf(other)])).toMatchObject({ ok: true });
  expect(await found(exportWith(other, await noteOf(log, 9)))).toEqual([['rewritten', 9]]);
  expect(await found(exportOf(other), { keptNotes: [await noteOf(log, 14)] })).toEqual([['rewritten', 14]]);
  // What was signed before the change is not concerned.
  expect(await found(exportOf(other), { keptNotes: [await noteOf(log, 5)] })).toEqual([]);
});

test('an end that was cut off behind a signed checkpoint is found', async () => {
  const note = await noteOf(log, 12);
  const cut = log.slice(0, 11);
  expect(await found(exportWith(cut, note))).toEqual([['cut', 12]]);
  expect(await found(exportOf(cut), { keptNotes: [note] })).toEqual([['cut', 12]]);
  expect(await found(exportOf([]), { keptNotes: [note] })).toEqual([['cut', 1]]);
});

test('a note in the export that no key of this log signed is found, whatever it says', async () => {
  const good = await noteOf(log, 9);
  const bad = [
    await noteOf(log, 9, `${DEPLOYMENT}/${ORG_B}`),
    await noteOf(log, 9, ORIGIN, newSigner(DEPLOYMENT)),
    good.replace('\n9\n', '\n8\n'),
    'to do\n',
    '',
  ];
  for (const note of bad)
    expect(await found(exportWith(log, good, note)), note).toEqual([['unsigned', null]]);
  expect(await found(exportWith(log, ...bad))).toHaveLength(bad.length);
  // Nobody is trusted, so nothing is said of them.
  expect(await verifyExport([exportWith(log, ...bad)])).toMatchObject({ ok: true, notes: bad });
});

test('an export whose notes were all taken out is not taken for a signed one', async () => {
  expect(await found(exportOf(log))).toEqual([['unsigned', null]]);
  expect(await found(exportOf(other))).toEqual([['unsigned', null]]);
  expect(await found(exportOf(log), { keptNotes: [await noteOf(log, 5)] })).toEqual([]);
});

test('a part of a log cannot be held against a checkpoint, and is not taken for one that was', async () => {
  const text = Buffer.from(exportOf(log)).toString().split('\n');
  const { seq, hash } = headAt(log, 4);
  const header = text[0]?.replace(/"from":\{.*?\}/, `"from":{"hash":"${hash}","seq":${seq}}`);
  const part = Buffer.from([header, ...text.slice(5)].join('\n'));
  const expectedHead = { seq, hash };
  expect(await found(part, { expectedHead })).toEqual([['unsigned', null]]);
  expect(await found(part, { expectedHead, keptNotes: [await noteOf(log, 9)] })).toEqual([['deleted', null]]);
});

test('records that are gone give no root, also where no link shows it', async () => {
  const note = await noteOf(log, 14);
  const gone = Buffer.from(exportOf(log))
    .toString()
    .replace(/\{"canon":\{.*?\},"hash"/, '{"canon":null,"hash"');
  expect(await found(Buffer.from(gone), { keptNotes: [note] })).toEqual([
    ['deleted', 1],
    ['deleted', null],
  ]);
});

test('a kept note that is none of this log is misuse, and kept notes need keys', async () => {
  const bytes = [exportOf(log)];
  for (const note of [
    'x',
    await noteOf(log, 3, 'elsewhere'),
    await noteOf(log, 3, ORIGIN, newSigner(DEPLOYMENT)),
  ]) {
    await expect(verifyExport(bytes, { trust, keptNotes: [note] })).rejects.toThrow(TypeError);
  }
  await expect(verifyExport(bytes, { keptNotes: [await noteOf(log, 3)] })).rejects.toThrow(TypeError);
});

async function cli(...args: string[]) {
  let out = '';
  const stdout = new Writable({
    write: (chunk, _, done) => {
      out += String(chunk);
      done();
    },
  });
  const code = await runCli(['verify', ...args], { directory: folder, stdout, stderr: stdout });
  return { code, out };
}

test('the command line verifies notes with the key of the log, and a note that was kept', async () => {
  writeFileSync(join(folder, 'march.ndjson'), exportWith(log, await noteOf(log, 9)));
  writeFileSync(join(folder, 'other.ndjson'), exportOf(other));
  writeFileSync(join(folder, 'kept.note'), await noteOf(log, 14));
  const who = ['--org', ORG_A, '--origin', DEPLOYMENT, '--key', key];
  expect(await cli('march.ndjson', ...who)).toMatchObject({ code: 0 });
  const kept = await cli('march.ndjson', ...who, '--note', 'kept.note');
  expect(kept).toMatchObject({ code: 0, out: expect.not.stringContaining('no kept head') });
  const split = await cli('other.ndjson', ...who, '--note', 'kept.note');
  expect(split).toMatchObject({ code: 1, out: expect.stringContaining('rewritten 14: ') });
  const wrong = [
    ['--note', 'kept.note'],
    ['--key', key],
    [...who.slice(0, 4), '--key', 'x'],
    [...who, '--note', 'other.ndjson'],
    [...who, '--note', 'absent.note'],
  ];
  for (const args of wrong)
    expect(await cli('march.ndjson', ...args), args.join(' ')).toMatchObject({ code: 2 });
  expect(await cli('--database', 'postgres://127.0.0.1:1/x', ...who)).toMatchObject({
    code: 2,
    out: expect.stringContaining('about exports and copies'),
  });
});
