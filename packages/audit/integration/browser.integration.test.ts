/** The verifier in a real browser says of every export what it says in Node, byte for byte of the report. */
import { beforeAll, describe, expect, test } from 'vitest';
import { runInBrowser } from '../../../tools/browser.ts';
import { exportLines } from '../bench/export-lines.ts';
import { verifyExport } from '../src/verify/index.ts';
import { attacksOn, exportOf, headAt, honest, KEPT } from '../test/export-corpus.ts';
import { newSigner } from '../test/memory-log.ts';
import { prunedCases } from '../test/pruned-corpus.ts';
import { DEPLOYMENT, exportWith, key, log, noteOf, ORIGIN, other } from '../test/signed-corpus.ts';
import { type BrowserCase, optionsOf } from './browser-verify.ts';

const trust = { origin: ORIGIN, keys: [key] };
const kept = headAt(log, KEPT);
const MODULE = new URL('./browser-verify.ts', import.meta.url);

const files = new Map<string, Uint8Array | string>();
const cases: BrowserCase[] = [];
/** Class of a finding that each case must have; undefined: none at all. */
const verdicts: (string | undefined)[] = [];

function add(verdict: string | undefined, data: Uint8Array, options: Omit<BrowserCase, 'path'> = {}) {
  const path = `/export/${cases.length}`;
  files.set(path, data);
  cases.push({ path, ...options });
  verdicts.push(verdict);
}

beforeAll(async () => {
  add(undefined, exportOf(honest()), { expectedHead: kept });
  add(undefined, Buffer.concat([...exportLines(5_000)])); // arrives in many pieces
  for (const { log: attacked, verdict } of attacksOn(honest(), 0)) {
    add(verdict, exportOf(attacked), { expectedHead: kept });
  }
  for (const { data, verdicts } of prunedCases()) add(verdicts[0], data);
  add(undefined, exportWith(log, await noteOf(log, 9)), { trust });
  add('rewritten', exportWith(other, await noteOf(log, 9)), { trust });
  add('rewritten', exportOf(other), { trust, keptNotes: [await noteOf(log, 14)] });
  add('unsigned', exportWith(log, await noteOf(log, 9, ORIGIN, newSigner(DEPLOYMENT))), { trust });
  files.set('/cases.json', JSON.stringify(cases));
});

describe.each(['page', 'worker'] as const)('on a thread of a %s', (thread) => {
  test('every export gets the report that Node gives', async () => {
    const reports = (await runInBrowser({ module: MODULE, files, thread })) as unknown[];
    expect(reports).toHaveLength(cases.length);
    for (const [at, one] of cases.entries()) {
      const expected = await verifyExport([files.get(one.path) as Uint8Array], optionsOf(one));
      expect(reports[at]).toEqual(JSON.parse(JSON.stringify(expected)));
      const verdict = verdicts[at];
      expect(expected.ok).toBe(verdict === undefined);
      if (verdict !== undefined) expect(expected.findings.map((found) => found.class)).toContain(verdict);
    }
  });
});

test('a page without https calls no signature false: it says that it cannot verify any', async () => {
  const run = runInBrowser({ module: MODULE, files, thread: 'page', host: 'http.example' });
  await expect(run).rejects.toThrow('WebCrypto has no Ed25519 here (a page needs https');
});
