/**
 * Values for a column as SQL expressions, from its type and from what its CHECK constraints mention: several candidates,
 * of which the server picks a combination that passes. Row numbers give different values, so that keys stay unique.
 */
import { samplePattern } from './sample-pattern.ts';
import type { ColumnStructure, Structure, TypeStructure } from './structure.ts';

/** What CHECK expressions mention: values worth trying. */
export interface Hints {
  readonly numbers: readonly number[];
  readonly strings: readonly string[];
}

/** The hints of several expressions. */
export function hintsOf(expressions: readonly string[]): Hints {
  const numbers = new Set<number>();
  const strings = new Set<string>();
  for (const expression of expressions) {
    for (const [, text = ''] of expression.matchAll(/'((?:[^']|'')*)'/g)) {
      strings.add(text.replaceAll("''", "'"));
      for (const [element] of /^\{.*\}$/s.test(text) ? text.matchAll(/[^{},"]+/g) : []) strings.add(element);
    }
    const bare = expression.replaceAll(/'(?:[^']|'')*'/g, (text) =>
      /^'-?\d+(\.\d+)?'$/.test(text) ? text.slice(1, -1) : ' ',
    );
    for (const [number] of bare.matchAll(/(?<![\w.])-?\d+(?:\.\d+)?/g)) numbers.add(Number(number));
  }
  return { numbers: [...numbers], strings: [...strings] };
}

/** An SQL string literal. */
export function quoted(text: string): string {
  const escaped = text.replaceAll("'", "''");
  return escaped.includes('\\') ? `E'${escaped.replaceAll('\\', '\\\\')}'` : `'${escaped}'`;
}

const NO_HINTS: Hints = { numbers: [], strings: [] };
/** Longest string or byte string built for a CHECK on a length. */
const LONGEST = 8_192;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
const HEX = '0123456789abcdef';

/** Makes candidates; `salt` keeps the values of one probe apart from rows that are there. 32 hex digits. */
export class Sampler {
  readonly #types: Structure['types'];
  readonly #salt: string;
  readonly #number: number;

  constructor(structure: Structure, salt: string) {
    this.#types = structure.types;
    this.#salt = salt;
    this.#number = Number.parseInt(salt.slice(0, 6), 16);
  }

  /** The base type a column's CHECK constraints are evaluated on, and the checks of its domains over `VALUE`. */
  base(column: ColumnStructure): {
    readonly type: string;
    readonly oid: string;
    readonly checks: readonly string[];
  } {
    let { type, typeOid: oid } = column;
    const checks: string[] = [];
    for (
      let domain = this.#types.get(oid);
      domain?.kind === 'domain' && domain.of !== null;
      domain = this.#types.get(oid)
    ) {
      checks.push(...domain.checks);
      type = domain.ofName ?? type;
      oid = domain.of;
    }
    return { type, oid, checks };
  }

  /** True for a type of an extension: its candidates are guesses, of which the server picks the first it takes. */
  isGuess({ typeOid }: ColumnStructure): boolean {
    const type = this.#types.get(typeOid);
    return type?.kind === 'base' && !type.isArray && type.category !== 'S' && type.name.includes('.');
  }

  /** Candidates for row `row`, the most usual first; empty when no value of the type can be built. */
  candidates(oid: string, type: string, row: number, hints: Hints = NO_HINTS): string[] {
    const structure = this.#types.get(oid);
    const texts = structure === undefined ? [] : this.#texts(structure, type, row, hints);
    return [...new Set(texts)].map((text) => `${text}::${type}`);
  }

