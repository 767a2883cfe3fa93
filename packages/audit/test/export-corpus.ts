/** Exports made from the format documents, not with the code under test, and what an operator can do to them. */
import { createHash } from 'node:crypto';
import { type ChainHead, canonicalize } from '../src/index.ts';
import { ORG_A } from './fixture.ts';

export interface StoredLink {
  readonly seq: number;
  readonly id: string;
  readonly canon: string;
  readonly hash: string;
}

export type Log = readonly StoredLink[];

/** One change to a log of LENGTH links. */
export interface Attack {
  readonly kind: 'E' | 'D' | 'R' | 'I' | 'T' | 'W' | 'S' | 'B';
  readonly verdict: string;
  readonly log: Log;
}

export const LENGTH = 14;
/** Place of the head that the holder kept. */
export const KEPT = 11;

const sha256 = (...parts: readonly Uint8Array[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();

export function linkHash(seq: number, previous: string, canon: string): string {
  const place = Buffer.alloc(8);
  place.writeBigUInt64BE(BigInt(seq));
  const leaf = sha256(Uint8Array.of(0), Buffer.from(canon));
  const org = Buffer.from(ORG_A.replaceAll('-', ''), 'hex');
  return sha256(Uint8Array.of(2), org, place, Buffer.from(previous, 'hex'), leaf).toString('hex');
}

const ZERO = '0'.repeat(64);

/** The links of these records, sealed one after the other. */
export function sealed(records: readonly { readonly id: string; readonly canon: string }[]): StoredLink[] {
  let hash = ZERO;
  return records.map(({ id, canon }, index) => {
    hash = linkHash(index + 1, hash, canon);
    return { seq: index + 1, id, canon, hash };
  });
}

export function recordOf(number: number, salt = 0): { readonly id: string; readonly canon: string } {
  const id = `0190f5d2-7b1c-7d34-9a51-${String(salt * 1_000 + number).padStart(12, '0')}`;
  const at = `2026-03-03T10:${String(10 + number).padStart(2, '0')}:12.131415Z`;
  const data = { amount: `${number}.00`, note: `"é" – \\ 10 € ${salt}\n` };
  const event = {
    outcome: 'success',
    type: 'entry.posted',
    target: { type: 'entry', id: `e${number}` },
    data,
  };
  return {
    id,
    canon: canonicalize({ v: 1, org: ORG_A, id, at, actor: `user:${number}`, request: null, event }),
  };
}

export function honest(salt = 0): StoredLink[] {
  return sealed(Array.from({ length: LENGTH }, (_, index) => recordOf(index + 1, salt)));
}

export function headAt(log: Log, seq: number): ChainHead {
  return { seq, hash: log[seq - 1]?.hash ?? ZERO };
}

/** A record as it stands in its line: as a string only where it could not stand there as it is. */
export function canonText(canon: string): string {
  return canon.startsWith('{') && !canon.includes('\n') ? canon : JSON.stringify(canon);
}

/** The export of a log. The operator writes the end line, so it always agrees with the last link. */
export function exportOf(log: Log): Uint8Array {
  const { seq, hash } = log.at(-1) ?? { seq: 0, hash: ZERO };
  const lines = log.map(
    (link) =>
      `{"canon":${canonText(link.canon)},"hash":"${link.hash}","id":"${link.id}","seq":${link.seq}}\n`,
  );
  return Buffer.from(
    `{"format":"ringfence-audit-export","from":{"hash":"${ZERO}","seq":0},"org":"${ORG_A}","v":1}\n${lines.join('')}{"end":{"hash":"${hash}","seq":${seq}}}\n`,
  );
}

const renumbered = (log: Log) => log.map((link, index) => ({ ...link, seq: index + 1 }));

/** Every attack of each kind on one honest log, at every place up to the kept head. */
export function* attacksOn(log: Log, salt: number): Generator<Attack> {
  for (let at = 0; at < KEPT; at++) {
    const link = log[at] as StoredLink;
    const previous = log[at - 1]?.hash ?? ZERO;
    const forged = recordOf(at + 1, salt + 500);
    const edits = [
      link.canon.replace('.00"', '.01"'),
      link.canon.replace('"user:', '"user:x'),
      link.canon.replace('success', 'denied'),
      link.canon.replace('T10:', 'T09:'),
    ];
    for (const canon of edits) {
      yield { kind: 'E', verdict: 'edited', log: log.with(at, { ...link, canon }) };
      const hash = linkHash(at + 1, previous, canon);
      yield { kind: 'E', verdict: 'edited', log: log.with(at, { ...link, canon, hash }) };
      const records = log.with(at, { ...link, canon });
      yield { kind: canon.includes('T09:') ? 'B' : 'W', verdict: 'rewritten', log: sealed(records) };
    }
    for (let length = 1; at + length <= KEPT && length <= 5; length++) {
      const left = log.toSpliced(at, length);
      yield { kind: 'D', verdict: 'deleted', log: left };
      yield { kind: 'D', verdict: 'deleted', log: renumbered(left) };
      const verdict = left.length < KEPT ? 'cut' : 'rewritten'; // the new chain does not reach the kept head
      yield { kind: 'W', verdict, log: sealed(left) };
    }
    for (let to = at + 1; to < KEPT; to++) {
      const other = log[to] as StoredLink;
      const swapped = log
        .with(at, { ...link, id: other.id, canon: other.canon })
        .with(to, { ...other, id: link.id, canon: link.canon });
      yield { kind: 'R', verdict: 'reordered', log: swapped };
      yield { kind: 'R', verdict: 'reordered', log: renumbered(log.with(at, other).with(to, link)) };
      yield { kind: 'W', verdict: 'rewritten', log: sealed(swapped) };
    }
    for (const hash of [
      linkHash(at + 1, previous, forged.canon),
      ZERO,
      link.hash.replace(/^./, 'f0'[at % 2] ?? ''),
    ]) {
      yield {
        kind: 'I',
        verdict: 'inserted',
        log: renumbered(log.toSpliced(at, 0, { seq: 0, ...forged, hash })),
      };
    }
    yield { kind: 'T', verdict: 'cut', log: log.slice(0, at) };
    yield {
      kind: 'B',
      verdict: 'rewritten',
      log: sealed(log.toSpliced(at, 0, { seq: 0, hash: ZERO, ...forged })),
    };
    for (let fork = 0; fork < 4; fork++) {
      const tail = log.slice(at).map((_, index) => recordOf(at + index + 1, salt + 600 + fork));
      yield { kind: 'S', verdict: 'rewritten', log: sealed([...log.slice(0, at), ...tail]) };
    }
  }
}
