/** On several threads the report is the one of a single walk, whatever was done to the export and wherever it is cut. */

import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { type ChainHead, verifyExport, verifyParallel } from '../src/index.ts';
import { nodeSha256 } from '../src/node-sha256.ts';
import { type BlockSizes, verifyInBlocks } from '../src/parallel/verify-parallel.ts';
import { verifyBlock } from '../src/verify/block.ts';
import { exportOf, headAt, type Log, recordOf, type StoredLink, sealed } from './export-corpus.ts';
import { ORG_A } from './fixture.ts';
import { without } from './pruned-corpus.ts';

/** The corpus counts minutes by number, which ends at 49. */
function recordAt(number: number): { readonly id: string; readonly canon: string } {
  const { id, canon } = recordOf(number);
  return { id, canon: canon.replace(/T10:\d+:/, 'T10:10:') };
}

/** About 800 KiB: the beginning and some blocks. */
const LOG: readonly StoredLink[] = sealed(Array.from({ length: 1_500 }, (_, index) => recordAt(index + 1)));
const BYTES = exportOf(LOG);

/** Most blocks on two other threads; on another and this one; walked while another starts; and longer ones. */
const SIZES: readonly [number, BlockSizes][] = [
  [3, { aloneBytes: 0, blockBytes: 40_000, waits: true }],
  [2, { aloneBytes: 50_000, blockBytes: 20_000, waits: true }],
  [2, { aloneBytes: 1, blockBytes: 20_000 }],
  [2, { aloneBytes: 1, blockBytes: 1 << 20, waits: true }],
];

function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function both(bytes: Uint8Array, heads: readonly ChainHead[] = [], size = 30_001) {
  const options = { expectedHead: heads, sha256: nodeSha256 };
  const alone = await verifyExport(pieces(bytes, size), options);
  const parallel = { expectedHead: heads };
  expect(await verifyParallel(pieces(bytes, size), parallel)).toEqual(alone);
  for (const [threads, sizes] of SIZES) {
    expect(await verifyInBlocks(pieces(bytes, size), { ...parallel, threads }, sizes)).toEqual(alone);
  }
  return alone;
}

test('an honest export passes, with a kept head in every part', async () => {
  const heads = [1, 170, 420, 660, 1_499, 1_500].map((seq) => headAt(LOG, seq));
  expect(await both(BYTES, heads)).toMatchObject({ ok: true, checked: LOG.length });
  expect(await both(BYTES, heads, BYTES.length)).toMatchObject({ ok: true, checked: LOG.length });
});

test('a kept head of another chain is found in whatever part it stands', async () => {
  for (const seq of [5, 420, 1_500]) {
    const report = await both(BYTES, [{ seq, hash: 'f'.repeat(64) }]);
    expect(report.findings).toMatchObject([{ class: 'rewritten', seq }]);
  }
  expect((await both(BYTES, [{ seq: 1_501, hash: 'f'.repeat(64) }])).findings).toMatchObject([
    { class: 'cut' },
  ]);
});

test('a block that begins with a record that is gone holds not by itself, also where it says that it was pruned', () => {
  const gone = 25;
  const { id, canon } = recordAt(gone + 1);
  const { hash } = LOG[gone - 1] as StoredLink;
  const event = `{"data":{"hash":"${hash}","policy":"p","through":${gone}},"outcome":"success","type":"log.pruned"}`;
  const telling = canon.replace(/"event":\{.*\},"id"/, () => `"event":${event},"id"`);
  const log = sealed([...LOG.slice(0, gone), { id, canon: telling }, ...LOG.slice(gone + 1, 40)]);
  const blockOf = (bytes: Uint8Array) => {
    const lines = Buffer.from(bytes).toString().split('\n').slice(gone, 40);
    const block = {
      org: ORG_A,
      from: headAt(log, gone - 1),
      kept: [],
      bytes: Buffer.from(`${lines.join('\n')}\n`),
    };
    return verifyBlock(block, nodeSha256);
  };
  expect(blockOf(exportOf(log))).toMatchObject({ head: { seq: 39 }, links: 15 });
  // All before it have their records: one walk finds a deletion.
  expect(blockOf(without(log, (seq) => seq === gone))).toBeUndefined();
});

const at = (index: number) => LOG[index] as StoredLink;
const renumbered = (log: Log) => log.map((link, index) => ({ ...link, seq: index + 1 }));
const CHANGES: readonly [string, (index: number) => Log][] = [
  [
    'edited',
    (index) => LOG.with(index, { ...at(index), canon: at(index).canon.replace('success', 'denied') }),
  ],
  ['deleted', (index) => LOG.toSpliced(index, 1)],
  ['deleted', (index) => renumbered(LOG.toSpliced(index, 2))],
  ['reordered', (index) => renumbered(LOG.with(index, at(index + 1)).with(index + 1, at(index)))],
  ['inserted', (index) => renumbered(LOG.toSpliced(index, 0, { ...at(3), hash: 'f'.repeat(64) }))],
  ['edited', (index) => LOG.with(index, { ...at(index), hash: 'f'.repeat(64) })],
];

test.each(CHANGES)('a change of the class %s is found as one walk finds it', async (verdict, change) => {
  for (const index of [10, 420]) {
    const report = await both(exportOf(change(index)));
    expect(report.findings.map((finding) => finding.class)).toContain(verdict);
  }
});

test('changes at the seams of blocks, and bytes of any kind, are told as one walk tells them', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(BYTES.length - 1),
      fc.constantFrom('', '\n', 'x', '"', '{"note":"x"}\n', '\n\n', '}\n', `${'x'.repeat(1_100_000)}\n`),
      fc.nat(3),
      async (place, put, cut) => {
        await both(Buffer.concat([BYTES.subarray(0, place), Buffer.from(put), BYTES.subarray(place + cut)]));
      },
    ),
    { numRuns: 20 },
  );
}, 120_000);

test('an export that ends early, begins with junk, or is no bytes at all is refused as one walk refuses it', async () => {
  await both(BYTES.subarray(0, 370_000));
  await both(Buffer.concat([Buffer.from('x\n'), BYTES]));
  await both(new Uint8Array());
  const odd = [BYTES.subarray(0, 370_000), 'text'] as unknown as Uint8Array[];
  expect(await verifyParallel(odd)).toEqual(await verifyExport(odd, { sha256: nodeSha256 }));
});

test('a link longer than a line may be is not one on any thread', async () => {
  const { id, canon } = recordAt(501);
  const long = canon.replace('"note":"', `"note":"${'x'.repeat(1 << 20)}`);
  const records = LOG.map((link) =>
    link.seq === 501 ? { id, canon: long } : { id: link.id, canon: link.canon },
  );
  expect((await both(exportOf(sealed(records)))).findings).toMatchObject([{ class: 'malformed', seq: 501 }]);
});

test('refuses a number of threads that is none', async () => {
  for (const threads of [0, 1.5, 65, Number.NaN]) {
    await expect(verifyParallel([], { threads })).rejects.toThrow(RangeError);
  }
});
