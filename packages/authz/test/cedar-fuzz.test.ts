/**
 * Random policies and requests, decided here and by Cedar. Every run takes 5,000 decisions; with
 * `RINGFENCE_CEDAR_DECISIONS=100000` as many as that. A failure prints the smallest policy and request it found.
 */

import { afterAll, expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { cedarPolicy } from '../src/cedar/index.ts';
import { type PolicyDocument, policyFromJSON } from '../src/index.ts';
import { cases, compare } from './cedar-differential.ts';
import { CedarProcess } from './cedar-process.ts';

const DECISIONS = Number(process.env['RINGFENCE_CEDAR_DECISIONS'] ?? 5_000);
/** Requests to one policy, each decided with the facts as they are, with the strongest session, and approved as well. */
const REQUESTS = 20;

const cedar = new CedarProcess();
afterAll(() => cedar.close());

test(
  'Cedar decides every request as authorize does, for the same reasons',
  async () => {
    let decisions = 0;
    const effects = new Map<string, number>();
    const property = fc.asyncProperty(cases(REQUESTS), async ([document, requests]) => {
      const comparison = await compare(cedar, document, requests);
      expect(comparison.differences).toEqual([]);
      decisions += comparison.decisions;
      for (const [effect, times] of Object.entries(comparison.effects))
        effects.set(effect, (effects.get(effect) ?? 0) + times);
    });
    await fc.assert(property, { numRuns: Math.ceil(DECISIONS / (3 * REQUESTS)) });
    expect(decisions).toBeGreaterThanOrEqual(DECISIONS);
    for (const effect of ['allow', 'step_up', 'needs_approval', 'deny'])
      expect(effects.get(effect), effect).toBeGreaterThan(10);
  },
  Math.max(120_000, DECISIONS * 12),
);

/** Rewrites every condition node of a document. */
function rewritten(
  document: PolicyDocument,
  change: (node: Record<string, unknown>) => object,
): PolicyDocument {
  return JSON.parse(JSON.stringify(document), (_, value: unknown) =>
    typeof value === 'object' && value !== null && 'op' in value
      ? change(value as Record<string, unknown>)
      : value,
  ) as PolicyDocument;
}

const ofDocument = (change: (document: PolicyDocument) => PolicyDocument) => (document: PolicyDocument) =>
  cedarPolicy(policyFromJSON(change(document)));
const ofText = (pattern: RegExp, replacement: string) => (document: PolicyDocument) => {
  const { schema, policies } = cedarPolicy(policyFromJSON(document));
  const changed = Object.entries(policies).map(([id, text]) => [id, text.replace(pattern, replacement)]);
  return { schema, policies: Object.fromEntries(changed) as Record<string, string> };
};

const PLANTED = {
  'a forbid that permits': ofText(/^forbid/m, 'permit'),
  'a permit that forbids': ofText(/^permit/m, 'forbid'),
  'organisations that are not compared': ofText(/principal\.org == resource\.org/, 'true'),
  'a forbid skipped when an attribute is absent': ofText(/resource has \w+ && !\(/g, '!('),
  'atMost off by one': ofDocument((document) =>
    rewritten(document, (node) => (node['op'] === 'atMost' ? { ...node, op: 'lessThan' } : node)),
  ),
  'the end of a window included': ofText(/context\.now < /g, 'context.now <= '),
  'any read as all': ofDocument((document) =>
    rewritten(document, (node) => (node['op'] === 'any' ? { ...node, op: 'all' } : node)),
  ),
  'an ignored condition': ofDocument((document) => ({
    ...document,
    grants: document.grants.map(({ when: _, ...grant }) => grant),
  })),
  'an ignored unless': ofDocument((document) => ({
    ...document,
    forbids: document.forbids.map(({ unless: _, ...forbid }) => forbid),
  })),
  'a forbid for everybody that was for some roles': ofText(/^when \{ principal in [^}]*\}$/m, ''),
  'a second factor taken for given': ofText(/context\.mfa/g, 'true'),
  'an authentication one millisecond too old': ofText(/<= 3600000/g, '<= 3600001'),
  'one approval too few': ofText(/\] >= 2/g, '] >= 1'),
};

test.each(Object.entries(PLANTED))('notices %s', async (_, exported) => {
  const sample = fc.sample(cases(REQUESTS), { numRuns: 150, seed: 1 });
  let noticed = 0;
  for (const [document, requests] of sample) {
    const { differences } = await compare(cedar, document, requests, exported);
    noticed += differences.length;
    if (noticed > 0) break;
  }
  expect(noticed).toBeGreaterThan(0);
});
