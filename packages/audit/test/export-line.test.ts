/** A link line has one reading, whatever stands in its record: the one that splits it from behind. */

import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { LinkLine, readLink, readTail } from '../src/verify/export-line.ts';
import { RecordBytes } from '../src/verify/record-bytes.ts';
import { canonText, headAt, honest, type StoredLink } from './export-corpus.ts';

const [FIRST, SECOND] = honest() as [StoredLink, StoredLink];

interface Read {
  readonly end: number;
  readonly canon: string | null;
  readonly seq: number;
  readonly hash: string;
  readonly id: string;
}

function read(bytes: Buffer, record = new RecordBytes()): Read | undefined {
  const link = new LinkLine();
  const end = readLink(bytes, 0, bytes.length, record, link);
  if (end === -1) return undefined;
  const canon = link.hasRecord ? Buffer.from(record.bytes.subarray(1, record.end)).toString() : null;
  const hash = Buffer.from(link.hash).toString('hex');
  return { end, canon, seq: link.seq, hash, id: link.eventId };
}

/** The grammar of docs/formats/audit-export-v1.md §3 as one pattern. */
function expected(text: string): Read | undefined {
  const end = text.indexOf('\n');
  const line =
    /^\{"canon":(.*),"hash":"([0-9a-f]{64})","id":"([0-9a-f-]{36})","seq":([1-9]\d{0,15})\}$/s.exec(
      text.slice(0, Math.max(0, end)),
    );
  const [, canon = '', hash = '', id = '', seq = ''] = line ?? [];
  const place = { end, seq: Number(seq), hash, id };
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id) || !Number.isSafeInteger(place.seq))
    return undefined;
  if (canon === 'null') return { ...place, canon: null };
  if (canon.startsWith('{')) return { ...place, canon };
  try {
    const value: unknown = JSON.parse(canon);
    const odd = typeof value === 'string' && (!value.startsWith('{') || value.includes('\n'));
    const spelt = JSON.stringify(value) === canon && !canon.includes('\\u0000');
    return odd && spelt ? { ...place, canon: value } : undefined;
  } catch {
    return undefined;
  }
}

const lineOf = (canon: string, { hash, id, seq } = FIRST) =>
  `{"canon":${canon},"hash":"${hash}","id":"${id}","seq":${seq}}\n`;

test('a record that imitates the rest of its line is read as a record to its last byte', () => {
  const { canon } = FIRST;
  const tail = lineOf('').slice('{"canon":'.length, -1);
  for (const forged of [
    canon + tail,
    canon.slice(0, -1) + tail,
    `{"a":"${tail}`,
    `${canon} `,
    `{${tail}`,
    '{',
  ]) {
    expect(read(Buffer.from(lineOf(forged, SECOND)))).toMatchObject({ canon: forged, seq: 2 });
  }
});

test('a string that could have stood for itself is no second spelling of a line', () => {
  expect(read(Buffer.from(lineOf(JSON.stringify(FIRST.canon))))).toBe(undefined);
  for (const text of ['', 'x', '"', '\n{}', '{"a":1}\n', '\u0001', 'null']) {
    expect(canonText(text).startsWith('"')).toBe(true);
    expect(read(Buffer.from(lineOf(canonText(text))))?.canon).toBe(text);
  }
});

test('lines that were changed anywhere are read as the grammar says, one after the other', () => {
  const record = new RecordBytes();
  const piece = fc.constantFrom(
    '"',
    '\\',
    '\\\\',
    '{',
    '}',
    '\n',
    ',',
    '0',
    'null',
    ',"hash":"',
    '","id":"',
    '","seq":',
    '"}',
    'é',
  );
  const canon = fc.oneof(
    fc.constantFrom(FIRST.canon, '{}', 'null', '""', '"x"', '"{"', JSON.stringify(FIRST.canon)),
    fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('')),
    fc.string({ unit: 'grapheme' }).map((text) => JSON.stringify(text)),
  );
  fc.assert(
    fc.property(canon, fc.nat(), fc.nat(3), fc.oneof(piece, fc.constant('')), (text, place, cut, put) => {
      const line = lineOf(text);
      const at = place % line.length;
      // As bytes and back: no half of a surrogate pair is left.
      const changed = Buffer.from(`${line.slice(0, at)}${put}${line.slice(at + cut)}`).toString();
      for (const one of [line, changed]) {
        const bytes = Buffer.from(`${one}\n`);
        const found = read(bytes, record);
        const grammar = expected(`${one}\n`);
        expect(found?.end).toBe(grammar && Buffer.from(one.slice(0, grammar.end)).length);
        expect({ ...found, end: 0 }).toEqual({ ...grammar, end: 0 });
      }
    }),
    { numRuns: 5_000 },
  );
});

test('the head that a line claims is read from its end alone', () => {
  const log = honest();
  const lines = Buffer.from(log.map((link) => lineOf(link.canon, link)).join(''));
  expect(readTail(lines)).toEqual(headAt(log, log.length));
  for (const odd of ['', '\n', '{"end":1}\n', lineOf('{}').replace('"seq":', '"sea":')]) {
    expect(readTail(Buffer.from(odd)), odd).toBe(undefined);
  }
});
