/** The policy the tests share: small, with one condition of each kind. */
import {
  acrAtLeast,
  all,
  any,
  approvedBy,
  atMost,
  authenticatedWithin,
  definePolicy,
  equals,
  mfa,
  moreThan,
  oneOf,
  type Policy,
  parseOrgId,
  principal,
  type RequestContext,
  resource,
  sso,
  timeWindow,
} from '../src/index.ts';

export const resources = {
  entry: {
    actions: ['read', 'post', 'approve', 'export', 'purge'],
    attributes: {
      status: ['draft', 'posted', 'approved'],
      createdBy: 'string',
      amountCents: 'integer',
      locked: 'boolean',
    },
  },
  bankLine: { actions: ['read', 'import'], attributes: { source: 'string' } },
} as const;

export const roles = ['owner', 'controller', 'bookkeeper', 'auditor'] as const;
export type Role = (typeof roles)[number];
export type LedgerPolicy = Policy<typeof resources, Role>;

export const NOW = 1_800_000_000_000;
export const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
export const OTHER_ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');

export const policy: LedgerPolicy = definePolicy({
  resources,
  roles,
  acrLevels: ['urn:ledger:password', 'urn:ledger:mfa', 'urn:ledger:hardware'],
  mfaAcr: 'urn:ledger:mfa',
  grants: [
    { id: 'everybody-reads', roles: ['owner', 'controller', 'bookkeeper'], actions: ['entry.read'] },
    {
      id: 'auditor-reads-settled',
      roles: ['auditor'],
      actions: ['entry.read'],
      when: all(oneOf(resource('status'), ['posted', 'approved']), timeWindow({ until: NOW + 1_000 })),
    },
    {
      id: 'bookkeeper-posts',
      roles: ['bookkeeper'],
      actions: ['entry.post'],
      when: equals(resource('status'), 'draft'),
    },
    {
      id: 'controller-approves-small',
      roles: ['controller'],
      actions: ['entry.approve'],
      when: all(equals(resource('status'), 'posted'), atMost(resource('amountCents'), 100_000), mfa()),
    },
    {
      id: 'controller-approves-large',
      roles: ['controller'],
      actions: ['entry.approve'],
      when: all(
        equals(resource('status'), 'posted'),
        moreThan(resource('amountCents'), 100_000),
        mfa(),
        approvedBy(2, 'owner'),
      ),
    },
    {
      id: 'owner-exports',
      roles: ['owner'],
      actions: ['entry.export'],
      when: any(all(acrAtLeast('urn:ledger:hardware'), sso()), authenticatedWithin(300_000)),
    },
    { id: 'owner-purges', roles: ['owner'], actions: ['entry.purge'] },
  ],
  forbids: [
    {
      id: 'no-self-approval',
      actions: ['entry.approve'],
      when: equals(resource('createdBy'), principal('id')),
      reason: 'nobody approves an entry of their own',
    },
    {
      id: 'export-needs-mfa',
      actions: ['entry.export'],
      unless: mfa(),
      reason: 'data leaves the house only after multi-factor authentication',
    },
    {
      id: 'locked',
      actions: ['entry.post'],
      when: equals(resource('locked'), true),
      reason: 'the period is closed',
    },
    { id: 'nothing-is-purged', actions: ['entry.purge'], reason: 'entries are kept for ten years' },
  ],
});

export function as(...held: Role[]): RequestContext<Role> {
  return { principal: { id: 'user:ada', org: ORG, roles: held }, now: NOW };
}

export const entry = {
  org: ORG,
  id: 'entry:1',
  status: 'posted',
  createdBy: 'user:bob',
  amountCents: 5_000,
  locked: false,
} as const;
