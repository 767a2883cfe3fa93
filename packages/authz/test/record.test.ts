import { describe, expect, test } from 'vitest';
import {
  type Decision,
  decisionInputs,
  decisionRecord,
  definePolicy,
  policyFromJSON,
  replayDecision,
} from '../src/index.ts';
import { unsafeApproval, unsafeSessionFacts } from '../src/testing/index.ts';
import { as, entry, NOW, ORG, OTHER_ORG, policy } from './model.ts';

const session = unsafeSessionFacts({ mfa: true, acr: 'urn:ledger:mfa', authenticatedAt: NOW - 5 });
const approvals = ['user:cyd', 'user:dan'].map((by) =>
  unsafeApproval({ by, roles: ['owner'], org: ORG, action: 'entry.approve', resourceId: entry.id }),
);
const large = { ...entry, amountCents: 200_000 };
const ask = policy.authorize.bind(policy) as (context: object, action: string, resource: unknown) => Decision;

const DECISIONS: Readonly<Record<string, Decision>> = {
  allow: ask({ ...as('controller'), session, approvals }, 'entry.approve', large),
  'step-up': ask(as('controller'), 'entry.approve', entry),
  'needs approval': ask({ ...as('controller'), session }, 'entry.approve', large),
  'denied by a forbid': ask({ ...as('controller'), session }, 'entry.approve', {
    ...large,
    createdBy: 'user:ada',
  }),
  'denied by default': ask(as('auditor', 'controller'), 'entry.post', entry),
  'another organisation': ask(as('owner'), 'entry.read', { ...entry, org: OTHER_ORG }),
  'an ill-typed attribute': ask({ ...as('controller'), session }, 'entry.approve', {
    ...entry,
    amountCents: '1',
  }),
  'a malformed request': ask(as('owner'), 'entry.read', null),
  'an unknown action': ask(as('owner'), 'entry.fly', entry),
};
const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('a decision record', () => {
  test('is plain JSON: policy, inputs, outcome and ids', () => {
    const record = decisionRecord(DECISIONS['denied by a forbid'] as Decision);
    expect(record).toEqual({
      version: 1,
      policy: policy.hash,
      inputs: expect.stringMatching(/^[0-9a-f]{64}$/),
      effect: 'deny',
      action: 'entry.approve',
      org: ORG,
      principal: 'user:ada',
      resource: 'entry:1',
      grant: 'controller-approves-large',
      forbid: 'no-self-approval',
      reason: expect.stringContaining('nobody approves an entry of their own'),
    });
    expect(throughJson(record)).toEqual(record);
    expect(Object.isFrozen(record)).toBe(true);
  });

  test('holds no value of an attribute', () => {
    for (const decision of Object.values(DECISIONS)) {
      expect(JSON.stringify(decisionRecord(decision))).not.toMatch(/200000|user:bob/);
    }
  });

  test('is not made of a decision that no policy made', () => {
    const forged = { effect: 'allow', toJSON: () => ({}) } as unknown as Decision;
    expect(() => decisionRecord(forged)).toThrow(expect.objectContaining({ code: 'authz.invalid_request' }));
    expect(() => decisionInputs(forged)).toThrow(expect.objectContaining({ code: 'authz.invalid_request' }));
  });

  test('has one inputs hash for one set of inputs, whatever order roles came in and whatever else the resource has', () => {
    const hash = (resource: object, ...roles: ('owner' | 'auditor')[]) =>
      decisionRecord(ask(as(...roles), 'entry.read', resource)).inputs;
    expect(hash(entry, 'owner', 'auditor')).toBe(hash({ ...entry, memo: 'x' }, 'auditor', 'owner', 'owner'));
    expect(hash(entry, 'owner')).not.toBe(hash(entry, 'owner', 'auditor'));
    expect(hash(entry, 'owner')).not.toBe(hash({ ...entry, status: 'draft' }, 'owner'));
  });
});

describe('replay', () => {
  test.each(Object.entries(DECISIONS))('makes the decision again from archived JSON: %s', (_, decision) => {
    const archived = policyFromJSON(throughJson(policy));
    const record = decisionRecord(decision);
    const replay = replayDecision(archived, record, throughJson(decisionInputs(decision)));
    expect(replay.agrees).toBe(true);
    expect(replay.record).toEqual(record);
  });

  const record = decisionRecord(DECISIONS['step-up'] as Decision);
  const inputs = decisionInputs(DECISIONS['step-up'] as Decision);
  const mismatch = expect.objectContaining({ code: 'authz.replay_mismatch' });

  test('refuses another policy', () => {
    const other = definePolicy({
      resources: { entry: { actions: ['approve'] } },
      roles: ['controller'],
      grants: [],
    });
    expect(() => replayDecision(other, record, inputs)).toThrow(mismatch);
  });

  test('refuses inputs that were changed', () => {
    expect(() => replayDecision(policy, record, { ...inputs, session: { mfa: true } })).toThrow(mismatch);
    const owner = { ...inputs.principal, roles: ['owner'] };
    expect(() => replayDecision(policy, record, { ...inputs, principal: owner })).toThrow(mismatch);
  });

  test('refuses inputs that are malformed', () => {
    for (const wrong of [null, 'x', { action: 1 }, { ...inputs, extra: 1 }, { ...inputs, now: 'x' }]) {
      expect(() => replayDecision(policy, record, wrong)).toThrow(
        expect.objectContaining({ code: 'authz.invalid_request' }),
      );
    }
  });

  test('finds a record that was changed', () => {
    const replay = replayDecision(policy, { ...record, effect: 'allow' }, inputs);
    expect(replay).toMatchObject({ agrees: false, record: { effect: 'step_up' } });
  });

  test('opens nothing: what it returns is no decision', () => {
    const allowed = DECISIONS['allow'] as Decision;
    const replay = replayDecision(policy, decisionRecord(allowed), decisionInputs(allowed));
    expect(() => decisionRecord(replay.record as unknown as Decision)).toThrow();
  });
});
