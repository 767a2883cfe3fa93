/**
 * What a benchmark suite is, and how a case is measured: subjects alternate within each round, so that a noisy machine
 * hits all of them alike, and ratios are medians of per-round ratios, never ratios of medians from different moments.
 */

/** One way to do the work of a case. */
export interface Subject {
  /** `ringfence`, the name of the limit, or the name of a peer. */
  readonly name: string;
  /** Runs one slice and returns its value in the case's unit. */
  measure(): Promise<number>;
}

/** Subjects that are ready to run. */
export interface Prepared {
  /** All subjects of the case. */
  readonly subjects: readonly Subject[];
  /** Frees what the case holds. */
  close(): Promise<void>;
}

/** One measured question. */
export interface BenchCase {
  /** Stable id, as in the JSON. */
  readonly id: string;
  /** Unit of the values, e.g. `requests/s`. */
  readonly unit: string;
  /** Name of the subject that is the limit. */
  readonly limit?: string;
  /** Measured rounds; one more is run first and thrown away, unless `warmsUp`. Default 7. */
  readonly rounds?: number;
  /** True when each slice warms up by itself, in a process of its own: no round is thrown away. */
  readonly warmsUp?: boolean;
  /** True when the case takes minutes and runs only with `--long`. */
  readonly long?: boolean;
  /** Makes the subjects ready. */
  prepare(): Promise<Prepared>;
}

/** Cases that belong together. */
export interface Suite {
  /** Name on the command line. */
  readonly name: string;
  /** Its cases, in order. */
  readonly cases: readonly BenchCase[];
}

/** One row of the JSON: one subject of one case. */
export interface BenchRow {
  readonly suite: string;
  readonly case: string;
  readonly subject: string;
  readonly value: number;
  readonly unit: string;
  readonly ratioToLimit?: number;
  readonly ratioTo?: Readonly<Record<string, number>>;
  readonly rounds: number;
}

/** The subject that is ours. */
const OURS = 'ringfence';

/** Runs one case and returns a row per subject. */
export async function runCase(suite: string, bench: BenchCase): Promise<BenchRow[]> {
  const { subjects, close } = await bench.prepare();
  const rounds = bench.rounds ?? 7;
  const values = new Map<string, number[]>(subjects.map(({ name }) => [name, []]));
  try {
    for (let round = bench.warmsUp === true ? 0 : -1; round < rounds; round++) {
      for (let turn = 0; turn < subjects.length; turn++) {
        const subject = subjects[(turn + Math.max(0, round)) % subjects.length];
        if (subject === undefined) continue;
        const value = await subject.measure();
        if (round >= 0) values.get(subject.name)?.push(value);
      }
    }
  } finally {
    await close();
  }
  return subjects.map(({ name }) => ({
    suite,
    case: bench.id,
    subject: name,
    value: median(values.get(name) ?? []),
    unit: bench.unit,
    rounds,
    ...(name === OURS ? ratios(values, bench.limit) : {}),
  }));
}

function ratios(values: ReadonlyMap<string, number[]>, limit: string | undefined): Partial<BenchRow> {
  const ours = values.get(OURS) ?? [];
  const ratioTo: Record<string, number> = {};
  let ratioToLimit: number | undefined;
  for (const [name, theirs] of values) {
    if (name === OURS) continue;
    const ratio = median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)));
    if (name === limit) ratioToLimit = ratio;
    else ratioTo[name] = ratio;
  }
  return { ...(ratioToLimit === undefined ? {} : { ratioToLimit }), ratioTo };
}

/** Middle value; the mean of the two middle ones for an even count. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
