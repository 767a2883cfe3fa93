/**
 * Thousands of changes to the objects of a write-once copy, each found as what it is by the holder of one old note.
 * docs/audit-write-once.md shows what this test has seen; `UPDATE_DOCS=1` writes it anew.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { verifierKeyOf } from '../src/checkpoint/index.ts';
import { directoryStore, verifyWriteOnceCopy, type WriteOnceStore } from '../src/write-once/index.ts';
import {
  type CopyAttack,
  copyAttacks,
  copyOf,
  DEPLOYMENT,
  KEPT_SIZE,
  noteOf,
  storeOf,
} from './copy-corpus.ts';
import { honest, LENGTH } from './export-corpus.ts';
import { ORG_A } from './fixture.ts';
import { newSigner } from './memory-log.ts';

const DOC = new URL('../../../docs/audit-write-once.md', import.meta.url);
const signer = newSigner(DEPLOYMENT);
const keys = [verifierKeyOf(signer)];

const NAMES: Readonly<Record<CopyAttack['kind'], string>> = {
  E: 'change bytes of an object, or a record in a segment',
  D: 'remove an object, or a link in a segment',
  I: 'put in an object, or a link in a segment',
  R: 'exchange objects, or links in a segment',
  T: 'cut an object short, or the copy',
  W: 'rewrite the history from a place on, with the key or without',
  S: 'split view: another history from a place on',
  B: 'date a record back',
};

const verify = (store: WriteOnceStore, keptNotes: readonly string[] = []) =>
  verifyWriteOnceCopy({ store, org: ORG_A, origin: DEPLOYMENT, keys, keptNotes });

test('a copy made from the format documents alone holds, in memory and in a directory', async () => {
  const log = honest();
  const copy = await copyOf(log, signer);
  const kept = await noteOf(log, KEPT_SIZE, signer);
  const root = mkdtempSync(join(tmpdir(), 'copy-corpus-'));
  try {
    for (const [name, body] of copy) {
      mkdirSync(dirname(join(root, ORG_A, name)), { recursive: true });
      writeFileSync(join(root, ORG_A, name), body);
    }
    for (const store of [storeOf(copy), directoryStore({ root })]) {
      const report = await verify(store, [kept]);
      expect(report).toMatchObject({ ok: true, findings: [], links: LENGTH, signed: LENGTH });
    }
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('every change up to a kept note is found as what it is', async () => {
  const counts = new Map<string, { all: number; alone: number; held: number }>();
  const wrong: string[] = [];
  for (let salt = 0; salt < 2; salt++) {
    const log = honest(salt);
    const kept = await noteOf(log, KEPT_SIZE, signer);
    for await (const { kind, what, verdict, copy } of copyAttacks(log, signer, salt)) {
      const count = counts.get(kind) ?? { all: 0, alone: 0, held: 0 };
      counts.set(kind, count);
      count.all++;
      if (!(await verify(storeOf(copy))).ok) count.alone++;
      const classes = (await verify(storeOf(copy), [kept])).findings.map(
        (finding) => finding.class as string,
      );
      if (classes.includes(verdict)) count.held++;
      else wrong.push(`${kind} ${what}: ${verdict}, not ${[...new Set(classes)].join(' ')}`);
    }
  }
  expect(wrong).toEqual([]);
  expect([...counts.values()].reduce((sum, { all }) => sum + all, 0)).toBeGreaterThanOrEqual(2_000);
  const rows = (Object.keys(NAMES) as CopyAttack['kind'][]).map((kind) => {
    const { all, alone, held } = counts.get(kind) ?? { all: 0, alone: 0, held: 0 };
    return `| ${kind} | ${NAMES[kind]} | ${all} | ${alone} | ${held} |`;
  });
  const head =
    '| | what was done | variants | found in the copy alone | found, with the right class, with one note kept |';
  same('copy corpus', [head, '|---|---|--:|--:|--:|', ...rows].join('\n'));
}, 240_000);

function same(section: string, text: string): void {
  const page = readFileSync(DOC, 'utf8');
  const begin = `<!-- ${section} -->\n`;
  const [from, to] = [page.indexOf(begin) + begin.length, page.indexOf(`\n<!-- end of ${section} -->`)];
  expect(page).toContain(begin);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(DOC, page.slice(0, from) + text + page.slice(to));
  else expect(page.slice(from, to)).toBe(text);
}
