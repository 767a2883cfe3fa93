/** The example of docs/formats/audit-export-v1.md: made from that of audit-chain-v1, and accepted by both verifiers. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { verifyExport } from '../src/index.ts';
import { canonText, exportOf, headAt, honest, LENGTH } from './export-corpus.ts';

const DOC = new URL('../../../docs/formats/audit-export-v1.md', import.meta.url);
const CHAIN = readFileSync(new URL('../../../docs/formats/audit-chain-v1.md', import.meta.url), 'utf8');
const PYTHON = fileURLToPath(new URL('../python/verify_audit.py', import.meta.url));
const value = (name: string) => new RegExp(`^${name} +(.*)$`, 'm').exec(CHAIN)?.[1] ?? '';

test('the example is the export of the chain of audit-chain-v1, and both verifiers accept it', async () => {
  const links = [1, 2].map((seq) => {
    const canon = value(`record ${seq}`);
    const { id } = JSON.parse(canon) as { id: string };
    return `{"canon":${canonText(canon)},"hash":"${value(`link ${seq}`)}","id":"${id}","seq":${seq}}\n`;
  });
  const header = `{"format":"ringfence-audit-export","from":{"hash":"${'0'.repeat(64)}","seq":0},"org":"${value('org')}","v":1}\n`;
  const made = `${header}${links.join('')}{"end":{"hash":"${value('link 2')}","seq":2}}\n`;
  const page = readFileSync(DOC, 'utf8');
  const shown = /```text\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  if (process.env['UPDATE_DOCS'] === '1')
    writeFileSync(
      DOC,
      page.replace(shown, () => made),
    );
  else expect(shown).toBe(made);
  const expectedHead = { seq: 2, hash: value('link 2') };
  expect(await verifyExport([Buffer.from(made)], { expectedHead })).toMatchObject({ ok: true, checked: 2 });
  const folder = mkdtempSync(join(tmpdir(), 'audit-format-'));
  try {
    writeFileSync(join(folder, 'export.ndjson'), made);
    const head = `2:${expectedHead.hash}`;
    const python = spawnSync('python3', [PYTHON, join(folder, 'export.ndjson'), head], { encoding: 'utf8' });
    expect([python.status, python.stdout]).toEqual([0, 'ok\n']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('an export without its end line is cut, even where every link holds', async () => {
  const text = Buffer.from(exportOf(honest())).toString();
  const cut = Buffer.from(text.slice(0, text.lastIndexOf('{"end"')));
  const report = await verifyExport([cut], { expectedHead: headAt(honest(), LENGTH) });
  expect(report.findings).toMatchObject([{ class: 'cut', seq: LENGTH + 1 }]);
});

test('nothing is read of an export whose first line is refused, not even another export behind it', async () => {
  const whole = Buffer.concat([Buffer.from('{}\n'), exportOf(honest())]);
  const pieces = [whole.subarray(0, 3), whole.subarray(3)];
  const report = await verifyExport([whole]);
  expect(report).toMatchObject({
    ok: false,
    checked: 0,
    head: { seq: 0 },
    findings: [{ class: 'malformed' }],
  });
  expect(report).toEqual(await verifyExport(pieces));
  const later = Buffer.from(exportOf(honest()).toString().replace('"seq":0}', '"seq":7}'));
  expect(await verifyExport([Buffer.concat([Buffer.from('{}\n'), later])])).toEqual(report);
});
