import { afterAll, expect, test } from 'vitest';
import { type CedarPolicy, type CedarRequest, cedarPolicy, cedarRequest } from '../src/cedar/index.ts';
import {
  approvedBy,
  decisionInputs,
  definePolicy,
  equals,
  oneOf,
  policyFromJSON,
  principal,
  resource,
} from '../src/index.ts';
import { CedarProcess } from './cedar-process.ts';
import { entry, NOW, ORG, policy } from './model.ts';

const cedar = new CedarProcess();
afterAll(() => cedar.close());

const context = { principal: { id: 'user:ada', org: ORG, roles: ['controller'] }, now: NOW } as const;

async function ask(
  { schema, policies }: Pick<CedarPolicy, 'schema' | 'policies'>,
  ...requests: CedarRequest[]
) {
  return await cedar.ask({ schema, policies, requests });
}

test('the export of the ledger policy is accepted by the strict validator', async () => {
  expect(await ask(cedarPolicy(policy))).toEqual({ findings: [], answers: [] });
});

test('names that Cedar reserves, hyphens and any character of a constant survive the export', async () => {
  const odd = 'quote " backslash \\ line\nfeed żółw 🐢 \u007f $x %{y}';
  const kinds = [
    'in',
    'in_',
    'a-b',
    'a_b',
    'Long',
    'Role',
    'Principal',
    'Action',
    'Context',
    'resource',
    'if',
  ];
  const attributes = {
    has: 'string',
    'created-by': 'string',
    true: 'boolean',
    principal: 'integer',
  } as const;
  const strange = policyFromJSON({
    resources: Object.fromEntries(kinds.map((kind) => [kind, { actions: ['is', 'like-it'], attributes }])),
    roles: ['then', 'else'],
    grants: kinds.map((kind) => ({
      id: `g-${kind}`,
      roles: ['then', 'else'],
      actions: [`${kind}.is`, `${kind}.like-it`],
      when: {
        op: 'all',
        of: [
          equals(resource('has'), odd),
          oneOf(resource('created-by'), [odd, 'x']),
          equals(resource('true'), true),
          equals(resource('principal'), Number.MIN_SAFE_INTEGER),
          approvedBy(1, 'else'),
        ],
      },
    })),
    forbids: [
      {
        id: 'f',
        actions: kinds.map((kind) => `${kind}.is`),
        when: equals(resource('created-by'), principal('id')),
        reason: odd,
      },
    ],
  });
  const requests = kinds.map((kind) =>
    cedarRequest(strange, {
      action: `${kind}.is`,
      now: 0,
      principal: { id: 'p', org: ORG, roles: ['then'] },
      resource: {
        org: ORG,
        id: 'r',
        attributes: { has: odd, 'created-by': odd, true: true, principal: Number.MIN_SAFE_INTEGER },
      },
      approvals: [{ by: 'other', roles: ['else'], org: ORG, action: `${kind}.is`, resourceId: 'r' }],
    }),
  );
  const { findings, answers } = await ask(cedarPolicy(strange), ...requests);
  expect(findings).toEqual([]);
  expect(answers).toEqual(kinds.map((kind) => ({ decision: 'allow', reason: [`g-${kind}`], errors: [] })));
});

test('the inputs of a decision become the same decision in Cedar', async () => {
  const decision = policy.authorize(context, 'entry.read', entry as never);
  const { answers } = await ask(cedarPolicy(policy), cedarRequest(policy, decisionInputs(decision)));
  expect(decision.effect).toBe('allow');
  expect(answers[0]).toMatchObject({ decision: 'allow', errors: [] });
});

const guarded = definePolicy({
  resources: { entry: { actions: ['approve'], attributes: { createdBy: 'string' } } },
  roles: ['controller'],
  grants: [{ id: 'approves', roles: ['controller'], actions: ['entry.approve'] }],
  forbids: [
    {
      id: 'own',
      actions: ['entry.approve'],
      when: equals(resource('createdBy'), principal('id')),
      reason: 'own entry',
    },
  ],
});

