/**
 * Logs for two verifiers to disagree about: pruned, erased, personal and captured events, prunings told rightly and wrongly, parts
 * of logs, places up to 2^53 - 1; then changed as a record and sealed again, as links, as lines and as bytes. Most have one
 * change or two: with more, every verifier finds something.
 */
import { createHash } from 'node:crypto';
import type { ChainHead } from '../src/index.ts';
import { ORG_A } from './fixture.ts';

/** An export and heads that somebody kept. */
export interface MutatedExport {
  readonly data: Buffer;
  readonly heads: readonly ChainHead[];
}

interface Row {
  seq: number;
  id: string;
  canon: Buffer;
  leaf: Buffer;
  hash: Buffer;
  /** How it stands in its line. */
  form: 'record' | 'text' | 'gone' | 'pruned';
}

type Pick = <T>(choices: readonly T[]) => T;
interface Dice {
  readonly below: (limit: number) => number;
  readonly pick: Pick;
}

const LAST = Number.MAX_SAFE_INTEGER;
const sha256 = (...parts: readonly (string | Uint8Array)[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
const leafOf = (canon: Uint8Array) => sha256(Uint8Array.of(0), canon);
const ORG_BYTES = Buffer.from(ORG_A.replaceAll('-', ''), 'hex');

function linkOf(seq: number, previous: Uint8Array, leaf: Uint8Array): Buffer {
  const place = Buffer.alloc(8);
  place.writeBigInt64BE(BigInt(seq));
  return sha256(Uint8Array.of(2), ORG_BYTES, place, previous, leaf);
}

/** mulberry32. */
function diceOf(seed: number): Dice {
  let state = seed;
  const below = (limit: number) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  };
  return { below, pick: (choices) => choices[below(choices.length)] as never };
}

const idOf = (number: number) => `0190f5d2-7b1c-7d34-9a51-${String(number).padStart(12, '0')}`;
const AT = '2026-03-03T10:11:12.131415Z';
interface Members {
  readonly actor?: string;
  readonly at?: string;
  readonly id?: string;
  readonly org?: string;
  readonly request?: string;
}
const recordOf = (number: number, event: string, members: Members = {}) => {
  const { actor = '"user:1"', at = AT, id = idOf(number), org = ORG_A, request = 'null' } = members;
  return Buffer.from(
    `{"actor":${actor},"at":"${at}","event":${event},"id":"${id}","org":"${org}","request":${request},"v":1}`,
  );
};

const nested = (open: string, close: string, depth: number, inner = '') =>
  open.repeat(depth) + inner + close.repeat(depth);
/** Values that parsers disagree about. */
const VALUES = [
  '{}', '[]', '{"a":1,"a":1}', '{"b":1,"a":1}', '{"":0}', '{"":0,"":0}', '[1,]', '{"a":1,}', '{ }', '{"a": 1}', '00', '-0', '0.0', '1e5', '1E400', '+1', '.5',
  '9007199254740991', '-9007199254740991', '9007199254740992', '-9007199254740992', `1${'0'.repeat(15)}`, `1${'0'.repeat(16)}`, '9'.repeat(5_000),
  'true', 'True', 'nul', 'NaN', 'Infinity', '-Infinity', '"\\ud800"', '"\\ud83d\\ude00"', '"😀"', '"\u007f"', '"\u0080"', '"\ufeff"', '"\uffff"', '"\u2028"', '"\\u2028"',
  '"\\u0000"', '"\\u0007"', '"\\u0008"', '"\\b"', '"\\u001f"', '"\\u001F"', '"\\/"', '{"\ud83d\ude00":1,"\uff5e":2}', '{"\uff5e":1,"\ud83d\ude00":2}', '{"é":1,"è":2}', '{"è":1,"é":2}',
  '{"\\n":1,"\\r":2}', '{"\\"":1,"#":2}', '{"!":1,"\\"":2}', '{"[":1,"\\\\":2,"]":3}', '{"a\\t":1,"a\\u000b":2}', '{"type":"log.pruned"}',
  ...[29, 30, 31, 32].map((depth) => nested('[', ']', depth)), ...[29, 30, 31].map((depth) => nested('{"a":', '}', depth, '{}')), '['.repeat(3_000), nested('[', ']', 60_000),
]; // biome-ignore format: a list of values

const EVENTS: readonly ((value: string) => string)[] = [
  (value) => `{"data":${value},"outcome":"success","type":"entry.posted"}`,
  (value) => `{"data":{"v":${value}},"type":"row.inserted"}`,
  () => '{"outcome":"success","target":{"id":"e1","type":"entry"},"type":"entry.approved"}',
  () => `{"data":{},"outcome":"success","personal":{"fields":{"data.email":"${'a'.repeat(64)}"},"subject":"u-7"},"type":"member.changed"}`,
  () => `{"data":{"certificate":"${'b'.repeat(64)}","fields":2},"outcome":"success","target":{"id":"u-7","type":"subject"},"type":"subject.erased"}`,
  () => '{"changes":{"status":{"from":"a","to":"b"}},"data":{"session_user":"x"},"target":{"id":"1","type":"entry"},"type":"row.updated"}',
]; // biome-ignore format: a list of events
const ODD_EVENTS = [
  '{}',
  '{"type":1}',
  '{"type":["log.pruned"]}',
  '{"target":null,"type":"x"}',
  '[]',
  'null',
  '"x"',
  '1',
];

/** The event of a pruning of the rows up to a place, mostly as it should be. */
function pruning({ below, pick }: Dice, rows: readonly Row[], gone: number): string {
  const through = below(9) > 0 ? gone : pick([gone + 1, gone - 1, below(12)]);
  const link = rows.find(({ seq }) => seq === through)?.hash.toString('hex') ?? 'c'.repeat(64);
  const hash = below(9) > 0 ? `"${link}"` : pick([`"${link.toUpperCase()}"`, `"${link}\\n"`, `"${link.slice(1)}"`, `"${'d'.repeat(64)}"`, 'null', '1', `["${link}"]`]);
  const number = below(9) > 0 ? `${through}` : pick([`"${through}"`, 'true', 'null', '-1', '0', `${LAST}`, '[1]', '{}']);
  const data = below(9) > 0 ? `{"hash":${hash},"policy":"p","through":${number}}` : pick([`{"hash":${hash},"through":${number}}`, `{"through":${number}}`, `{"hash":${hash}}`, '[]', 'null', '"x"']);
  return below(9) > 0
    ? `{"data":${data},"outcome":"success","type":"log.pruned"}`
    : pick(['{"type":"log.pruned"}', `{"data":${data},"type":"log.pruned","x":{"type":"a"}}`, `{"data":${data},"type":"log.\\u0070runed"}`]);
} // biome-ignore format: choices

/** A record that is sealed, and that the format may not allow. */
function oddRecord({ below, pick }: Dice, { canon }: Row, number: number): Buffer {
  const put = (at: number, bytes: readonly number[] | string) =>
    Buffer.concat([canon.subarray(0, at), Buffer.from(bytes as string), canon.subarray(at)]);
  const x = '{"type":"x"}';
  const line = `,"hash":"${'a'.repeat(64)}","id":"${idOf(2)}","seq":2}`;
  return pick<() => Buffer>([
    () => recordOf(number, pick(EVENTS)(pick(VALUES))),
    () => recordOf(number, pick(EVENTS)(pick(VALUES))),
    () => recordOf(number, pick(EVENTS)(pick(VALUES))),
    () => recordOf(number, pick(ODD_EVENTS)),
    () => recordOf(number, x, { at: pick(['2026-13-45T99:99:99.999999Z', AT.replace('5Z', 'Z'), AT.toLowerCase(), '٢٠٢٦-03-03T10:11:12.131415Z', AT.replace('T', ' ')]) }),
    () => recordOf(number, x, { request: pick(['""', '"r"', '1', 'true', '"\\u0000"', '{}', 'nulll', '"\\ud800"']) }),
    () => recordOf(number, x, { id: pick([idOf(99), idOf(1).toUpperCase(), 'x']) }),
    () => recordOf(number, x, { org: pick([ORG_A.replace('0', '1'), ORG_A.toUpperCase()]) }),
    () => recordOf(number, x, { actor: pick(['""', '"é"', '1', 'null', '"\\u0001"', '"\\ud800"', '"a\\nb"']) }),
    () => put(30, pick<readonly number[]>([[0xed, 0xa0, 0x80], [0], [10], [0xff], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80]])),
    () => put(0, pick(['\ufeff', ' ', '\n'])),
    () => put(canon.length, pick([' ', '\n', '\r', '\0', '}', ',', line])),
    () => Buffer.from(pick(['', '{', '{}', '[]', 'null', '"', '\u0001'])),
    () => recordOf(number, `{"data":{"x":"${'y'.repeat(pick([65_000, 65_000, 1_048_576 - 345 - below(60)]))}"},"type":"x"}`),
    () => recordOf(number, `{"data":{"x":${JSON.stringify(line)}},"type":"x"}`),
  ])();
} // biome-ignore format: choices

