import { expect, test } from 'vitest';
import { matrixHtml } from '../src/analyze/index.ts';
import { type Policy, policyFromJSON } from '../src/index.ts';
import { policy as ledger } from './model.ts';

const policy = ledger as unknown as Policy;
const html = matrixHtml(policy);
const rows = html.match(/<tr>.*<\/tr>/g) ?? [];
const rowOf = (action: string): string => rows.find((row) => row.includes(`title="${action}"`)) ?? '';
/** Classes of the cells of an action, in the order of the roles. */
const cellsOf = (action: string): readonly string[] =>
  [...rowOf(action).matchAll(/<td class="(\w+)"/g)].map(([, name = '']) => name);

test('a cell tells always, sometimes, never and not granted apart, forbids included', () => {
  expect(policy.roles).toEqual(['auditor', 'bookkeeper', 'controller', 'owner']);
  expect(cellsOf('entry.read')).toEqual(['sometimes', 'always', 'always', 'always', 'forbids']);
  expect(cellsOf('entry.post')).toEqual(['none', 'sometimes', 'none', 'none', 'forbids']);
  expect(cellsOf('entry.purge')).toEqual(['none', 'none', 'none', 'never', 'forbids']);
  expect(cellsOf('bankLine.read')).toEqual(['none', 'none', 'none', 'none', 'forbids']);
});

test('conditions, step-ups, approvals and forbids are to be seen', () => {
  const approve = rowOf('entry.approve');
  expect(approve).toContain('amountCents &gt; 100000 and status = &quot;posted&quot;');
  expect(approve).toContain('<b class="step">MFA</b>');
  expect(approve).toContain('<b class="approve">2 × owner</b>');
  expect(approve).toContain('where createdBy = self<small>nobody approves an entry of their own</small>');
  expect(rowOf('entry.export')).toContain('signed in ≤ 5 min ago or (acr ≥ urn:ledger:hardware and SSO)');
  expect(rowOf('entry.export')).toContain('always, unless MFA');
});

test('the table has a caption and headers with a scope, one per role and action', () => {
  expect(html).toContain('<caption id="caption">');
  expect(html.match(/<th scope="col"/g)).toHaveLength(policy.roles.length + 2);
  expect(html.match(/<th scope="row"/g)).toHaveLength(policy.actions.length);
  expect(html.match(/<th scope="rowgroup"/g)).toHaveLength(2);
});

const ATTACKS = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</td></table><iframe src="https://evil.example">',
  '</style><svg onload=alert(1)>',
  '&lt;script&gt;',
  '\u202e<b>',
];

test.each(ATTACKS)('%j is text wherever a policy can say it, and no name', (attack) => {
  const left = { ref: 'resource', attribute: 'kind' };
  const document = {
    resources: { entry: { actions: ['read'], attributes: { kind: ['a', attack], note: 'string' } } },
    roles: ['reader'],
    grants: [
      { id: 'g', roles: ['reader'], actions: ['entry.read'], when: { op: 'equals', left, right: attack } },
      {
        id: 'h',
        roles: ['reader'],
        actions: ['entry.read'],
        when: { op: 'noneOf', left: { ref: 'resource', attribute: 'note' }, values: [attack] },
      },
    ],
    forbids: [
      { id: 'f', actions: ['entry.read'], when: { op: 'equals', left, right: attack }, reason: attack },
    ],
  };
  const page = matrixHtml(policyFromJSON(document));
  const harmless = matrixHtml(
    policyFromJSON(JSON.parse(JSON.stringify(document).replaceAll(JSON.stringify(attack), '"x"'))),
  );
  const tags = (text: string): readonly string[] => text.match(/<[^>]*>/g) ?? [];
  const shape = (text: string): readonly string[] => tags(text.replace(/title="[0-9a-f]{64}"/, ''));
  expect(shape(page)).toEqual(shape(harmless));
  expect(page).not.toContain('\u202e');
  for (const part of [{ roles: [attack] }, { resources: { [attack]: { actions: ['read'] } } }]) {
    expect(() => policyFromJSON({ ...document, ...part })).toThrow(/plain name|Invalid key/);
  }
});

test('loads nothing and runs nothing', () => {
  expect(html).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
  expect(html).not.toMatch(/<(script|link|img|iframe|object|base|form)\b|\son\w+=|url\(|@import|https?:/i);
});
