/** Write-once copies made from the format documents, not with the code under test, and what can be done to their objects. */
import { createHash } from 'node:crypto';
import type { Signer } from '../src/checkpoint/index.ts';
import { signNote } from '../src/checkpoint/signer.ts';
import { formatCheckpoint } from '../src/verify/checkpoint.ts';
import type { WriteOnceStore } from '../src/write-once/index.ts';
import {
  canonText,
  headAt,
  LENGTH,
  type Log,
  linkHash,
  recordOf,
  type StoredLink,
  sealed,
} from './export-corpus.ts';
import { ORG_A } from './fixture.ts';

/** Objects of one log by name. */
export type Copy = ReadonlyMap<string, Uint8Array>;

/** One change to an honest copy, and a class that the holder of one old note must be told. */
export interface CopyAttack {
  readonly kind: 'E' | 'D' | 'I' | 'R' | 'T' | 'W' | 'S' | 'B';
  readonly what: string;
  readonly verdict: string;
  readonly copy: Copy;
}

/** Sizes of the checkpoints. */
export const SIZES = [3, 7, 11, LENGTH] as const;
/** Size of the note that the holder kept. */
export const KEPT_SIZE = 11;
export const DEPLOYMENT = 'ledger.example/audit';

const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest();
const digits = (place: number) => String(place).padStart(16, '0');
const leafOf = ({ canon }: StoredLink) => sha256(Uint8Array.of(0), Buffer.from(canon));

/** RFC 6962 §2.1, word by word. */
function root(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length < 2) return leaves[0] ?? sha256();
  const split = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return sha256(Uint8Array.of(1), root(leaves.slice(0, split)), root(leaves.slice(split)));
}

/** A segment; its links need not be those that belong there. */
function segment(log: Log, from: number, to: number, links: Log = log.slice(from, to)): Uint8Array {
  const begin = headAt(log, from);
  const end = headAt(log, to);
  const lines = links.map(
    ({ canon, hash, id, seq }) =>
      `{"canon":${canonText(canon)},"hash":"${hash}","id":"${id}","seq":${seq}}\n`,
  );
  return Buffer.from(
    `{"format":"ringfence-audit-export","from":{"hash":"${begin.hash}","seq":${from}},"org":"${ORG_A}","v":1}\n${lines.join('')}{"end":{"hash":"${end.hash}","seq":${to}}}\n`,
  );
}

const segmentName = (from: number, to: number) => `segments/${digits(from)}-${digits(to)}.ndjson`;
const tileName = (size: number) => `tile/0/000.p/${size}`;
const noteName = (size: number) => `checkpoint/${digits(size)}`;

/** The note of a log at a size. */
export function noteOf(log: Log, size: number, signer: Signer): Promise<string> {
  const origin = `${DEPLOYMENT}/${ORG_A}`;
  return signNote(formatCheckpoint({ origin, size, root: root(log.slice(0, size).map(leafOf)) }), signer);
}

/** The copy of a log with its checkpoints, as docs/formats/audit-bucket-v1.md has it: all trees are smaller than a tile. */
export async function copyOf(log: Log, signer: Signer, sizes: readonly number[] = SIZES): Promise<Copy> {
  const copy = new Map<string, Uint8Array>();
  let before = 0;
  for (const size of sizes) {
    copy.set(segmentName(before, size), segment(log, before, size));
    copy.set(tileName(size), Buffer.concat(log.slice(0, size).map(leafOf)));
    copy.set(noteName(size), Buffer.from(await noteOf(log, size, signer)));
    before = size;
  }
  return copy;
}

