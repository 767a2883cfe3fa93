/** The verifier over rows in memory: input of any shape, and tampering of every class at every place. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { type ChainRow, canonicalize, verifyChain } from '../src/index.ts';
import { ORG_A, ORG_B } from './fixture.ts';

const sha256 = (...parts: Uint8Array[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

/** Written anew from the format document, not with the code under test. */
function chain(length: number, org: string = ORG_A): ChainRow[] {
  let previous = new Uint8Array(32);
  return Array.from({ length }, (_, index) => {
    const seq = index + 1;
    const eventId = `0190f5d2-7b1c-7d34-9a51-${String(seq).padStart(12, '0')}`;
    const at = '2026-03-03T10:11:12.131415Z';
    const event = { outcome: 'success', type: 'entry.posted', data: { amount: `${seq}.00` } };
    const canon = canonicalize({ v: 1, org, id: eventId, at, actor: 'user:alice', request: null, event });
    const leaf = sha256(Uint8Array.of(0), Buffer.from(canon));
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(seq));
    previous = sha256(Uint8Array.of(2), Buffer.from(org.replaceAll('-', ''), 'hex'), place, previous, leaf);
    return { org, seq, eventId, canon, leaf, hash: previous };
  });
}

const found = async (rows: readonly unknown[], options = {}) =>
  (await verifyChain(rows as ChainRow[], options)).findings.map((finding) => [finding.class, finding.seq]);

test('passes an honest chain, from an iterable and from an async one', async () => {
  const rows = chain(5);
  const expected = { ok: true, checked: 5, findings: [], findingCount: 0, head: { seq: 5 } };
  expect(await verifyChain(rows)).toMatchObject(expected);
  async function* stream() {
    yield* rows;
  }
  expect(await verifyChain(stream(), { org: ORG_A })).toMatchObject(expected);
  expect(await verifyChain([])).toMatchObject({
    ok: true,
    checked: 0,
    head: { seq: 0, hash: '0'.repeat(64) },
  });
});

test('finds one change of each class, at every place of a chain of nine', async () => {
  for (let place = 1; place <= 9; place++) {
    const at = place - 1;
    const honest = await verifyChain(chain(9));
    const edited = chain(9).map((row) =>
      row.seq === place ? { ...row, canon: row.canon?.replace('.00', '.01') } : row,
    );
    expect(await found(edited), `edited at ${place}`).toEqual([['edited', place]]);
    const options = { expectedHead: honest.head };
    const deleted = chain(9).toSpliced(at, 1);
    expect(await found(deleted, options), `deleted at ${place}`).toEqual([
      [place === 9 ? 'cut' : 'deleted', place],
    ]);
    const renumbered = deleted.map((row, index) => ({ ...row, seq: index + 1 }));
    const hidden = await found(renumbered, options);
    expect(hidden.length, `renumbered at ${place}`).toBeGreaterThan(0);
    if (place < 8) expect(hidden).toContainEqual(['deleted', place]);
    const doubled = chain(9).toSpliced(at, 0, chain(9, ORG_A)[at] as ChainRow);
    expect(await found(doubled), `twice at ${place}`).toEqual([['forked', place]]);
    expect(await found(chain(9).with(at, chain(9, ORG_B)[at] as ChainRow), options)).not.toEqual([]);
    expect(await found(chain(9).with(at, null as unknown as ChainRow), options)).toEqual([
      ['malformed', place],
    ]);
    expect(await found(chain(place - 1), options), `cut at ${place}`).toEqual([['cut', place]]);
  }
});

test('never passes rows in another order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.shuffledSubarray(chain(7), { minLength: 7 }),
      fc.boolean(),
      async (rows, renumber) => {
        const given = renumber ? rows.map((row, index) => ({ ...row, seq: index + 1 })) : rows;
        const honest = rows.every((row, index) => row.seq === index + 1);
        expect((await verifyChain(given)).ok).toBe(honest);
      },
    ),
    { numRuns: 500 },
  );
});

test('finds any single bit that flips in any field of any row', async () => {
  const rows = chain(6);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(5),
      fc.constantFrom('canon', 'leaf', 'hash', 'eventId'),
      fc.nat(),
      async (at, field, bit) => {
        const row = rows[at] as ChainRow;
        const value = row[field as 'canon' | 'leaf' | 'hash' | 'eventId'];
        const bytes = typeof value === 'string' ? Buffer.from(value) : Uint8Array.from(value ?? []);
        const index = Math.floor(bit / 8) % bytes.length;
        bytes[index] = (bytes[index] ?? 0) ^ (1 << (bit % 8));
        const flipped = {
          ...row,
          [field]: typeof value === 'string' ? Buffer.from(bytes).toString() : bytes,
        };
        const head = (await verifyChain(rows)).head;
        expect((await verifyChain(rows.with(at, flipped), { expectedHead: head })).ok).toBe(false);
      },
    ),
    { numRuns: 1_000 },
  );
});

