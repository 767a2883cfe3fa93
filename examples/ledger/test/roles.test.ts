/** The table of roles in the README, held against the policy: a right that is given in passing is a change of both. */
import { readFileSync } from 'node:fs';
import { unsafeSessionFacts } from '@ringfence/authz/testing';
import { expect, test } from 'vitest';
import { type LedgerAction, policy, type Role } from '../src/policy.ts';
import { NORTHWIND } from '../src/provision.ts';

/** What each role may do at most, whatever the situation. */
const MAY: Readonly<Record<Role, readonly LedgerAction[]>> = {
  owner: [
    'apiKey.create',
    'apiKey.revoke',
    'auditLog.read',
    'bankLine.import',
    'bankLine.read',
    'entry.read',
    'member.giveRoles',
    'settings.change',
  ],
  controller: ['auditLog.read', 'bankLine.read', 'entry.approve', 'entry.read'],
  bookkeeper: ['bankLine.import', 'bankLine.read', 'entry.attach', 'entry.post', 'entry.read'],
  reviewer: ['bankLine.read', 'entry.read', 'entry.review'],
  auditor: ['auditLog.read', 'auditLog.verify', 'entry.read'],
  integration: ['bankLine.import'],
};

const { grants, roles } = policy.toJSON();

test.each(Object.entries(MAY))('%s may do what the table says, and no more', (role, may) => {
  const granted = grants.filter((grant) => grant.roles.includes(role)).flatMap(({ actions }) => actions);
  expect([...new Set(granted)].sort()).toEqual(may);
});

test.each(Object.entries(MAY))(
  '%s does that, with a second factor a moment ago, and nothing else',
  (role, may) => {
    const session = unsafeSessionFacts({ mfa: true, authenticatedAt: Date.now() });
    const { id: org } = NORTHWIND;
    const entry = { org, id: 'e', status: 'posted', postedBy: 'user:y' } as const;
    const context = { principal: { id: 'user:x', org, roles: [role as Role] }, session };
    const does = policy.actions.filter(
      (action) => policy.authorize(context, action, entry).effect === 'allow',
    );
    expect(does.sort()).toEqual(may);
  },
);

test('the table has every role of the policy', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const [, table = ''] = /\n\| role \| does \| does not \|\n(.+?)\n\n/s.exec(readme) ?? [];
  const named = table.split('\n').flatMap((row) => /^\| (\w+) \|/.exec(row)?.[1] ?? []);
  expect(named.sort()).toEqual([...roles].sort());
});