test('a forbid that cannot be evaluated denies here and in the export; Cedar on its own skips it', async () => {
  const decision = guarded.authorize(context, 'entry.approve', { org: ORG });
  expect(decision).toMatchObject({ effect: 'deny', forbid: 'own' });
  const request = cedarRequest(guarded, decisionInputs(decision));
  const exported = cedarPolicy(guarded);
  expect((await ask(exported, request)).answers[0]).toEqual({
    decision: 'deny',
    reason: ['own'],
    errors: [],
  });
  const own = 'forbid (principal, action, resource) when { resource.createdBy == principal.id };';
  const naive = { ...exported, policies: { ...exported.policies, own } };
  const { answers } = await ask(naive, request);
  expect(answers[0]).toMatchObject({ decision: 'allow', reason: ['approves'] });
  expect(answers[0]?.errors).toHaveLength(1);
});

test('the organisations are compared in every permit; without the comparison Cedar crosses them', async () => {
  const exported = cedarPolicy(guarded);
  const request = cedarRequest(guarded, {
    action: 'entry.approve',
    now: NOW,
    principal: { id: 'user:ada', org: ORG, roles: ['controller'] },
    resource: { org: ORG.replace('6', '7'), id: 'e', attributes: { createdBy: 'user:bob' } },
  });
  expect((await ask(exported, request)).answers[0]?.decision).toBe('deny');
  const { approves = '' } = exported.policies;
  const open = { ...exported.policies, approves: approves.replace('principal.org == resource.org', 'true') };
  expect((await ask({ ...exported, policies: open }, request)).answers[0]?.decision).toBe('allow');
});

test('an organisation absent on both sides is refused by the schema', async () => {
  const request = cedarRequest(guarded, {
    action: 'entry.approve',
    now: NOW,
    principal: { id: 'user:ada', org: ORG, roles: ['controller'] },
    resource: { org: ORG, id: 'e', attributes: { createdBy: 'user:bob' } },
  });
  const entities = request.entities.map(({ attrs: { org: _, ...attrs }, ...rest }) => ({ ...rest, attrs }));
  const { answers } = await ask(cedarPolicy(guarded), request, { ...request, entities });
  expect(answers.map(({ decision }) => decision)).toEqual(['allow', 'refused']);
});

test('an attribute that was not of its declared type is left out, and then unknown to Cedar too', async () => {
  const decision = guarded.authorize(context, 'entry.approve', { org: ORG, createdBy: 7 } as never);
  const request = cedarRequest(guarded, decisionInputs(decision));
  expect(JSON.stringify(request.entities)).not.toContain('createdBy');
  expect((await ask(cedarPolicy(guarded), request)).answers[0]?.decision).toBe(decision.effect);
});

test('what authorize refuses to evaluate has no Cedar request', () => {
  const malformed = guarded.authorize(
    { ...context, principal: { id: '', org: ORG, roles: [] } },
    'entry.approve',
    {
      org: ORG,
    },
  );
  expect(malformed.effect).toBe('deny');
  const inputs = {
    action: 'entry.approve',
    now: NOW,
    principal: { id: 'p', org: ORG, roles: [] },
    resource: { org: ORG, attributes: {} },
  };
  expect(() => cedarRequest(guarded, inputs)).not.toThrow();
  const wrong = [
    decisionInputs(malformed),
    { ...inputs, action: 'entry.destroy' },
    { ...inputs, action: 'other.approve' },
    { ...inputs, principal: { ...inputs.principal, roles: ['root'] } },
    { ...inputs, principal: { ...inputs.principal, id: '\ud800' } },
    { ...inputs, now: Number.NaN },
    { ...inputs, extra: true },
  ];
  for (const each of wrong)
    expect(() => cedarRequest(guarded, each)).toThrow(
      expect.objectContaining({ code: 'authz.invalid_request' }) as Error,
    );
});

test('a look-alike of a policy is a mistake of the program', () => {
  const fake = { toJSON: () => policy.toJSON() } as never;
  expect(() => cedarPolicy(fake)).toThrow(TypeError);
  expect(() => cedarRequest(fake, { action: 'entry.read' })).toThrow(TypeError);
});
