/**
 * Who may do what in the ledger. No role reaches everything: who posts does not approve, who approves does not post,
 * and nobody approves an entry of their own, whatever roles they hold.
 */
import { definePolicy, equals, principal, resource } from '@ringfence/authz';

export const policy = definePolicy({
  resources: {
    entry: {
      actions: ['read', 'post', 'attach', 'approve'],
      attributes: { status: ['posted', 'approved'], postedBy: 'string', amountCents: 'integer' },
    },
    bankLine: { actions: ['read', 'import'], attributes: {} },
    auditLog: { actions: ['read', 'verify'], attributes: {} },
  },
  roles: ['bookkeeper', 'controller', 'auditor'],
  grants: [
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
    { id: 'auditor-audits', roles: ['auditor'], actions: ['entry.read', 'auditLog.read', 'auditLog.verify'] },
  ],
  forbids: [
    {
      id: 'no-self-approval',
      actions: ['entry.approve'],
      when: equals(resource('postedBy'), principal('id')),
      reason: 'nobody approves an entry they posted',
    },
  ],
});

/** A role of the policy. */
export type Role = (typeof policy.roles)[number];

/** An action of the policy. */
export type LedgerAction = (typeof policy.actions)[number];
