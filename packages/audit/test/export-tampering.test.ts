/**
 * Thousands of changes to exports, each found as what it is by the holder of one old head. docs/audit-tampering.md shows
 * what this test has seen; `UPDATE_DOCS=1` writes it anew.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { verifyExport } from '../src/index.ts';
import { type Attack, attacksOn, exportOf, headAt, honest, KEPT } from './export-corpus.ts';

const DOC = new URL('../../../docs/audit-tampering.md', import.meta.url);
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

const NAMES: Readonly<Record<Attack['kind'], string>> = {
  E: 'edit a record',
  D: 'delete links',
  R: 'exchange records',
  I: 'insert a link',
  T: 'cut the tail, end set back',
  W: 'rewrite everything behind a change',
  S: 'split view: another history from some place on',
  B: 'date back, everything rewritten',
};

const classesOf = async (attack: Attack, expectedHead?: { seq: number; hash: string }) => {
  const options = { sha256, ...(expectedHead !== undefined && { expectedHead }) };
  const report = await verifyExport([exportOf(attack.log)], options);
  expect(report.ok).toBe(report.findingCount === 0);
  return report.findings.map((finding) => finding.class as string);
};

test('every change up to a kept head is found as what it is', async () => {
  const counts = new Map<string, { all: number; alone: number; held: number }>();
  const wrong: string[] = [];
  for (let salt = 0; salt < 12; salt++) {
    const log = honest(salt);
    const kept = headAt(log, KEPT);
    expect(await verifyExport([exportOf(log)], { sha256, expectedHead: kept })).toMatchObject({ ok: true });
    for (const attack of attacksOn(log, salt)) {
      const count = counts.get(attack.kind) ?? { all: 0, alone: 0, held: 0 };
      counts.set(attack.kind, count);
      const held = await classesOf(attack, kept);
      count.all++;
      if ((await classesOf(attack)).length > 0) count.alone++;
      if (held.includes(attack.verdict)) count.held++;
      else if (salt === 0)
        wrong.push(`${attack.kind}: ${attack.verdict}, not ${[...new Set(held)].join(' ')}`);
    }
  }
  expect(wrong).toEqual([]);
  const kinds = Object.keys(NAMES) as Attack['kind'][];
  expect([...counts.values()].reduce((sum, { all }) => sum + all, 0)).toBeGreaterThanOrEqual(6_000);
  for (const kind of ['T', 'W', 'S', 'B']) expect(counts.get(kind)?.alone, kind).toBe(0);
  for (const kind of ['E', 'D', 'R', 'I']) expect(counts.get(kind)?.alone, kind).toBe(counts.get(kind)?.all);
  const rows = kinds.map((kind) => {
    const { all, alone, held } = counts.get(kind) ?? { all: 0, alone: 0, held: 0 };
    return `| ${kind} | ${NAMES[kind]} | ${all} | ${alone} | ${held} |`;
  });
  const head = [
    '| | what was done | variants | found in the export alone | found, with the right class, with one head kept |',
  ];
  same('corpus', [...head, '|---|---|--:|--:|--:|', ...rows].join('\n'));
}, 120_000);

function same(section: string, text: string): void {
  const page = readFileSync(DOC, 'utf8');
  const begin = `<!-- ${section} -->\n`;
  const [from, to] = [page.indexOf(begin) + begin.length, page.indexOf(`\n<!-- end of ${section} -->`)];
  expect(page).toContain(begin);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(DOC, page.slice(0, from) + text + page.slice(to));
  else expect(page.slice(from, to)).toBe(text);
}