/** A copy as a store that keeps nothing but the bytes. */
export function storeOf(copy: Copy): WriteOnceStore {
  const keys = [...copy.keys()].sort();
  return {
    name: 'memory',
    locks: false,
    create: () => Promise.reject(new Error('nothing is written')),
    list: async function* (prefix) {
      for (const name of keys) {
        const key = `${ORG_A}/${name}`;
        if (key.startsWith(prefix)) yield { key, versionId: 'only', deleteMarker: false };
      }
    },
    read: ({ key }, mostBytes) => {
      const whole = copy.get(key.slice(ORG_A.length + 1));
      if (whole === undefined) return Promise.resolve(undefined);
      const body = whole.subarray(0, mostBytes);
      return Promise.resolve({ body, cut: body.length < whole.length, promisedUntilMs: undefined });
    },
    retention: () => Promise.resolve(undefined),
  };
}

const put = (copy: Copy, name: string, body: Uint8Array): Copy => new Map([...copy, [name, body]]);
const without = (copy: Copy, ...names: string[]): Copy =>
  new Map([...copy].filter(([name]) => !names.includes(name)));
const bodyOf = (copy: Copy, name: string) => copy.get(name) ?? new Uint8Array();
/** What bytes that are not those of their objects are found as. Tiles are judged only where segments and note hold. */
function verdictOf(...names: readonly string[]): string {
  if (names.some((name) => name.startsWith('segments'))) return 'chain';
  return names.some((name) => name.startsWith('checkpoint')) ? 'unsigned' : 'altered';
}

/** Every attack on the objects of an honest copy, up to the kept note; `salt` makes other histories. */
export async function* copyAttacks(log: Log, signer: Signer, salt: number): AsyncGenerator<CopyAttack> {
  const copy = await copyOf(log, signer);
  const held = [...copy.keys()].filter((name) => Number(/(\d+)(?:\.ndjson)?$/.exec(name)?.[1]) <= KEPT_SIZE);
  for (const name of held) {
    const body = bodyOf(copy, name);
    const verdict = verdictOf(name);
    const stride = name.startsWith('segments') ? 37 : 5;
    for (let at = salt % stride; at < body.length; at += stride) {
      const changed = Uint8Array.from(body);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 7));
      yield { kind: 'E', what: `byte ${at} of ${name}`, verdict, copy: put(copy, name, changed) };
      yield { kind: 'T', what: `${name} cut at ${at}`, verdict, copy: put(copy, name, body.slice(0, at)) };
    }
    const gone = name.startsWith('segments') ? 'gap' : name.startsWith('tile') ? 'missing' : 'foreign';
    const last = name === noteName(KEPT_SIZE);
    yield { kind: 'D', what: name, verdict: gone, copy: without(copy, name) };
    for (const other of held) {
      if (other === name || bodyOf(copy, other).length === 0) continue;
      const exchanged = put(put(copy, name, bodyOf(copy, other)), other, body);
      yield { kind: 'R', what: `${name} and ${other}`, verdict: verdictOf(name, other), copy: exchanged };
      if (!last)
        yield {
          kind: 'R',
          what: `${other} in place of ${name}`,
          verdict,
          copy: put(copy, name, bodyOf(copy, other)),
        };
    }
  }
  yield* linkAttacks(copy, log, salt);
  for (const name of [
    'readme.txt',
    'segments/3-7.ndjson',
    `${segmentName(3, 7)}.bak`,
    'tile/0/000.p/007',
    'checkpoint/7',
    'tile/7/000',
    `checkpoint/${digits(0)}`,
  ]) {
    yield { kind: 'I', what: name, verdict: 'foreign', copy: put(copy, name, Buffer.from('x')) };
  }
  for (let size = 1; size <= KEPT_SIZE; size++) {
    if (SIZES.some((one) => one === size)) continue;
    const tile = Buffer.concat(log.slice(0, size).map(leafOf));
    yield { kind: 'I', what: `tile of ${size}`, verdict: 'foreign', copy: put(copy, tileName(size), tile) };
    const more = segment(log, size - 1, size);
    yield {
      kind: 'I',
      what: `segment of ${size}`,
      verdict: 'gap',
      copy: put(copy, segmentName(size - 1, size), more),
    };
  }
  for (const size of SIZES.filter((one) => one < KEPT_SIZE)) {
    const cut = await copyOf(
      log,
      signer,
      SIZES.filter((one) => one <= size),
    );
    yield { kind: 'T', what: `all behind ${size}`, verdict: 'cut', copy: cut };
  }
  yield { kind: 'T', what: 'all', verdict: 'cut', copy: new Map() };
  yield* otherHistories(copy, log, signer, salt);
}

