/**
 * Reads the lines of an export byte by byte: there is one spelling of each (docs/formats/audit-export-v1.md §3).
 * Invariant: never throws; what is not such a line is undefined.
 */
import { bytesOf, isDigit, NULL, QUOTE, standsAt } from './canonical-bytes.ts';
import { copyText, DIGEST, type FixedText, fixedText, hasForm, isAt, UUID, wordsOf } from './fixed-form.ts';
import { toHex } from './link.ts';
import { RecordBytes } from './record-bytes.ts';
import type { ChainHead } from './report.ts';

const LF = 0x0a;
const HEADER =
  /^\{"format":"ringfence-audit-export","from":\{"hash":"([0-9a-f]{64})","seq":(0|[1-9]\d{0,15})\},"org":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})","v":1\}$/;
const END = /^\{"end":\{"hash":"([0-9a-f]{64})","seq":(0|[1-9]\d{0,15})\}\}$/;
/** Longest header or end line, bytes. */
const SHORT_LINE = 300;

const CANON = fixedText('{"canon":');
const NOTE = bytesOf('{"note":"');
const NOTE_END = bytesOf('"}');
const HASH = fixedText(',"hash":"');
const ID = fixedText('","id":"');
const LEAF = fixedText('","leaf":"');
const SEQ = fixedText('","seq":');
/** From the end of a record to its number. */
const NUMBER_AT = HASH.length + 64 + ID.length + 36 + SEQ.length;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** First line. */
export interface ExportHeader {
  /** Organisation. */
  readonly org: string;
  /** Head behind which the links begin. */
  readonly from: ChainHead;
}

/** One link line, used again for the next; its record is in the RecordBytes handed in. */
export class LinkLine {
  /** Number in the chain. */
  seq = 0;
  /** Id of the event; valid until the next line. */
  readonly id: FixedText = { length: UUID.length, words: new Int32Array(UUID.length / 4) };
  /** Stored link; valid until the next line. */
  readonly hash: Uint8Array = new Uint8Array(32);
  /** False for a link without a record. */
  hasRecord = false;
  /** What is left of a record that was pruned; valid until the next line. */
  leaf: Uint8Array | null = null;
  readonly #leaf = new Uint8Array(32);

  /** Takes the leaf of 64 hex digits at a place; false when others stand there. */
  takeLeaf(words: DataView, at: number): boolean {
    this.leaf = this.#leaf;
    return copyHash(words, at, this.#leaf);
  }

  /** Id of the event. */
  get eventId(): string {
    const bytes = new DataView(new ArrayBuffer(UUID.length));
    for (const [index, word] of this.id.words.entries()) bytes.setInt32(4 * index, word, true);
    return String.fromCharCode(...new Uint8Array(bytes.buffer));
  }
}

/** The header in a line. */
export function readHeader(line: Uint8Array): ExportHeader | undefined {
  const [matched, hash = '', seq = '', org = ''] = HEADER.exec(shortText(line)) ?? [];
  const from = headOf(hash, seq);
  return matched === undefined || from === undefined ? undefined : { org, from };
}

/** The head in an end line. */
export function readEnd(line: Uint8Array): ChainHead | undefined {
  const [, hash = '', seq = ''] = END.exec(shortText(line)) ?? [];
  return headOf(hash, seq);
}

/** The text of a note line. */
export function readNote(line: Uint8Array): string | undefined {
  const to = line.length - NOTE_END.length;
  if (!standsAt(line, 0, NOTE) || to < NOTE.length || !standsAt(line, to, NOTE_END)) return undefined;
  const text = new RecordBytes();
  if (text.setEscaped(line, NOTE.length, line.length) !== to) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      text.bytes.subarray(1, text.end),
    );
  } catch {
    return undefined; // not UTF-8
  }
}

/**
 * Reads the link line that begins at `from`. Answers where its LF stands, or -1 when no link line ends before `to`. Some LF must
 * stand behind `from`: it stops every scan.
 *
 * A canonical record shows where it ends. For any other the line is read from behind: hash, id and number have one form, so
 * the record ends where they begin, whatever is in it.
 */
export function readLink(
  source: Uint8Array,
  from: number,
  to: number,
  record: RecordBytes,
  link: LinkLine,
): number {
  const words = record.scan.wordsOf(source);
  if (!isAt(words, from, CANON)) return -1;
  const canonAt = from + CANON.length;
  const canonical = source[canonAt] === OPEN ? record.setCanonical(source, canonAt) : -1;
  const placeEnd = canonical < 0 ? -1 : numberEnd(source, canonical + NUMBER_AT) + 1;
  if (placeEnd > 0 && placeEnd < to && source[placeEnd] === LF) {
    link.hasRecord = true;
    if (readPlace(source, words, canonical, placeEnd, link) !== -1) return placeEnd;
  }
  const end = source.indexOf(LF, from);
  if (end === -1 || end >= to) return -1;
  const canonEnd = readPlace(source, words, canonAt, end, link);
  if (canonEnd === -1 || !readCanon(source, words, canonAt, canonEnd, record, link)) return -1;
  return end;
}

