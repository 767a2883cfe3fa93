/**
 * Reads a record without building values: is it the one spelling that docs/formats/audit-chain-v1.md §1 and §2 allow, where
 * does it end, and where do its members stand? One pass over the bytes, several times as fast as parsing and encoding again.
 * Invariant: never throws, and accepts exactly what parsing and canonical encoding would give back unchanged.
 */
import { MAX_DEPTH } from '../canonical-json.ts';
import { NULL, namesInOrder, QUOTE, scalarEnd, stringEnd } from './canonical-bytes.ts';
import { fixedText, hasForm, isAt, TIME, UUID, wordsOf } from './fixed-form.ts';

const ACTOR = fixedText('{"actor":');
const AT = fixedText(',"at":"');
const EVENT = fixedText('","event":{');
const ID = fixedText(',"id":"');
const ORG = fixedText('","org":"');
const REQUEST = fixedText('","request":');
const VERSION = fixedText(',"v":1}');
const TYPE = fixedText('"type"');
const TARGET = fixedText('"target"');
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Reads one record after the other. A control character must stand behind it: it stops every scan. */
export class RecordScan {
  /** First byte of the actor, with quote. */
  actorAt = 0;
  /** First byte of the time, without quote. */
  timeAt = 0;
  /** First byte of the event's id. */
  idAt = 0;
  /** First byte of the organisation. */
  orgAt = 0;
  /** Value of the event's member `type`, from its first byte; 0 when there is none. */
  typeAt = 0;
  /** Behind it. */
  typeEnd = 0;
  /** Value of the event's member `target`, from its first byte; 0 when there is none. */
  targetAt = 0;
  /** Behind it. */
  targetEnd = 0;
  /** What closes the object or array at each depth, and where the last name in it stands. */
  readonly #closes = new Uint8Array(MAX_DEPTH);
  readonly #nameFrom = new Int32Array(MAX_DEPTH);
  readonly #nameTo = new Int32Array(MAX_DEPTH);
  #bytes: Uint8Array = new Uint8Array();
  /** They again, to be read four at a time. */
  #words: DataView = wordsOf(this.#bytes);

  /**
   * Behind the canonical record that begins at `from`; else the place from which it is none, as its complement, which is
   * negative.
   */
  endOf(bytes: Uint8Array, from: number): number {
    const words = this.wordsOf(bytes);
    this.typeAt = 0;
    this.targetAt = 0;
    if (!isAt(words, from, ACTOR)) return ~from;
    this.actorAt = from + ACTOR.length;
    let at = stringEnd(bytes, words, this.actorAt);
    if (at < 0) return at;
    if (at === this.actorAt + 2) return ~at;
    this.timeAt = at + AT.length;
    if (!isAt(words, at, AT) || !hasForm(words, this.timeAt, TIME)) return ~at;
    at = this.timeAt + TIME.length;
    if (!isAt(words, at, EVENT)) return ~at;
    at = this.#eventEnd(bytes, words, at + EVENT.length);
    if (at < 0) return at;
    this.idAt = at + ID.length;
    if (!isAt(words, at, ID) || !hasForm(words, this.idAt, UUID)) return ~at;
    at = this.idAt + UUID.length;
    this.orgAt = at + ORG.length;
    if (!isAt(words, at, ORG) || !hasForm(words, this.orgAt, UUID)) return ~at;
    at = this.orgAt + UUID.length;
    if (!isAt(words, at, REQUEST)) return ~at;
    at += REQUEST.length;
    if (bytes[at] === QUOTE) at = stringEnd(bytes, words, at);
    else at = isAt(words, at, NULL) ? at + NULL.length : ~at;
    if (at < 0) return at;
    return isAt(words, at, VERSION) ? at + VERSION.length : ~at;
  }

  /** The bytes to be read four at a time; of the last that were asked for. */
  wordsOf(bytes: Uint8Array): DataView {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#words = wordsOf(bytes);
    }
    return this.#words;
  }

  /** Moves the places along with the record. */
  moveBy(distance: number): void {
    this.actorAt += distance;
    this.timeAt += distance;
    this.idAt += distance;
    this.orgAt += distance;
    if (this.typeAt !== 0) this.typeAt += distance;
    if (this.targetAt !== 0) this.targetAt += distance;
    this.typeEnd += distance;
    this.targetEnd += distance;
  }

  /** Behind the event whose first member would stand at `at`; else the complement of where it is none. */
  #eventEnd(bytes: Uint8Array, words: DataView, begin: number): number {
    const closes = this.#closes;
    const nameFrom = this.#nameFrom;
    const nameTo = this.#nameTo;
    let at = begin;
    let depth = 0;
    let close = CLOSE_OBJECT;
    if (bytes[at] === close) return at + 1;
    closes[0] = close;
    nameTo[0] = 0;
    for (;;) {
      if (close === CLOSE_OBJECT) {
        const from = at;
        at = stringEnd(bytes, words, at);
        if (at < 0) return at;
        const lastTo = nameTo[depth] as number;
        if (lastTo !== 0 && !namesInOrder(bytes, nameFrom[depth] as number, lastTo, from, at)) return ~at;
        nameFrom[depth] = from;
        nameTo[depth] = at;
        if (bytes[at] !== COLON) return ~at;
        at++;
      }
      const byte = bytes[at] as number;
      if (byte === QUOTE) at = stringEnd(bytes, words, at);
      else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        if (++depth >= MAX_DEPTH) return ~at;
        at++;
        close = byte + 2; // '}' and ']' stand two places behind '{' and '['
        if (bytes[at] !== close) {
          closes[depth] = close;
          nameTo[depth] = 0;
          continue;
        }
        at++;
        depth--;
        close = closes[depth] as number;
      } else at = scalarEnd(bytes, words, at, byte);
      if (at < 0) return at;
      if (depth === 0) this.#note(words, nameFrom[0] as number, nameTo[0] as number, at);
      while (bytes[at] !== COMMA) {
        if (bytes[at] !== close) return ~at;
        at++;
        if (depth === 0) return at;
        depth--;
        close = closes[depth] as number;
        if (depth === 0) this.#note(words, nameFrom[0] as number, nameTo[0] as number, at);
      }
      at++;
    }
  }

  /** Remembers the members of the event that columns repeat. */
  #note(words: DataView, nameFrom: number, nameTo: number, to: number): void {
    const length = nameTo - nameFrom;
    if (length === TYPE.length && isAt(words, nameFrom, TYPE)) {
      this.typeAt = nameTo + 1;
      this.typeEnd = to;
    } else if (length === TARGET.length && isAt(words, nameFrom, TARGET)) {
      this.targetAt = nameTo + 1;
      this.targetEnd = to;
    }
  }
}
