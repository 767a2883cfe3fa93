/**
 * The suite `authz`: checks with a reason per CPU second against generated if/else (the limit) and the peers; the same at
 * 10,000 grants against 10; row filters against text written by hand; analysis, shrinking,
 * sessions and API keys.
 */
import type { BenchCase, Subject, Suite } from '../../../tools/bench/suite.ts';
import { analyzeCases } from './analyze.ts';
import { inOneProcess } from './contender-process.ts';
import { keyCases } from './keys.ts';
import { peers } from './peers.ts';
import { sessionCases } from './session.ts';
import { shrinkCases } from './shrink.ts';

const noClose = async (): Promise<void> => {};

/** Subjects whose contenders are measured together in one child process: who asks first starts it. */
function together(names: Readonly<Record<string, string>>): Subject[] {
  const waiting = new Map<string, number>();
  return Object.keys(names).map((name) => ({
    name,
    measure: async () => {
      if (!waiting.has(name)) {
        const rates = await inOneProcess(Object.values(names));
        for (const [index, each] of Object.keys(names).entries())
          waiting.set(each, rates[index] ?? Number.NaN);
      }
      const value = waiting.get(name) ?? Number.NaN;
      waiting.delete(name);
      return value;
    },
  }));
}

function benchCase(id: string, unit: string, subjects: () => Subject[], limit?: string): BenchCase {
  return {
    id,
    unit,
    rounds: 3,
    warmsUp: true,
    ...(limit === undefined ? {} : { limit }),
    prepare: async () => ({ subjects: subjects(), close: noClose }),
  };
}

const UNIT = 'checks/CPU-s';

const checkCases: readonly BenchCase[] = [
  benchCase(
    'check',
    UNIT,
    () => [
      ...together({ 'if-else': 'check/if-else', ringfence: 'check/ringfence' }),
      ...Object.keys(peers).flatMap((name) => together({ [name]: `check/${name}` })),
    ],
    'if-else',
  ),
  benchCase('check-10-grants', UNIT, () => together({ ringfence: 'check-10-grants/ringfence' })),
  benchCase('check-10000-grants', UNIT, () =>
    together({ ringfence: 'check-10000-grants/ringfence', 'at-10-grants': 'check-10-grants/ringfence' }),
  ),
  benchCase(
    'filter-sql',
    'filters/CPU-s',
    () => together({ 'hand-written': 'filter-sql/hand-written', ringfence: 'filter-sql/ringfence' }),
    'hand-written',
  ),
];

/** The suite. */
export const suite: Suite = {
  name: 'authz',
  cases: [...checkCases, ...analyzeCases, ...shrinkCases, ...sessionCases, ...keyCases],
};
