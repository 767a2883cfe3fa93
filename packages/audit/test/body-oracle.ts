/** What the gate for bodies is judged by, and the texts it is judged on. */
import fc from '../../../tools/fuzz.ts';
import { canonicalize } from '../src/index.ts';
import { RecordBytes } from '../src/verify/record-bytes.ts';
import { ORG_A } from './fixture.ts';

/** What `canonicalize` says: parsed and encoded again, it is the same text. */
export function isCanonical(body: string): boolean {
  try {
    const value = parsed(body);
    return (
      typeof value === 'object' && value !== null && !Array.isArray(value) && canonicalize(value) === body
    );
  } catch {
    return false;
  }
}

/**
 * The value of a text. Names are parsed one by one and take the place of their code units in hexadecimal meanwhile, because
 * V8 14.6 (Node 26) takes an escaped name for one that an object before had, when the text of it begins like that: after
 * `JSON.parse('{"\\\\":1}')`, `JSON.parse('{"\\n":1}')` has the name of the first.
 */
export function parsed(text: string): unknown {
  const named = text.replace(/("(?:[^"\\]|\\.)*")(\s*:)?/gs, (whole, literal: string, colon?: string) => {
    if (colon === undefined) return whole;
    const units = [...(JSON.parse(literal) as string).matchAll(/./gs)].map(([unit]) => unit.charCodeAt(0));
    return `"${units.map((unit) => unit.toString(16).padStart(4, '0')).join('')}"${colon}`;
  });
  return JSON.parse(named, (_, value: unknown) =>
    typeof value !== 'object' || value === null || Array.isArray(value)
      ? value
      : Object.fromEntries(Object.entries(value).map(([name, one]) => [nameOf(name), one])),
  );
}

function nameOf(hex: string): string {
  return hex.replace(/.{4}/g, (unit) => String.fromCharCode(Number.parseInt(unit, 16)));
}

const bytes = new RecordBytes();

/** What the verifiers say of a record with this body. */
export function isVerifiable(body: string): boolean {
  bytes.setText(
    `{"actor":"a","at":"2026-01-02T03:04:05.678901Z","event":${body},"id":"${ORG_A}","org":"${ORG_A}","request":null,"v":1}`,
  );
  return bytes.problemAt() === undefined;
}

const CHARACTERS = [
  ...'aZ09_.,:;{}[]"\\/ !~',
  '\n',
  '\t',
  '\u0001',
  '\u0002',
  '\u0003',
  '\u000b',
  '\u001f',
  '\u007f',
  '\u2028',
  'é',
  '\ud7ff',
  '\ue000',
  '\uffff',
  '😀',
  '𐀀',
];
const text = fc.string({ unit: fc.constantFrom(...CHARACTERS), maxLength: 5 });
const leaf = fc.oneof(
  text,
  fc.maxSafeInteger(),
  fc.integer({ min: -20, max: 20 }),
  fc.boolean(),
  fc.constant(null),
);
export const { object } = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 4, withCrossShrink: true }, leaf, tie('array'), tie('object')),
  array: fc.array(tie('value'), { maxLength: 4 }),
  object: fc.dictionary(text, tie('value'), { maxKeys: 6 }),
}));

/** One change of a text that may leave it JSON, but seldom canonical. */
export const mutation = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom('insert', 'replace', 'remove', 'swap', 'move'),
  by: fc.constantFrom(
    ...[
      ' ',
      '\n',
      '\t',
      '0',
      '-',
      '.0',
      'e1',
      '00',
      '1',
      '9007199254740993',
      '"',
      '\\',
      '\\/',
      '\\u0041',
      '\\u000A',
      '\\n',
      '\\"',
    ],
    ...[
      '\\u001f',
      '\\u001F',
      '\\b',
      '\\\\',
      ',',
      ':',
      '{}',
      '[]',
      '"a":1,',
      ',"z":1',
      ',"a":null',
      'null',
      'true',
      '\u0001',
      '\u0003',
      'é',
    ],
  ),
  from: fc.nat(),
});

export function mutate(
  body: string,
  { at, kind, by, from }: { at: number; kind: string; by: string; from: number },
) {
  const place = at % (body.length + 1);
  const rest = body.slice(place + 1);
  if (kind === 'insert') return body.slice(0, place) + by + body.slice(place);
  if (kind === 'replace') return body.slice(0, place) + by + rest;
  if (kind === 'remove') return body.slice(0, place) + rest;
  const members = body.split(',');
  const [one, two] = [at % members.length, from % members.length];
  if (kind === 'swap') [members[one], members[two]] = [members[two] ?? '', members[one] ?? ''];
  else members.splice(one, 0, members[two] ?? '');
  return members.join(',');
}
