/**
 * Says what was done to links that do not verify. A broken link alone says only that something changed; its neighbours
 * and the other broken links of the same log say what: places exchanged, a link taken out or put in and the rest
 * renumbered, or content changed.
 */
import type { ChainHasher } from './link.ts';
import type { Finding } from './report.ts';

/** A link that does not verify behind the one before it. */
export interface BrokenLink {
  /** Place in the chain. */
  readonly seq: number;
  /** The event there. */
  readonly eventId: string;
  /** Stored link of the row before. */
  readonly previous: Readonly<Uint8Array>;
  /** Leaf of the stored record. */
  readonly leaf: Readonly<Uint8Array>;
  /** Stored link. */
  readonly hash: Readonly<Uint8Array>;
  /** Set once the next row has shown what happened here. */
  verdict?: 'inserted' | 'deleted' | 'reordered';
}

/** More broken links than this are not compared with each other: the work grows with the cube. */
const MOST_COMPARED = 24;

/**
 * One finding per broken link, but none for a link that only suffers from its predecessor's. `areAll` is false when the log
 * had others, which are no longer at hand.
 */
export function explainBrokenLinks(
  broken: readonly BrokenLink[],
  hasher: ChainHasher,
  areAll: boolean,
): Finding[] {
  const compared = areAll && broken.length <= MOST_COMPARED;
  const origins = compared ? originsOf(broken, hasher) : new Map<string, Origin>();
  const findings: Finding[] = [];
  for (const link of broken) {
    const finding = explain(link, origins.get(key(link.hash)));
    if (finding !== undefined) findings.push(finding);
  }
  const first = broken[0];
  if (findings.length === 0 && first !== undefined) {
    findings.push(findingOf('edited', first, 'the link does not continue from the one before it'));
  }
  return findings;
}

interface Origin {
  readonly seq: number;
  readonly leaf: Readonly<Uint8Array>;
}

/** Every link that the broken rows' predecessors, places and leaves can make, by hash. */
function originsOf(broken: readonly BrokenLink[], hasher: ChainHasher): Map<string, Origin> {
  const origins = new Map<string, Origin>();
  const previous = broken.flatMap((link) => [
    link.previous,
    link.hash,
    hasher.link(link.seq, link.previous, link.leaf),
  ]);
  for (const before of previous) {
    for (const { seq } of broken) {
      for (const { leaf } of broken) origins.set(key(hasher.link(seq, before, leaf)), { seq, leaf });
    }
  }
  return origins;
}

function explain(link: BrokenLink, origin: Origin | undefined): Finding | undefined {
  if (link.verdict === 'inserted') {
    return findingOf('inserted', link, 'a link was put in here and those behind it were renumbered');
  }
  if (link.verdict === 'deleted') {
    return findingOf(
      'deleted',
      link,
      'a link before this one was taken out and those behind it were renumbered',
    );
  }
  if (link.verdict === 'reordered') {
    return findingOf('reordered', link, 'the link changed places with its neighbour');
  }
  if (origin === undefined) {
    return findingOf('edited', link, 'the record or its link is not the one that was sealed here');
  }
  if (origin.seq === link.seq && key(origin.leaf) === key(link.leaf)) return undefined;
  return findingOf('reordered', link, 'the record sealed here was exchanged with another');
}

function findingOf(name: Finding['class'], { seq, eventId }: BrokenLink, detail: string): Finding {
  return { class: name, seq, eventId, detail };
}

function key(bytes: Readonly<Uint8Array>): string {
  return String.fromCharCode(...bytes);
}
