/** Two verifiers by different hands say the same about changed exports; one that says otherwise fails this test. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { type ChainHead, verifyExport } from '../src/index.ts';
import { attacksOn, exportOf, headAt, honest, KEPT, sealed } from './export-corpus.ts';
import { prunedCases } from './pruned-corpus.ts';

const PYTHON = fileURLToPath(new URL('../python/verify_audit.py', import.meta.url));
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

interface Case {
  readonly what: string;
  readonly data: Uint8Array;
  readonly heads: readonly ChainHead[];
}

/** mulberry32: the same cases in every run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Pieces that parsers disagree about. */
const PIECES = [
  '\n', '\r', ' ', '"', '\\', '\\\\', '\\"', '\\u0000', '\\u000a', '\\u001f', '\\u001F', '\\n', '\\/', '\u0000', '\ufeff',
  'é', '\u2028', '😀', '{', '}', '[', ']', ',', '0', '-0', '1.0', '1e3', '9007199254740992', 'null', 'true', 'NaN',
  '{"note":"x"}\n', '{"note":"\\u0001"}\n', '{"end":{"hash":"', '{"canon":null', '{"canon":"x"', '{"canon":{', ',"hash":"', ',"seq":01', '\t', '\u007f',
]; // biome-ignore format: a list of pieces

/** Bytes that are not UTF-8. */
const ODD = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]];

function mutate(data: Uint8Array, below: (limit: number) => number): Uint8Array {
  const bytes = [...data];
  const at = below(bytes.length + 1);
  switch (below(8)) {
    case 0:
      bytes[at % bytes.length] = below(256);
      break;
    case 1:
      bytes.splice(at, 1 + below(4));
      break;
    case 2:
      bytes.splice(at, below(3), ...Buffer.from(PIECES[below(PIECES.length)] ?? ''));
      break;
    case 3:
      bytes.splice(at, 0, ...(ODD[below(ODD.length)] ?? []));
      break;
    case 4:
      return data.slice(0, at);
    default: {
      const lines = Buffer.from(data).toString().split('\n');
      const [one, other] = [below(lines.length), below(lines.length)];
      const line = lines[one] ?? '';
      if (below(2) === 0) lines.splice(other, below(2), line);
      else lines[one] = line.replace(/\d(?=[^\d]*$)/, String(below(10)));
      return Buffer.from(lines.join('\n'));
    }
  }
  return Uint8Array.from(bytes);
}

