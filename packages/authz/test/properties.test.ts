import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import {
  type CompositeNode,
  type ConditionNode,
  type Decision,
  type PolicyDocument,
  policyFromJSON,
  type RequestContext,
} from '../src/index.ts';
import { unsafeApproval, unsafeSessionFacts } from '../src/testing/index.ts';
import {
  ALL_APPROVED,
  allowed,
  policyDocument,
  type Request,
  ROLES,
  type Row,
  request,
  row,
  strongest,
} from './arbitraries.ts';

const NOW = 1_800_000_000_000;
const RUNS = { numRuns: 1_000 };

interface Case {
  readonly document: PolicyDocument;
  readonly asked: Request;
  readonly target: Row;
  readonly action: 'row.read' | 'row.write';
}

const cases: fc.Arbitrary<Case> = fc.record({
  document: policyDocument,
  asked: request(NOW),
  target: row.map((values) => ({ id: 'row:1', ...values })),
  action: fc.constantFrom('row.read', 'row.write'),
});

function decide({ document, asked, action, target }: Case, extra: Partial<RequestContext> = {}): Decision {
  const context = { ...asked, session: unsafeSessionFacts(asked.session), ...extra };
  return policyFromJSON(document).authorize(context, action, target as never);
}

function reversedParts(node: ConditionNode): ConditionNode {
  return node.op === 'all' || node.op === 'any'
    ? ({ ...node, of: (node as CompositeNode).of.map(reversedParts).reverse() } as ConditionNode)
    : node;
}

const approvals = (action: string, org: string) =>
  Array.from({ length: 10 }, (_, k) =>
    unsafeApproval({ by: `approver:${k}`, roles: ROLES, org, action, resourceId: 'row:1' }),
  );

test('the effect is the one of the naive reading, asked with more and more facts', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(cases, (each) => {
      const { document, asked, action, target } = each;
      const strong = { ...asked, session: strongest(NOW) };
      const expected = allowed(document, asked, action, target)
        ? 'allow'
        : allowed(document, strong, action, target)
          ? 'step_up'
          : allowed(document, strong, action, target, ALL_APPROVED)
            ? 'needs_approval'
            : 'deny';
      seen.set(expected, (seen.get(expected) ?? 0) + 1);
      expect(decide(each).effect).toBe(expected);
    }),
    { numRuns: 4_000 },
  );
  for (const effect of ['allow', 'step_up', 'needs_approval', 'deny'])
    expect(seen.get(effect)).toBeGreaterThan(20);
});

test('order has no effect: neither of grants, forbids, roles, nor of the parts of a condition', () => {
  fc.assert(
    fc.property(cases, (each) => {
      const { document, asked } = each;
      const turned = <T extends { readonly when?: ConditionNode; readonly unless?: ConditionNode }>(
        each: T,
      ): T => ({
        ...each,
        ...(each.when === undefined ? {} : { when: reversedParts(each.when) }),
        ...(each.unless === undefined ? {} : { unless: reversedParts(each.unless) }),
      });
      const reversed = {
        ...document,
        grants: document.grants.map(turned).reverse(),
        forbids: document.forbids.map(turned).reverse(),
        roles: [...document.roles].reverse(),
      };
      const principal = { ...asked.principal, roles: [...asked.principal.roles].reverse() };
      const again = decide({ ...each, document: reversed, asked: { ...asked, principal } });
      expect(again.toJSON()).toEqual(decide(each).toJSON());
    }),
    RUNS,
  );
});

test('a forbid wins: adding one never brings a request nearer to allow, an unconditional one denies', () => {
  const rank = ['allow', 'step_up', 'needs_approval', 'deny'];
  fc.assert(
    fc.property(cases, policyDocument, (each, other) => {
      const added = other.forbids.map((forbid) => ({ ...forbid, id: `added-${forbid.id}` }));
      const narrowed = { ...each.document, forbids: [...each.document.forbids, ...added] };
      const before = rank.indexOf(decide(each).effect);
      expect(rank.indexOf(decide({ ...each, document: narrowed }).effect)).toBeGreaterThanOrEqual(before);
      const stop = { id: 'stop', actions: [each.action], reason: 'closed' };
      const stopped = decide({
        ...each,
        document: { ...each.document, forbids: [...each.document.forbids, stop] },
      });
      expect(stopped.effect).toBe('deny');
    }),
    RUNS,
  );
});

test('more facts about the session, and approvals, never take access away', () => {
  fc.assert(
    fc.property(cases, (each) => {
      if (decide(each).effect !== 'allow') return;
      const session = unsafeSessionFacts(strongest(NOW));
      expect(decide(each, { session }).effect).toBe('allow');
      expect(decide(each, { approvals: approvals(each.action, each.target.org) }).effect).toBe('allow');
    }),
    RUNS,
  );
});

test('supplying exactly the facts that a step-up names allows', () => {
  fc.assert(
    fc.property(cases, (each) => {
      const decision = decide(each);
      if (decision.effect !== 'step_up') return;
      const { session } = each.asked;
      const { stepUp } = decision;
      const supplied = unsafeSessionFacts({
        ...session,
        mfa: session.mfa || stepUp.mfa,
        ...(stepUp.sso ? { ssoConnection: 'okta' } : {}),
        ...(stepUp.acrValues?.[0] === undefined ? {} : { acr: stepUp.acrValues[0] }),
        ...(stepUp.maxAge === undefined ? {} : { authenticatedAt: NOW - stepUp.maxAge * 1_000 }),
      });
      expect(decide(each, { session: supplied }).effect).toBe('allow');
    }),
    RUNS,
  );
});

test('a principal of another organisation, or without a role, gets nothing', () => {
  fc.assert(
    fc.property(cases, (each) => {
      const { asked, target } = each;
      const elsewhere = { ...target, org: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a6f' };
      expect(decide({ ...each, target: elsewhere }).effect).toBe('deny');
      expect(
        decide({ ...each, asked: { ...asked, principal: { ...asked.principal, roles: [] } } }).effect,
      ).toBe('deny');
    }),
    RUNS,
  );
});

test('a missing set is never empty, except where a forbid cannot be lifted or nobody is granted the action', () => {
  fc.assert(
    fc.property(cases, (each) => {
      const decision = decide(each);
      expect(decision.reason).not.toBe('');
      if (decision.effect === 'allow') expect(decision.missing).toEqual([]);
      else if (decision.grant !== undefined) expect(decision.missing.length).toBeGreaterThan(0);
    }),
    RUNS,
  );
});
