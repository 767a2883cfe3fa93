/**
 * Who may do what in the ledger. No role reaches everything: who posts does not approve, who approves does not post, who
 * gives roles and keys does neither, and nobody approves an entry of their own, whatever roles they hold. What changes
 * who may do what, and every approval, needs a second factor; an approval a recent one.
 */
import {
  type ActionOf,
  authenticatedWithin,
  definePolicy,
  equals,
  mfa,
  type Policy,
  principal,
  resource,
} from '@ringfence/authz';
import type { AnalysisOptions } from '@ringfence/authz/analyze';

const resources = {
  entry: {
    actions: ['read', 'post', 'attach', 'review', 'approve'],
    attributes: { status: ['posted', 'approved'], postedBy: 'string', amountCents: 'integer' },
  },
  bankLine: { actions: ['read', 'import'] },
  member: { actions: ['giveRoles'] },
  settings: { actions: ['change'] },
  apiKey: { actions: ['create', 'revoke'] },
  auditLog: { actions: ['read', 'verify'] },
} as const;
const roles = ['owner', 'controller', 'bookkeeper', 'reviewer', 'auditor', 'integration'] as const;

/** Authentication context classes of the identity provider, weakest first. */
export const PASSWORD_ACR = 'urn:ledger:acr:password';
export const MFA_ACR = 'urn:ledger:acr:mfa';

/** How old the authentication may be that an approval rests on, ms. */
const APPROVAL_MAX_AGE_MS = 15 * 60_000;

export const policy: Policy<LedgerResources, Role> = definePolicy({
  resources,
  roles,
  acrLevels: [PASSWORD_ACR, MFA_ACR],
  mfaAcr: MFA_ACR,
  grants: [
    {
      id: 'owner-manages',
      roles: ['owner'],
      actions: ['member.giveRoles', 'settings.change', 'apiKey.create', 'apiKey.revoke'],
    },
    { id: 'owner-reads', roles: ['owner'], actions: ['entry.read', 'bankLine.read', 'auditLog.read'] },
    // Nobody gives a key what they do not hold: whoever connects the bank may import its lines.
    { id: 'owner-connects-bank', roles: ['owner'], actions: ['bankLine.import'] },
    {
      id: 'bookkeeper-keeps-books',
      roles: ['bookkeeper'],
      actions: ['entry.read', 'entry.post', 'entry.attach', 'bankLine.read', 'bankLine.import'],
    },
    {
      id: 'controller-reads',
      roles: ['controller'],
      actions: ['entry.read', 'bankLine.read', 'auditLog.read'],
    },
    {
      id: 'controller-approves-posted',
      roles: ['controller'],
      actions: ['entry.approve'],
      when: equals(resource('status'), 'posted'),
    },
    {
      id: 'reviewer-reviews',
      roles: ['reviewer'],
      actions: ['entry.read', 'bankLine.read', 'entry.review'],
    },
    { id: 'auditor-audits', roles: ['auditor'], actions: ['entry.read', 'auditLog.read', 'auditLog.verify'] },
    { id: 'integration-imports', roles: ['integration'], actions: ['bankLine.import'] },
  ],
  forbids: [
    {
      id: 'no-self-approval',
      actions: ['entry.approve', 'entry.review'],
      when: equals(resource('postedBy'), principal('id')),
      reason: 'nobody approves or reviews an entry they posted',
    },
    {
      id: 'no-own-roles',
      actions: ['member.giveRoles'],
      when: equals(resource('id'), principal('id')),
      reason: 'nobody changes their own roles',
    },
    {
      id: 'second-factor',
      actions: ['entry.approve', 'member.giveRoles', 'settings.change', 'apiKey.create'],
      unless: mfa(),
      reason: 'a password alone is not enough for this',
    },
    {
      id: 'recent-for-approval',
      actions: ['entry.approve'],
      unless: authenticatedWithin(APPROVAL_MAX_AGE_MS),
      reason: 'an approval needs an authentication of the last 15 minutes',
    },
  ],
});

/** What `pnpm policy` holds the policy to: duties of different people, and a second factor where it counts. */
export const analysis: AnalysisOptions = {
  duties: [
    { actions: ['entry.post', 'entry.approve'] },
    { actions: ['entry.post', 'entry.review'] },
    { actions: ['entry.review', 'entry.approve'] },
    { actions: ['bankLine.import', 'entry.approve'] },
    { actions: ['member.giveRoles', 'entry.post'] },
    { actions: ['member.giveRoles', 'entry.approve'] },
    { actions: ['apiKey.create', 'entry.approve'] },
  ],
  approvals: [
    { action: 'entry.approve', owner: 'postedBy' },
    { action: 'entry.review', owner: 'postedBy' },
  ],
  sensitive: ['entry.approve', 'member.giveRoles', 'settings.change', 'apiKey.create'],
};

/** The kinds of resources of the policy. */
export type LedgerResources = typeof resources;

/** A role of the policy. */
export type Role = (typeof roles)[number];

/** An action of the policy. */
export type LedgerAction = ActionOf<LedgerResources>;