/** Records that are sealed, but that the format does not allow. */
function* sealedOddities(): Generator<Uint8Array> {
  const [first] = honest().slice(0, 1);
  if (first === undefined) return;
  const put = (from: string | RegExp, to: string) => first.canon.replace(from, to);
  const data = (text: string) => put(/"data":\{.*?\},"outcome"/s, `"data":${text},"outcome"`);
  const canons = [
    '', '{}', 'null', '"', '{', '{\n', '\n{', 'x"\u0001', put('"v":1', '"v":2'), put('"v":1', '"v":true'), put('"v":1', '"v":1.0'), put('"user:1"', '""'), put('"user:1"', '1'),
    put('T10', 't10'), put('"request":null', '"request":1'), put('"request":null', '"request":"a"'), put(/"org":"0/, '"org":"1'), put(/"id":"01/, '"id":"11'),
    ...['{"b":1,"a":1}', '{"a":1,"a":1}', '{"\ud83d\ude00":1,"\uffee":1}', '{"\uffee":1,"\ud83d\ude00":1}', '{"\\n":1,"a":1}', '{"é":1,"z":1}', '{"z":1,"é":1}', '{"a":1,"aa":1}', '{"aa":1,"a":1}', '{"":1,"a":1}',
      '[]', '[1,]', '[,1]', '{"a":}', '-0', '0', '-1', '01', '9007199254740991', '9007199254740992', '-9007199254740992', '99999999999999999', '1.5', '1E2', 'NaN', 'Infinity', 'tru', '"\\u0000"', '"\\u0001"', '"\\u000A"', '"\\u000b"', '"\\u000a"', '"\\/"', '"\\u0041"', '"\u007f"', '"\u2028"', ' 1', '"\t"',
      `${'['.repeat(31)}${']'.repeat(31)}`, `${'['.repeat(32)}${']'.repeat(32)}`, '['.repeat(5_000), `${'{"a":'.repeat(30)}{}${'}'.repeat(30)}`, `${'{"a":'.repeat(31)}{}${'}'.repeat(31)}`].map(data),
  ]; // biome-ignore format: a list of records
  for (const canon of canons) yield exportOf(sealed([{ id: first.id, canon }]));
}

function* cases(): Generator<Case> {
  const log = honest();
  const heads = [headAt(log, KEPT)];
  for (const { kind, log: changed } of attacksOn(log, 0)) {
    const data = exportOf(changed);
    yield { what: kind, data, heads };
    yield { what: `${kind} alone`, data, heads: [] };
  }
  for (const data of sealedOddities()) yield { what: 'odd', data, heads: [] };
  for (const data of [new Uint8Array(), Buffer.from('\n'), exportOf([]), exportOf(log)])
    yield { what: 'whole', data, heads };
  const short = log.slice(0, 4);
  const data = exportOf(short);
  for (const [at, hash] of [
    [2, 'f'.repeat(64)],
    [0, '1'.repeat(64)],
    [9, 'f'.repeat(64)],
  ] as const) {
    yield { what: 'heads', data, heads: [headAt(short, 3), { seq: at, hash }] };
    yield { what: 'heads', data, heads: [headAt(short, 2), { seq: at, hash }, { seq: at, hash }] };
  }
  const below = random(20_260_303);
  for (let number = 0; number < 10_000; number++) {
    const kept = number % 3 === 0 ? [headAt(short, 3)] : [];
    let changed = mutate(data, below);
    if (number % 4 === 0) changed = mutate(changed, below);
    yield { what: `mutation ${number}`, data: changed, heads: kept };
  }
  for (const { what, data } of prunedCases()) {
    yield { what: `pruned, ${what}`, data, heads };
    for (let number = 0; number < 100; number++) {
      yield { what: `pruned, ${what}, mutation ${number}`, data: mutate(data, below), heads: [] };
    }
  }
}

test('both verifiers name the same classes of 10 000 changed exports', async () => {
  const all = [...cases()];
  const folder = mkdtempSync(join(tmpdir(), 'audit-agreement-'));
  try {
    const file = join(folder, 'cases.ndjson');
    const lines = all.map(({ data, heads }) =>
      JSON.stringify({ data: Buffer.from(data).toString('base64'), heads }),
    );
    writeFileSync(file, `${lines.join('\n')}\n`);
    const python = spawnSync('python3', [PYTHON, '--batch', file], { encoding: 'utf8', maxBuffer: 1 << 26 });
    expect(python.stderr).toBe('');
    const theirs = python.stdout.split('\n');
    const disagreements: string[] = [];
    let found = 0;
    for (const [index, { what, data, heads }] of all.entries()) {
      const report = await verifyExport([data], { sha256, expectedHead: heads });
      const ours = [...new Set(report.findings.map((finding) => finding.class))].sort().join(',');
      if (ours !== '') found++;
      if (ours !== theirs[index])
        disagreements.push(`${index} ${what}: ours ${ours}, theirs ${theirs[index]}`);
    }
    expect(disagreements.slice(0, 20)).toEqual([]);
    expect(found).toBeGreaterThan(9_000);
    expect(theirs).toHaveLength(all.length + 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 120_000);

test('the second verifier needs nothing but the standard library, in under 280 lines', () => {
  const source = readFileSync(PYTHON, 'utf8');
  const imported = [...source.matchAll(/^(?:import|from) (\w+)/gm)].map(([, name]) => name);
  expect(imported).toEqual(['base64', 'hashlib', 'json', 're', 'sys', 'itertools']);
  expect(source.split('\n').length).toBeLessThan(280);
});