function seal(rows: readonly Row[], from: number, start: Buffer): void {
  let previous = rows[from - 1]?.hash ?? start;
  for (const row of rows.slice(from)) {
    if (row.seq > 0) row.hash = linkOf(row.seq, previous, row.leaf);
    previous = row.hash;
  }
}

/** What an operator does to links, sealed again or not. */
function changeRows({ below, pick }: Dice, rows: Row[], start: Buffer, base: number): void {
  const at = below(rows.length);
  const row = rows[at];
  if (row === undefined) return;
  const made = recordOf(500 + at, '{"type":"x"}');
  pick<() => unknown>([
    () => rows.splice(at, 1 + below(3)),
    () => rows.splice(at, 0, { ...row }),
    () => rows.splice(below(rows.length), 0, ...rows.splice(at, 1)),
    () => rows.splice(at, 0, { seq: row.seq, id: idOf(500 + at), canon: made, leaf: leafOf(made), hash: sha256('x'), form: 'record' }),
    () => rows.reverse(),
    () => (row.form = pick(['gone', 'pruned', 'pruned', 'record', 'text'] as const)),
    () => rows.slice(at, at + below(4)).map((one) => Object.assign(one, { form: 'pruned' })),
    () => (row.leaf = sha256('leaf')),
    () => (row.hash = pick([sha256('hash'), pick(rows).hash])),
    () => (row.seq = pick([0, 1, row.seq + 1, row.seq - 1, LAST, row.seq + 8, below(40)])),
    () => (row.id = pick([idOf(77), rows[0]?.id ?? ''])),
    () => Object.assign(row, { canon: made, leaf: leafOf(made) }),
  ])();
  if (below(2) === 0) return;
  if (below(2) === 0 && base + rows.length <= LAST) for (const [index, one] of rows.entries()) one.seq = base + index + 1;
  seal(rows, Math.min(at, rows.length), start);
} // biome-ignore format: choices