/** The head that the last of these lines claims, each with its LF; undefined when that does not end as a link line does. */
export function readTail(lines: Uint8Array): ChainHead | undefined {
  const end = lines.length - 1;
  const link = new LinkLine();
  if (lines[end] !== LF || readPlace(lines, wordsOf(lines), 0, end, link) === -1) return undefined;
  return { seq: link.seq, hash: toHex(link.hash) };
}

/** Behind the digits that begin at a place. */
function numberEnd(source: Uint8Array, from: number): number {
  let at = from;
  while (isDigit(source[at] as number)) at++;
  return at;
}

/** Reads hash, id and number, which end at `end`, and answers where they begin; -1 when they do not stand there. */
function readPlace(line: Uint8Array, words: DataView, least: number, end: number, link: LinkLine): number {
  const to = end - 1;
  let seqAt = to;
  while (seqAt > least && isDigit(line[seqAt - 1] as number)) seqAt--;
  link.leaf = null;
  let idEnd = seqAt - SEQ.length;
  const leafAt = idEnd - 64;
  if (leafAt - LEAF.length > least && isAt(words, leafAt - LEAF.length, LEAF)) {
    if (!link.takeLeaf(words, leafAt)) return -1;
    idEnd = leafAt - LEAF.length;
  }
  const idAt = idEnd - 36;
  const hashAt = idAt - ID.length - 64;
  const at = hashAt - HASH.length;
  if (at < least || line[to] !== CLOSE || !isAt(words, at, HASH)) return -1;
  if (!isAt(words, idAt - ID.length, ID) || !isAt(words, seqAt - SEQ.length, SEQ)) return -1;
  const seq = placeOf(line, seqAt, to);
  if (seq === undefined || !copyHash(words, hashAt, link.hash) || !hasForm(words, idAt, UUID)) return -1;
  copyText(words, idAt, link.id);
  link.seq = seq;
  return at;
}

/** Reads the record: itself, as a string where it could be no line, or null. Only null has a leaf beside it. */
function readCanon(
  source: Uint8Array,
  words: DataView,
  from: number,
  to: number,
  record: RecordBytes,
  link: LinkLine,
): boolean {
  link.hasRecord = link.leaf === null;
  if (source[from] === OPEN && link.hasRecord) {
    record.setBytes(source, from, to);
    return true;
  }
  if (source[from] === QUOTE && link.hasRecord) {
    return record.setEscaped(source, from + 1, to) === to - 1 && !standsForItself(record);
  }
  link.hasRecord = false;
  return to - from === NULL.length && isAt(words, from, NULL);
}

/** One spelling of each: what can stand in a line as it is may not be a string. */
function standsForItself({ bytes, end }: RecordBytes): boolean {
  const lineFeed = bytes.indexOf(LF, 1);
  return end > 1 && bytes[1] === OPEN && (lineFeed === -1 || lineFeed >= end);
}

function headOf(hash: string, digits: string): ChainHead | undefined {
  const seq = Number(digits);
  return digits === '' || !Number.isSafeInteger(seq) ? undefined : { seq, hash };
}

function shortText(line: Uint8Array): string {
  return line.length > SHORT_LINE ? '' : String.fromCharCode(...line);
}

function placeOf(line: Uint8Array, from: number, to: number): number | undefined {
  if (to === from || to - from > 16 || line[from] === 0x30) return undefined;
  let seq = 0;
  for (let at = from; at < to; at++) seq = seq * 10 + ((line[at] as number) - 0x30);
  return Number.isSafeInteger(seq) ? seq : undefined;
}

/** Reads 64 hex digits, four at a time; false when others stand there. */
function copyHash(words: DataView, at: number, hash: Uint8Array): boolean {
  if (!hasForm(words, at, DIGEST)) return false;
  for (let index = 0; index < 32; index += 2) {
    const digits = words.getInt32(at + 2 * index, true);
    const values = (digits & 0x0f0f0f0f) + 9 * ((digits >>> 6) & 0x01010101);
    hash[index] = (values << 4) | (values >>> 8);
    hash[index + 1] = ((values >>> 12) & 0xf0) | (values >>> 24);
  }
  return true;
}