test('never throws, whatever the rows and the heads hold', async () => {
  const trap = {
    get org(): string {
      throw new Error('trap');
    },
  };
  const odd = [
    trap,
    undefined,
    7,
    [],
    {},
    new Proxy(
      {},
      {
        get: () => {
          throw new Error('trap');
        },
      },
    ),
  ];
  expect((await verifyChain(odd as unknown as ChainRow[])).findings.map((finding) => finding.class)).toEqual(
    Array.from(odd, () => 'malformed'),
  );
  const row = fc.record(
    {
      org: fc.oneof(fc.constant(ORG_A), fc.anything()),
      seq: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.anything()),
      eventId: fc.oneof(fc.constant('0190f5d2-7b1c-7d34-9a51-000000000001'), fc.anything()),
      canon: fc.oneof(fc.constant('{}'), fc.json(), fc.anything()),
      leaf: fc.oneof(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.anything()),
      hash: fc.oneof(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.anything()),
      columns: fc.anything(),
    },
    { requiredKeys: [] },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(row, fc.anything())),
      fc.anything(),
      fc.anything(),
      async (rows, head, from) => {
        const report = await verifyChain(rows as ChainRow[], {
          expectedHead: head as never,
          from: from as never,
        });
        if (rows.length > 0) expect(report.ok).toBe(false);
      },
    ),
    { numRuns: 2_000 },
  );
});

test('says malformed of a record that is sealed but not canonical', async () => {
  for (const canon of ['{ "v":1}', '{"a":1,"a":2}', 'x', '['.repeat(30_000), '{"v":1.5}', '[]', 'null']) {
    const [row] = chain(1);
    const leaf = sha256(Uint8Array.of(0), Buffer.from(canon));
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(1n);
    const org = Buffer.from(ORG_A.replaceAll('-', ''), 'hex');
    const hash = sha256(Uint8Array.of(2), org, place, new Uint8Array(32), leaf);
    expect(await found([{ ...row, canon, leaf, hash }])).toEqual([['malformed', 1]]);
  }
});

test('lists a thousand findings and counts the rest; a class that comes later is listed all the same', async () => {
  const flood = Array.from({ length: 1_500 }, () => null) as unknown as ChainRow[];
  const report = await verifyChain(flood);
  expect(report.findings).toHaveLength(1_000);
  expect(report.findingCount).toBe(1_500);
  const hidden = await verifyChain(flood, { expectedHead: { seq: 1_501, hash: 'f'.repeat(64) } });
  expect(hidden.findings).toHaveLength(1_001);
  expect(hidden.findings.at(-1)).toMatchObject({ class: 'cut', seq: 1_501 });
  expect(hidden.findingCount).toBe(1_501);
});

test('counts also the broken links that are too many to be compared', async () => {
  const rows = chain(1_200).map((row) => ({ ...row, hash: sha256(row.hash) }));
  expect(await verifyChain(rows)).toMatchObject({ ok: false, findingCount: 1_200 });
});

test.each([
  [
    'inserted',
    (rows: ChainRow[]) => rows.splice(5_100, 0, { ...(rows[5_100] as ChainRow), hash: new Uint8Array(32) }),
  ],
  ['deleted', (rows: ChainRow[]) => rows.splice(5_100, 1)],
  ['reordered', (rows: ChainRow[]) => rows.splice(5_100, 2, ...rows.slice(5_100, 5_102).reverse())],
] as const)('a link that was %s is named behind thousands that were edited', async (what, tamper) => {
  const rows = [...chain(6_000)];
  for (const [at, row] of rows.slice(0, 5_000).entries()) {
    // Each change breaks its own link alone.
    rows[at] = { ...row, canon: String(row.canon).replace('.00', '.01') };
  }
  tamper(rows);
  const renumbered = rows.map((row, at) => ({ ...row, seq: at + 1 }));
  const report = await verifyChain(renumbered);
  expect(new Set(report.findings.map((one) => one.class))).toEqual(new Set(['edited', what]));
  expect(report.findings.find((one) => one.class === what)?.seq).toBeGreaterThan(5_090);
});

test('imports nothing of Node, directly or through another file', () => {
  const source = new URL('../src/', import.meta.url);
  const seen = new Set<string>();
  const visit = (url: URL) => {
    if (seen.has(url.href)) return;
    seen.add(url.href);
    for (const [, from = ''] of readFileSync(url, 'utf8').matchAll(/from '([^']+)'/g)) {
      if (from.startsWith('.')) visit(new URL(from, url));
      else expect(from).toBe('@noble/hashes/sha2.js');
    }
  };
  for (const file of readdirSync(new URL('verify/', source))) visit(new URL(`verify/${file}`, source));
  expect(seen.size).toBeGreaterThan(6);
});
