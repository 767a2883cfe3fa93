/** Exports whose first records were pruned, made from the format documents, and what an operator can do to them. */
import { createHash } from 'node:crypto';
import { canonicalize } from '../src/index.ts';
import { exportOf, honest, type Log, recordOf, sealed } from './export-corpus.ts';
import { ORG_A } from './fixture.ts';

/** Records that are gone from the honest case. */
export const GONE = 6;

const leafOf = (canon: string) => createHash('sha256').update(Uint8Array.of(0)).update(canon).digest('hex');

/** A pruned log, and what a verifier must find in it. */
export interface PrunedCase {
  readonly what: string;
  readonly verdicts: readonly string[];
  readonly data: Uint8Array;
}

/** The record of a pruning, as the data of the 15th event of the honest log. */
function tellingOf(data: unknown): Log {
  const log = honest();
  const { id } = recordOf(99);
  const event = { outcome: 'success', type: 'log.pruned', data };
  const at = '2026-03-03T11:10:12.131415Z';
  const canon = canonicalize({
    v: 1,
    org: ORG_A,
    id,
    at,
    actor: 'system:retention',
    request: null,
    event,
  } as never);
  return sealed([...log, { id, canon }]);
}

const hashAt = (seq: number) => honest()[seq - 1]?.hash ?? '';

/** The export of a log with the records of some places taken out. */
export function without(log: Log, gone: (seq: number) => boolean, leaf = leafOf): Uint8Array {
  const lines = Buffer.from(exportOf(log)).toString().split('\n');
  for (const { seq, canon, hash, id } of log) {
    if (gone(seq))
      lines[seq] = `{"canon":null,"hash":"${hash}","id":"${id}","leaf":"${leaf(canon)}","seq":${seq}}`;
  }
  return Buffer.from(lines.join('\n'));
}

/** Every case. */
export function* prunedCases(): Generator<PrunedCase> {
  const told = tellingOf({ hash: hashAt(GONE), policy: 'p', through: GONE });
  const first = (seq: number) => seq <= GONE;
  const change = (from: string | RegExp, to: string, data = without(told, first)) =>
    Buffer.from(Buffer.from(data).toString().replace(from, to));
  yield { what: 'honest', verdicts: [], data: without(told, first) };
  yield { what: 'nothing gone yet', verdicts: [], data: exportOf(told) };
  yield {
    what: 'fewer gone than told: some came back',
    verdicts: [],
    data: without(told, (seq) => seq <= 3),
  };
  yield { what: 'told by nobody', verdicts: ['deleted'], data: without(honest(), first) };
  yield { what: 'one more than told', verdicts: ['deleted'], data: without(told, (seq) => seq <= GONE + 1) };
  yield {
    what: 'from the middle',
    verdicts: ['deleted'],
    data: without(told, (seq) => seq > 1 && seq <= GONE),
  };
  yield {
    what: 'behind what was told',
    verdicts: ['deleted'],
    data: without(told, (seq) => first(seq) || seq === 9),
  };
  yield {
    what: 'the telling itself',
    verdicts: ['deleted'],
    data: without(told, (seq) => first(seq) || seq === 15),
  };
  yield { what: 'all', verdicts: ['deleted'], data: without(told, () => true) };
  yield {
    what: 'another leaf',
    verdicts: ['edited'],
    data: without(told, first, (canon) => leafOf(canon.includes('e3') ? `${canon} ` : canon)),
  };
  yield { what: 'no leaf', verdicts: ['deleted'], data: change(/,"leaf":"[0-9a-f]{64}"/g, '') };
  yield {
    what: 'a leaf beside a record',
    verdicts: ['malformed'],
    data: change(/("id":"[^"]+)",("seq":9\})/, `$1","leaf":"${leafOf('')}",$2`),
  };
  yield {
    what: 'a short leaf',
    verdicts: ['malformed'],
    data: change(/("leaf":"[0-9a-f]{63})[0-9a-f]/, '$1'),
  };
  yield {
    what: 'a leaf in capitals',
    verdicts: ['malformed'],
    data: change(/"leaf":"[0-9a-f]{64}/, `"leaf":"${'A'.repeat(64)}`),
  };
  for (const [what, data, verdicts] of [
    ['another link', { hash: hashAt(GONE - 1), through: GONE }, ['deleted', 'edited']],
    ['fewer', { hash: hashAt(4), through: 4 }, ['deleted']],
    ['more', { hash: hashAt(9), through: 9 }, []],
    ['itself', { hash: hashAt(GONE), through: 15 }, ['deleted', 'malformed']],
    ['the future', { hash: hashAt(GONE), through: 99 }, ['deleted', 'malformed']],
    ['text', { hash: hashAt(GONE), through: '6' }, ['deleted', 'malformed']],
    ['true', { hash: hashAt(GONE), through: true }, ['deleted', 'malformed']],
    ['less than nothing', { hash: hashAt(GONE), through: -6 }, ['deleted']],
    ['no hash', { through: GONE }, ['deleted', 'malformed']],
    ['a hash in capitals', { hash: hashAt(GONE).toUpperCase(), through: GONE }, ['deleted', 'malformed']],
    ['a list', [GONE], ['deleted', 'malformed']],
    ['nothing', null, ['deleted', 'malformed']],
  ] as const) {
    yield { what: `told ${what}`, verdicts, data: without(tellingOf(data), first) };
  }
}