function lineOf({ seq, id, canon, leaf, hash, form }: Row): Buffer {
  const tail = `,"hash":"${hash.toString('hex')}","id":"${id}"`;
  const kept = form === 'pruned' ? `,"leaf":"${leaf.toString('hex')}"` : '';
  const isText = form === 'text' || canon[0] !== 0x7b || canon.includes(0x0a);
  const record = isText ? Buffer.from(JSON.stringify(canon.toString())) : canon;
  const said = form === 'gone' || form === 'pruned' ? Buffer.from('null') : record;
  return Buffer.concat([Buffer.from('{"canon":'), said, Buffer.from(`${tail}${kept},"seq":${seq}}`)]);
}

const NOTES = ['{"note":"x"}', '{"note":""}', '{"note":"o/x\\n3\\nabc=\\n\\n— key AAAA\\n"}', '{"note":"\\u0001"}', '{"note":"\\u000a"}', `{"note":"${'x'.repeat(70_000)}"}`, '{"note": "x"}', '{"note":null}']; // biome-ignore format: a list

/** What an editor, a mail or a copying does to lines. */
function changeLines({ below, pick }: Dice, lines: readonly Buffer[]): Buffer[] {
  const at = below(lines.length);
  const line = lines[at] ?? Buffer.alloc(0);
  const edit = (from: string | RegExp, to: string) =>
    lines.with(at, Buffer.from(line.toString('latin1').replace(from, to), 'latin1'));
  const leaf = `,"leaf":"${'a'.repeat(64)}"`;
  return pick<() => Buffer[]>([
    () => lines.toSpliced(at, 1),
    () => lines.toSpliced(below(lines.length), 0, line),
    () => lines.with(at, Buffer.concat([line, Buffer.from(pick(['\r', ' ', '\t', '\0', '\ufeff', '\u00a0', ',']))])),
    () => lines.with(at, Buffer.concat([Buffer.from(pick(['\ufeff', ' ', '\0', '\r', '\n', '[', '\u2028'])), line])),
    () => lines.map((one) => Buffer.concat([one, Buffer.from('\r')])),
    () => lines.toSpliced(at, 0, Buffer.alloc(pick([0, 1, 300, 301, 1_048_576, 1_048_577]), pick(['x', ' ', '{', '\0']))),
    () => [...lines, ...lines],
    () => [...lines.slice(0, -1), ...lines],
    () => lines.toReversed(),
    () => edit(/"seq":\d+/, `"seq":${pick(['01', '0', '-1', `${LAST}`, '9007199254740992', '9'.repeat(16), '9'.repeat(17), '1.0', '"1"', '1 '])}`),
    () => edit(/"hash":"./, `"hash":"${pick(['A', 'g', 'é', '/', ':', '`'])}`),
    () => edit('"canon":', pick(['"canon": ', '"canon":null,"canon":', '"kanon":', '"canon":"",'])),
    () => edit(',"leaf":"', pick([',"leaf": "', ',"Leaf":"', `${leaf},"leaf":"`, ',"leaf":null,"x":"'])),
    () => edit('{"canon":{', `{"canon":null,"hash":"${'a'.repeat(64)}","id":"${idOf(1)}"${leaf},"seq":1}{`),
    () => edit('"v":1', pick(['"v":2', '"v":1,"x":1', '"v": 1', '"v":1.0'])),
  ])();
} // biome-ignore format: choices

function changeBytes({ below, pick }: Dice, data: Buffer): Buffer {
  const at = below(data.length + 1);
  const put = (bytes: Uint8Array, skip = 0) => Buffer.concat([data.subarray(0, at), bytes, data.subarray(at + skip)]);
  return pick([
    () => data.subarray(0, at),
    () => put(Buffer.from([below(256)]), below(2)),
    () => put(new Uint8Array(), 1 + below(3)),
    () => put(Buffer.from(pick(['\0', '\r\n', '\n', '\ufeff', '\\u0000', '"', '}', '{"end":', '🙂']))),
  ])();
} // biome-ignore format: choices

/** The case of a number: the same each time. */
export function mutatedExport(seed: number): MutatedExport {
  const dice = diceOf(seed);
  const { below, pick } = dice;
  const base = below(3) > 0 ? 0 : pick([below(30), LAST - below(20)]);
  const start = base === 0 ? Buffer.alloc(32) : sha256('start');
  const length = Math.min(3 + below(14), LAST - base);
  const gone = below(3) > 0 ? below(length + 1) : 0;
  const telling = gone + below(length - gone + 2);
  const rows: Row[] = [];
  for (let index = 0; index < length; index++) {
    const event = index === telling ? pruning(dice, rows, base + gone) : pick(EVENTS)('{"a":"b"}');
    const canon = recordOf(index + 1, event);
    const [seq, leaf] = [base + index + 1, leafOf(canon)];
    const hash = linkOf(seq, rows.at(-1)?.hash ?? start, leaf);
    rows.push({ seq, id: idOf(index + 1), canon, leaf, hash, form: index < gone ? 'pruned' : 'record' });
  }
  const heads = Array.from({ length: below(3) }, () => pick(rows)).flatMap((row) =>
    row === undefined
      ? []
      : [{ seq: row.seq, hash: (below(12) === 0 ? sha256('o') : row.hash).toString('hex') }],
  );
  if (base > 0 && below(2) === 0) heads.push({ seq: base, hash: start.toString('hex') });
  const odd = below(rows.length);
  const row = rows[odd];
  if (row !== undefined && below(3) === 0) {
    row.canon = oddRecord(dice, row, odd + 1);
    row.leaf = leafOf(row.canon);
    if (below(8) === 0) row.form = 'text';
    if (below(4) > 0) seal(rows, odd, start);
  }
  for (let changes = pick([0, 0, 0, 1, 1, 2, 3]); changes > 0; changes--) changeRows(dice, rows, start, base);
  const last = rows.at(-1);
  const end = below(30) === 0 ? pick([0, base, LAST]) : (last?.seq ?? base);
  const endHash = (below(40) === 0 ? sha256('end') : (last?.hash ?? start)).toString('hex');
  const notes = below(40) === 0 ? pick([999, 1_000, 1_001]) : pick([0, 0, 0, 1, 2]);
  let lines: readonly Buffer[] = [
    Buffer.from(`{"format":"ringfence-audit-export","from":{"hash":"${start.toString('hex')}","seq":${base}},"org":"${ORG_A}","v":1}`),
    ...Array.from({ length: notes }, () => Buffer.from(notes > 2 ? '{"note":"n"}' : pick(NOTES))),
    ...rows.map(lineOf),
    Buffer.from(`{"end":{"hash":"${endHash}","seq":${end}}}`),
  ]; // biome-ignore format: lines as they are
  for (let changes = pick([0, 0, 0, 0, 1, 2]); changes > 0; changes--) lines = changeLines(dice, lines);
  let data: Buffer = Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')]));
  if (below(12) === 0)
    for (let changes = 1 + below(3); changes > 0; changes--) data = changeBytes(dice, data);
  return { data, heads };
}
