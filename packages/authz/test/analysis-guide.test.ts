// #region imports
import { analyze, diff, implies } from '@ringfence/authz/analyze';
// #endregion

import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { RULES } from '../src/analyze/finding.ts';
import { type Policy, policyFromJSON } from '../src/index.ts';
import { policy as ledger } from './model.ts';

const page = new URL('../../../docs/authz-analysis.md', import.meta.url);

test('the guide lists every finding with its level', async () => {
  const guide = await readFile(page, 'utf8');
  const rows = [...guide.matchAll(/^\| `([a-z-]+)` \| (error|warning|note) \|/gm)].map(([, id, level]) => [
    id,
    level,
  ]);
  const rules = Object.entries(RULES).map(([id, { level }]) => [id, level]);
  expect(rows.sort()).toEqual(rules.sort());
});

test('its example shows code that runs', () => {
  expect(snippetDrift(page, [new URL(import.meta.url)])).toEqual([]);
  const policy: Policy = policyFromJSON(ledger.toJSON());
  const { grants, ...rest } = ledger.toJSON();
  const proposed = policyFromJSON({ ...rest, grants: grants.filter(({ id }) => id !== 'bookkeeper-posts') });
  // #region questions
  const findings = analyze(policy, {
    sensitive: ['entry.approve'],
    duties: [{ actions: ['entry.post', 'entry.approve'] }],
    approvals: [{ action: 'entry.approve', owner: 'createdBy' }],
  });
  const changes = diff(policy, proposed);
  const narrower = implies(proposed, policy).implied;
  // #endregion
  expect(findings.map(({ id, subject }) => [id, subject])).toEqual([
    ['total-forbid', 'nothing-is-purged'],
    ['dead-grant', 'owner-purges'],
    ['unused-action', 'bankLine.import'],
    ['unused-action', 'bankLine.read'],
  ]);
  expect(changes.map(({ kind, action, roles }) => [kind, action, roles])).toEqual([
    ['newly_denied', 'entry.post', [['bookkeeper']]],
  ]);
  expect(narrower).toBe(true);
});