  #texts(type: TypeStructure, declared: string, row: number, hints: Hints): string[] {
    const { name, kind, category } = type;
    if (kind === 'enum') return rotated(type.labels, row).map(quoted);
    if (kind === 'domain')
      return type.of === null ? [] : this.candidates(type.of, type.ofName ?? '', row, hintsOf(type.checks));
    if (kind === 'composite') return this.#composite(type, row);
    if (type.isArray) return this.#array(type, row, hints);
    if (kind === 'range' || kind === 'multirange') return this.#range(type, row);
    if (category === 'S') return this.#strings(declared, row, hints);
    if (category === 'B') return rotated(['true', 'false'], row);
    const known = this.#known(name, declared, row, hints);
    if (known !== undefined) return known;
    return ['1', '{}', 'a', '0', '[1]', ''].map(quoted); // a type of an extension: the server says which it takes
  }

  #known(name: string, declared: string, row: number, hints: Hints): string[] | undefined {
    const small = row + 1;
    const big = this.#number + row;
    switch (name) {
      case 'uuid':
        return [
          quoted(
            `${this.#salt.slice(0, 8)}-${this.#salt.slice(8, 12)}-4${this.#salt.slice(12, 15)}-8${this.#salt.slice(15, 18)}-${this.#salt.slice(18, 29)}${HEX[row]}`,
          ),
        ];
      case 'smallint':
        return numbers([(big % 32_000) + 1, small], hints, true, 2 ** 15);
      case 'integer':
        return numbers([big + 1, small], hints, true, 2 ** 31);
      case 'bigint':
      case 'oid':
        return numbers([big + 1, small], hints, true);
      case 'numeric':
        return this.#numeric(declared, row, hints);
      case 'real':
      case 'double precision':
        return numbers([small, small / 8], hints, false);
      case 'money':
        return [quoted(String(small))];
      case 'date':
        return this.#moments(row, hints, (day) => day);
      case 'timestamp without time zone':
      case 'timestamp with time zone':
        return this.#moments(row, hints, (day) => `${day} 00:00:0${row}+00`);
      case 'time without time zone':
      case 'time with time zone':
        return [0, 1, 2].map((later) => quoted(`0${later + 1}:00:0${row}+00`));
      case 'interval':
        return [small, small + 4, ...hints.numbers]
          .map((hours) => quoted(`${hours} hours`))
          .concat(hints.strings.filter((text) => /^[\d: a-z]+$/.test(text) && /\d/.test(text)).map(quoted));
      case 'json':
      case 'jsonb':
        return [
          `{"ringfence": ${big}}`,
          '{}',
          '[]',
          `[${big}]`,
          String(small),
          `"${big}"`,
          ...hints.strings.filter(isJson),
        ].map(quoted);
      case 'bytea':
        return [16, ...lengths(hints)].map((length) => quoted(`\\x${this.#hex(length * 2, row)}`));
      case 'inet':
      case 'cidr':
        return [`10.${big % 200}.${(big >> 8) % 200}.${row + 1}`, `2001:db8::${row + 1}`].map(quoted);
      case 'macaddr':
        return [quoted(`02:00:00:${this.#salt.slice(0, 2)}:${this.#salt.slice(2, 4)}:0${row}`)];
      case 'macaddr8':
        return [quoted(`02:00:00:00:00:${this.#salt.slice(0, 2)}:${this.#salt.slice(2, 4)}:0${row}`)];
      case 'bit':
      case 'bit varying': {
        const width = Number(/\((\d+)\)/.exec(declared)?.[1] ?? (name === 'bit' ? 1 : 8));
        const bits = (big % 2 ** Math.min(width, 30)).toString(2).padStart(width, '0');
        return [quoted(bits), quoted('1'.padStart(width, '0')), quoted('0'.repeat(width))];
      }
      case 'point':
        return [quoted(`(${big},${small})`)];
      case 'line':
        return [quoted(`{1,${small},${big}}`)];
      case 'lseg':
      case 'path':
        return [quoted(`[(0,0),(${small},${big})]`)];
      case 'box':
        return [quoted(`(${big},${big}),(${small},${small})`)];
      case 'polygon':
        return [quoted(`((0,0),(0,${small}),(${small},0))`)];
      case 'circle':
        return [quoted(`<(${big},${small}),1>`)];
      case 'tsvector':
      case 'tsquery':
        return [quoted(`ringfence${big}`)];
      case 'xml':
        return [quoted(`<r n="${big}"/>`)];
      case 'pg_lsn':
        return [quoted(`0/${big.toString(16)}`)];
      case 'regclass':
        return [quoted('pg_catalog.pg_class')];
      case 'regtype':
        return [quoted('pg_catalog.int4')];
      case '"char"':
        return [quoted(LETTERS[row] ?? 'z')];
      default:
        return undefined;
    }
  }

  #numeric(declared: string, row: number, hints: Hints): string[] {
    const [, precision, scale = '0'] = /\((\d+)(?:,(-?\d+))?\)/.exec(declared) ?? [];
    if (precision === undefined) return numbers([this.#number + row, row + 1, 0.5], hints, false);
    const whole = Number(precision) - Number(scale);
    const unit = 10 ** -Number(scale);
    const wide = whole >= 9 ? this.#number + row : undefined;
    const tiny = (row + 1) * unit;
    const usual = [...(wide === undefined ? [] : [wide]), ...(whole > 0 ? [row + 1] : []), tiny];
    const fits = (number: number) => Math.abs(number) < 10 ** whole;
    return numbers(
      usual,
      { ...hints, numbers: hints.numbers.filter((number) => fits(Math.abs(number) + 1)) },
      false,
    ).filter((text) => fits(Number(text.slice(1, -1))));
  }

  #moments(row: number, hints: Hints, print: (day: string) => string): string[] {
    const days = [1, 11, 21].map((day) => `2001-01-${String(day + row).padStart(2, '0')}`);
    days.push('1969-07-20', `20${40 + row}-01-01`);
    const today = new Date().toISOString().slice(0, 10);
    return [...days.map(print), ...hints.strings.filter((text) => /^\d{4}-\d\d-\d\d/.test(text)), today].map(
      quoted,
    );
  }

  #strings(declared: string, row: number, hints: Hints): string[] {
    const limit = Number(/\((\d+)\)/.exec(declared)?.[1] ?? LONGEST);
    const base = `${LETTERS[(this.#number + row) % 26]}${this.#salt.slice(0, 11)}`;
    let turn = row;
    const choose = (choices: number) => (choices <= 1 ? 0 : (this.#number + 7 * turn++) % choices);
    const mentioned = rotated(hints.strings, row);
    return [
      base,
      ...mentioned
        .filter((text) => /[\\[^$*+{(]/.test(text))
        .flatMap((text) => [samplePattern(text, choose), samplePattern(text, choose, 3)]),
      ...mentioned,
      base.toUpperCase(),
      ...lengths(hints).flatMap((length) => [
        this.#hex(length, row),
        base.padEnd(length, 'x').slice(0, length),
      ]),
      String(this.#number + row),
      `${base}@example.test`,
      `https://example.test/${base}`,
      '',
    ]
      .filter((text) => text.length <= limit || text === base)
      .map((text) => quoted(text.slice(0, limit)));
  }

  #hex(length: number, row: number): string {
    return `${HEX[row]}${this.#salt}`.repeat(Math.ceil(length / 33)).slice(0, length);
  }

  #array(type: TypeStructure, row: number, hints: Hints): string[] {
    const element = type.of === null ? undefined : this.#types.get(type.of);
    const values = element === undefined ? [] : this.candidates(element.oid, element.name, row, hints);
    const [first] = values;
    if (first === undefined) return [quoted('{}')];
    const repeated = hints.numbers.filter((count) => Number.isInteger(count) && count > 1 && count <= 64);
    const counted = repeated.map(
      (count) => `array[${Array.from({ length: count }, () => first).join(', ')}]`,
    );
    return [...values.slice(0, 8).map((value) => `array[${value}]`), ...counted, quoted('{}')];
  }

  #range(type: TypeStructure, row: number): string[] {
    const of = type.of === null ? undefined : this.#types.get(type.of);
    if (of === undefined) return [];
    if (type.kind === 'multirange') return this.#range(of, row).map((range) => `${type.name}(${range})`);
    const [low] = this.candidates(of.oid, of.name, row);
    return low === undefined ? [] : [`${type.name}(${low}, ${low}, '[]')`];
  }

  #composite(type: TypeStructure, row: number): string[] {
    const values = type.attributes.map(({ type: oid, name }) => this.candidates(oid, name, row)[0] ?? 'null');
    return [`row(${values.join(', ')})`];
  }
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

/** `limit`: a number of that size or more is no value of the type, and would fail the question it is a part of. */
function numbers(
  usual: readonly number[],
  hints: Hints,
  whole: boolean,
  limit: number = Number.POSITIVE_INFINITY,
): string[] {
  const near = hints.numbers.flatMap((number) => [
    number,
    number + 1,
    number - 1,
    number * 1_001,
    ...(whole ? [] : [number + 0.5]),
  ]);
  return [...usual, ...near, 0, -1]
    .filter((number) => (!whole || Number.isInteger(number)) && Math.abs(number) < limit)
    .map((number) => quoted(plain(number)));
}

function plain(number: number): string {
  return Math.abs(number) < 1e-6 && number !== 0 ? number.toFixed(20) : String(number);
}

function lengths(hints: Hints): number[] {
  const near = hints.numbers.flatMap((number) => [number, number + 1, number - 1]);
  return [...new Set(near)].filter((length) => Number.isInteger(length) && length > 0 && length <= LONGEST);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
