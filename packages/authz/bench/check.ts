/**
 * Checks per second with a reason object, against generated if/else as the limit; and how the speed changes from 10 to
 * 10,000 grants: over as many roles as actions, and, as the worst case for the processor's caches, over 10,000 actions.
 * Rounds alternate between the subjects, figures are medians. Run it directly to see the table.
 */
import {
  askRingfence,
  type BenchPolicy,
  type BenchRequest,
  benchPolicy,
  benchRequests,
  type Engine,
  ifElse,
  scaledPolicy,
} from './model.ts';

/** One row of the report. */
export interface BenchRow {
  readonly suite: 'authz';
  readonly case: string;
  readonly subject: string;
  /** Checks per second. */
  readonly value: number;
  readonly unit: 'checks/s';
  /** Ours over the limit, median of the per-round ratios. */
  readonly ratioToLimit?: number;
  /** Ours over another subject or case. */
  readonly ratioTo?: Readonly<Record<string, number>>;
  readonly rounds: number;
}

interface Subject {
  readonly case: string;
  readonly name: string;
  readonly requests: readonly BenchRequest[];
  readonly ask: Engine;
}

/** Runs the suite. Both subjects first answer every request, and must agree. */
export async function benchCheck({ rounds = 7, roundMs = 250 } = {}): Promise<readonly BenchRow[]> {
  const policy = benchPolicy();
  const requests = benchRequests(policy);
  const limit = ifElse();
  for (const request of requests) {
    if (limit(request) !== askRingfence(policy, request)) throw new Error('the two disagree');
  }
  const subjects: readonly Subject[] = [
    { case: 'check', name: 'if-else', requests, ask: limit },
    { case: 'check', name: 'ringfence', requests, ask: (request) => askRingfence(policy, request) },
    scaled('check-10-grants', 2, 5),
    scaled('check-100-grants', 10, 10),
    scaled('check-1000-grants', 25, 40),
    scaled('check-10000-grants', 100, 100),
    scaled('check-10000-actions', 1, 10_000),
  ];
  const speeds = subjects.map((): number[] => []);
  for (const subject of subjects) measure(subject, roundMs); // warm up
  for (let round = 0; round < rounds; round += 1) {
    for (const [k, subject] of subjects.entries()) {
      speeds[k]?.push(measure(subject, roundMs));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const ofCase = (name: string): readonly number[] =>
    speeds[subjects.findIndex((subject) => subject.case === name && subject.name === 'ringfence')] ?? [];
  return subjects.map((subject, k): BenchRow => {
    const own = speeds[k] ?? [];
    const row = {
      suite: 'authz',
      case: subject.case,
      subject: subject.name,
      unit: 'checks/s',
      rounds,
    } as const;
    const value = Math.round(median(own));
    if (subject.case === 'check') {
      return subject.name === 'if-else'
        ? { ...row, value }
        : { ...row, value, ratioToLimit: ratio(own, speeds[0]) };
    }
    return { ...row, value, ratioTo: { 'check-10-grants': ratio(own, ofCase('check-10-grants')) } };
  });
}

function scaled(name: string, roles: number, actions: number): Subject {
  const policy: BenchPolicy = scaledPolicy(roles, actions);
  const requests = benchRequests(policy);
  return { case: name, name: 'ringfence', requests, ask: (request) => askRingfence(policy, request) };
}

function measure({ requests, ask }: Subject, ms: number): number {
  let asked = 0;
  let allowed = 0;
  const start = performance.now();
  let elapsed = 0;
  while (elapsed < ms) {
    for (const request of requests) if (ask(request)) allowed += 1;
    asked += requests.length;
    elapsed = performance.now() - start;
  }
  if (allowed === 0) throw new Error('nothing was allowed: the requests do not fit the policy');
  return (asked / elapsed) * 1_000;
}

function ratio(own: readonly number[], other: readonly number[] = []): number {
  return Number(median(own.map((value, k) => value / (other[k] ?? Number.NaN))).toFixed(4));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

if (import.meta.main) console.table(await benchCheck());
