/** The pages docs/authz-cedar.md and docs/authz-migration.md: their code is this code, and it does what they say. */
// #region imports
import { definePolicy, equals, lessThan, mfa, type Policy, principal, resource } from '@ringfence/authz';
// #endregion

// #region rbac_imports
import { assertAllowed } from '@ringfence/authz';
// #endregion

// #region export_imports
import { decisionInputs } from '@ringfence/authz';
import { cedarPolicy, cedarRequest } from '@ringfence/authz/cedar';
// #endregion

import { expect, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { parseOrgId } from '../src/index.ts';
import { unsafeSessionFacts } from '../src/testing/index.ts';
import { CedarProcess } from './cedar-process.ts';

const page = (name: string) => new URL(`../../../docs/${name}`, import.meta.url);
const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');

// #region policy
const resources = {
  invoice: {
    actions: ['read', 'update', 'approve'],
    attributes: { createdBy: 'string', amountCents: 'integer', locked: 'boolean' },
  },
} as const;
const roles = ['clerk', 'manager'] as const;

const policy: Policy<typeof resources, (typeof roles)[number]> = definePolicy({
  resources,
  roles,
  grants: [
    { id: 'all-read', roles: ['clerk', 'manager'], actions: ['invoice.read'] },
    {
      id: 'clerk-updates-own',
      roles: ['clerk'],
      actions: ['invoice.update'],
      when: equals(resource('createdBy'), principal('id')),
    },
    {
      id: 'manager-approves-small',
      roles: ['manager'],
      actions: ['invoice.approve'],
      when: lessThan(resource('amountCents'), 1_000_000),
    },
  ],
  forbids: [
    {
      id: 'locked-stays',
      actions: ['invoice.update', 'invoice.approve'],
      when: equals(resource('locked'), true),
      reason: 'the period is closed',
    },
    {
      id: 'four-eyes',
      actions: ['invoice.approve'],
      when: equals(resource('createdBy'), principal('id')),
      reason: 'nobody approves an invoice of their own',
    },
    { id: 'approve-needs-mfa', actions: ['invoice.approve'], unless: mfa(), reason: 'approval needs MFA' },
  ],
});
// #endregion

// #region rbac
const context = { principal: { id: 'user:ada', org, roles: ['clerk'] } } as const;
const invoice = { org, id: 'inv:1', createdBy: 'user:ada', amountCents: 12_000, locked: false };

assertAllowed(policy.authorize(context, 'invoice.update', invoice));
// #endregion

// #region shadow
/** Asks both, serves the old answer, reports where they differ. */
function shadowed(
  old: boolean,
  decision: { readonly effect: string; readonly reason: string },
): string | undefined {
  const allowed = decision.effect === 'allow';
  return allowed === old ? undefined : `old ${old}, new ${decision.effect}: ${decision.reason}`;
}
// #endregion

// #region export
const { schema, policies } = cedarPolicy(policy);
const decision = policy.authorize(context, 'invoice.update', invoice);
const request = cedarRequest(policy, decisionInputs(decision));
// { ...request, schema, validateRequest: true, policies: { staticPolicies: policies } } is a call of isAuthorized
// #endregion

test.each([
  ['authz-cedar.md', ['imports', 'policy', 'export_imports', 'export']],
  ['authz-migration.md', ['imports', 'policy', 'rbac_imports', 'rbac', 'shadow']],
] as const)('%s shows code that is compiled and run', (name, shown) => {
  const all = ['imports', 'rbac_imports', 'export_imports', 'policy', 'rbac', 'shadow', 'export'];
  const others = all.filter((region) => !shown.includes(region as never));
  const drift = snippetDrift(page(name), [new URL(import.meta.url)]);
  expect(drift).toEqual(others.map((region) => `region ${region} is not shown`));
});

test('Cedar gives the answer of the exported request', async () => {
  const cedar = new CedarProcess();
  try {
    const { findings, answers } = await cedar.ask({ schema, policies, requests: [request] });
    expect(findings).toEqual([]);
    expect(answers).toEqual([{ decision: 'allow', reason: ['clerk-updates-own'], errors: [] }]);
  } finally {
    cedar.close();
  }
});

test('what the migration page says of the differences is so', () => {
  const session = unsafeSessionFacts({ mfa: true });
  const manager = { principal: { id: 'user:bob', org, roles: ['manager'] }, session } as const;
  const { createdBy: _, ...anonymous } = invoice;
  expect(policy.authorize(manager, 'invoice.approve', invoice).effect).toBe('allow');
  expect(policy.authorize(manager, 'invoice.approve', anonymous)).toMatchObject({ forbid: 'four-eyes' });
  expect(policy.authorize({ principal: manager.principal }, 'invoice.approve', invoice).effect).toBe(
    'step_up',
  );
  const other = { ...invoice, org: parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61') };
  expect(policy.authorize(context, 'invoice.read', other).effect).toBe('deny');
  expect(shadowed(true, policy.authorize(context, 'invoice.read', other))).toContain('old true, new deny');
  expect(shadowed(true, policy.authorize(context, 'invoice.read', invoice))).toBeUndefined();
});