/** Links taken out of, put into and exchanged in segments whose header and end fit. */
function* linkAttacks(copy: Copy, log: Log, salt: number): Generator<CopyAttack> {
  for (const [index, to] of SIZES.entries()) {
    if (to > KEPT_SIZE) continue;
    const from = SIZES[index - 1] ?? 0;
    const name = segmentName(from, to);
    const links = log.slice(from, to);
    const of = (changed: Log) => put(copy, name, segment(log, from, to, changed));
    for (const [place, link] of links.entries()) {
      const what = `link ${link.seq}`;
      const previous = headAt(log, link.seq - 1).hash;
      const edited = link.canon.replace('success', 'denied');
      const hash = linkHash(link.seq, previous, edited);
      yield { kind: 'D', what, verdict: 'chain', copy: of(links.toSpliced(place, 1)) };
      yield { kind: 'E', what, verdict: 'chain', copy: of(links.with(place, { ...link, canon: edited })) };
      yield {
        kind: 'E',
        what: `${what}, linked`,
        verdict: 'chain',
        copy: of(links.with(place, { ...link, canon: edited, hash })),
      };
      const forged = { ...recordOf(link.seq, salt + 500), seq: link.seq, hash };
      yield { kind: 'I', what, verdict: 'chain', copy: of(links.toSpliced(place, 0, forged)) };
      for (const [other, second] of links.entries()) {
        if (other <= place) continue;
        const swapped = links
          .with(place, { ...second, seq: link.seq })
          .with(other, { ...link, seq: second.seq });
        yield { kind: 'R', what: `${what} and ${second.seq}`, verdict: 'chain', copy: of(swapped) };
      }
    }
  }
}

/** Other histories by who has the key: wholly signed anew, or with the notes and tiles that were there. */
async function* otherHistories(
  copy: Copy,
  log: Log,
  signer: Signer,
  salt: number,
): AsyncGenerator<CopyAttack> {
  for (let place = 0; place < KEPT_SIZE; place++) {
    const link = log[place] as StoredLink;
    const changes: readonly [CopyAttack['kind'], Log][] = [
      ['W', sealed(log.with(place, { ...link, canon: link.canon.replace('success', 'denied') }))],
      ['W', sealed([...log.toSpliced(place, 1), { seq: 0, hash: '', ...recordOf(40, salt) }])],
      ['B', sealed(log.with(place, { ...link, canon: link.canon.replace('T10:', 'T09:') }))],
      ...[0, 1, 2].map((fork): ['S', Log] => {
        const tail = log.slice(place).map((_, index) => recordOf(place + index + 1, salt + 600 + fork));
        return ['S', sealed([...log.slice(0, place), ...tail])];
      }),
    ];
    for (const [kind, other] of changes) {
      const signed = await copyOf(other, signer);
      yield { kind, what: `from ${place + 1}, signed anew`, verdict: 'rewritten', copy: signed };
      const notes = new Map(
        [...signed].map(([name, body]) => [name, name.startsWith('checkpoint') ? bodyOf(copy, name) : body]),
      );
      yield { kind, what: `from ${place + 1} under the old notes`, verdict: 'root_mismatch', copy: notes };
      const tiles = new Map(
        [...notes].map(([name, body]) => [name, name.startsWith('tile') ? bodyOf(copy, name) : body]),
      );
      yield {
        kind,
        what: `from ${place + 1} under old notes and tiles`,
        verdict: 'root_mismatch',
        copy: tiles,
      };
    }
  }
}
