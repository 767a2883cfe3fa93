/**
 * How long a complete analysis takes: all findings about a policy of 10 roles and 60 actions, and of 100 roles and 500
 * actions. There is no peer in TypeScript to run beside it.
 */
import { performance } from 'node:perf_hooks';
import type { BenchCase } from '../../../tools/bench/suite.ts';
import { analyze } from '../src/analyze/index.ts';
import { type Policy, policyFromJSON } from '../src/index.ts';
import { generator } from './model.ts';

const ACTIONS = ['read', 'list', 'write', 'remove', 'approve'] as const;

/** Cases `analyse-10x60` and `analyse-100x500`, in ms. */
export const analyzeCases: readonly BenchCase[] = [
  benchCase('analyse-10x60', 10, 12, 146, 5),
  benchCase('analyse-100x500', 100, 100, 5_000, 3),
];

function benchCase(id: string, roles: number, kinds: number, grants: number, rounds: number): BenchCase {
  return {
    id,
    unit: 'ms',
    rounds,
    prepare: async () => {
      const policy = randomPolicy(roles, kinds, grants);
      const sensitive = Array.from({ length: kinds }, (_, kind) => `res${kind}.approve`);
      const approvals = sensitive.map((action) => ({ action, owner: 'owner' }));
      const measure = async (): Promise<number> => {
        const start = performance.now();
        analyze(policy, { sensitive, approvals });
        return performance.now() - start;
      };
      return { subjects: [{ name: 'ringfence', measure }], close: async () => {} };
    },
  };
}

/** Grants with owner, status, amount, factor and age conditions, and a forbid of approving one's own. */
function randomPolicy(roles: number, kinds: number, count: number): Policy {
  const next = generator(7);
  const at = (attribute: string) => ({ ref: 'resource', attribute });
  const mine = { op: 'equals', left: at('owner'), right: { ref: 'principal', attribute: 'id' } };
  const conditions = [
    undefined,
    mine,
    { op: 'all', of: [{ op: 'mfa' }, { op: 'atMost', left: at('amount'), right: 1_000 }] },
    { op: 'noneOf', left: at('status'), values: ['closed'] },
    { op: 'any', of: [mine, { op: 'authenticatedWithin', maxAgeMs: 300_000 }] },
  ];
  const grants = Array.from({ length: count }, (_, k) => {
    const when = conditions[next(conditions.length)];
    return {
      id: `g${k}`,
      roles: [`role${next(roles)}`],
      actions: [`res${next(kinds)}.${ACTIONS[next(ACTIONS.length)]}`],
      ...(when === undefined ? {} : { when }),
    };
  });
  const attributes = { owner: 'string', amount: 'integer', status: ['draft', 'open', 'closed'] };
  const names = Array.from({ length: kinds }, (_, kind) => `res${kind}`);
  return policyFromJSON({
    resources: Object.fromEntries(names.map((name) => [name, { actions: ACTIONS, attributes }])),
    roles: Array.from({ length: roles }, (_, role) => `role${role}`),
    grants,
    forbids: [
      {
        id: 'own',
        actions: names.map((name) => `${name}.approve`),
        when: mine,
        reason: 'nobody approves his own',
      },
    ],
  });
}
