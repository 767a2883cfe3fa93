/**
 * The model of the benchmark: 10 roles, 60 permissions, 146 grants with tenant, owner and MFA conditions, two forbids;
 * the same policy as generated if/else (the limit); and 4,096 requests. No randomness from outside: each run is the same.
 */

import type { Decision, Policy, RequestContext, ResourceInstance, Resources } from '../src/index.ts';
import {
  type Condition,
  definePolicy,
  equals,
  mfa,
  type OrgId,
  oneOf,
  parseOrgId,
  principal,
  resource,
} from '../src/index.ts';
import { unsafeSessionFacts } from '../src/testing/index.ts';

/** One request of the benchmark. */
export interface BenchRequest {
  readonly context: RequestContext<string>;
  readonly action: string;
  readonly resource: BenchInstance;
  /** The same facts as the if/else reads them. */
  readonly mfa: boolean;
}

export interface BenchInstance {
  readonly org: OrgId;
  readonly id: string;
  readonly owner: string;
  readonly status: string;
}

/** A policy whose names are only known at run time. */
export type BenchPolicy = Policy<Resources, string>;

/** An engine of the benchmark: true when the request is allowed. */
export type Engine = (request: BenchRequest) => boolean;

export interface BenchGrant {
  readonly role: number;
  readonly permission: number;
  readonly kind: 'always' | 'owner' | 'mfa' | 'open';
}

const ROLES = 10;
const RESOURCES = 12;
const ACTIONS = ['read', 'list', 'write', 'remove', 'approve'] as const;
const GRANTS = 146;
const ORGS = [
  parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60'),
  parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61'),
] as const;
const STATUSES = ['draft', 'open', 'closed'] as const;

/** A small deterministic generator (mulberry32): the figures of two runs speak of the same requests. */
export function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** The 146 grants: pairs of role and permission, with a condition each. */
export function benchGrants(): readonly BenchGrant[] {
  const next = generator(7);
  const seen = new Set<number>();
  const grants: BenchGrant[] = [];
  const kinds = ['always', 'always', 'owner', 'mfa', 'open'] as const;
  while (grants.length < GRANTS) {
    const role = next(ROLES);
    const permission = next(RESOURCES * ACTIONS.length);
    if (seen.has(role * 1_000 + permission)) continue;
    seen.add(role * 1_000 + permission);
    grants.push({ role, permission, kind: kinds[next(kinds.length)] ?? 'always' });
  }
  return grants;
}

/** `resource.action` of a permission. */
export function actionName(permission: number): string {
  return `res${Math.floor(permission / ACTIONS.length)}.${ACTIONS[permission % ACTIONS.length]}`;
}

const CONDITIONS: Readonly<Record<BenchGrant['kind'], Condition | undefined>> = {
  always: undefined,
  owner: equals(resource('owner'), principal('id')),
  mfa: mfa(),
  open: oneOf(resource('status'), ['draft', 'open']),
};

/** Names of the kinds of resources with the two forbids. */
const APPROVALS = Array.from({ length: RESOURCES }, (_, k) => `res${k}.approve`);
const REMOVALS = Array.from({ length: RESOURCES }, (_, k) => `res${k}.remove`);

/** Our policy of the 10 x 60 x 146 model. */
export function benchPolicy(): BenchPolicy {
  const resources: Resources = Object.fromEntries(
    Array.from({ length: RESOURCES }, (_, k) => [
      `res${k}`,
      { actions: ACTIONS, attributes: { owner: 'string', status: STATUSES } },
    ]),
  );
  const grants = benchGrants().map(({ role, permission, kind }, k) => {
    const when = CONDITIONS[kind];
    const grant = { id: `g${k}`, roles: [`role${role}`], actions: [actionName(permission)] };
    return when === undefined ? grant : { ...grant, when };
  });
  return load({
    resources,
    roles: Array.from({ length: ROLES }, (_, k) => `role${k}`),
    grants,
    forbids: [
      { id: 'own', actions: APPROVALS, when: equals(resource('owner'), principal('id')), reason: 'own' },
      { id: 'closed', actions: REMOVALS, when: equals(resource('status'), 'closed'), reason: 'closed' },
    ],
  });
}

/** A policy of `roles` x `actions` grants, one for each pair, each with the owner condition. */
export function scaledPolicy(roles: number, actions: number): BenchPolicy {
  const perKind = Math.min(actions, 100);
  const names = Array.from({ length: perKind }, (_, k) => `act${k}`);
  return load({
    resources: Object.fromEntries(
      Array.from({ length: Math.ceil(actions / perKind) }, (_, k) => [
        `res${k}`,
        { actions: names, attributes: { owner: 'string' } },
      ]),
    ),
    roles: Array.from({ length: roles }, (_, k) => `role${k}`),
    grants: Array.from({ length: roles * actions }, (_, k) => {
      const action = Math.floor(k / roles);
      return {
        id: `g${k}`,
        roles: [`role${k % roles}`],
        actions: [`res${Math.floor(action / perKind)}.act${action % perKind}`],
        when: equals(resource('owner'), principal('id')),
      };
    }),
  });
}

/** Loads data as a policy with names known at run time only. */
function load(definition: object): BenchPolicy {
  return definePolicy(definition as Parameters<typeof definePolicy>[0]) as unknown as BenchPolicy;
}

/** 4,096 requests over the roles and actions of a policy; one in sixteen crosses the organisation. */
export function benchRequests(policy: BenchPolicy): readonly BenchRequest[] {
  const next = generator(11);
  const sessions = [unsafeSessionFacts({ mfa: false }), unsafeSessionFacts({ mfa: true })] as const;
  const role = (): string => asLiteral(policy.roles[next(policy.roles.length)] ?? '');
  const rolesOf = Array.from({ length: 64 }, () => [role(), role()]);
  return Array.from({ length: 4_096 }, (_, k) => {
    const withMfa = next(2) === 1;
    const user = next(64);
    const id = asLiteral(`user${user}`);
    const ordinal = next(policy.actions.length);
    const action = asLiteral(policy.actions[ordinal] ?? '');
    const context = {
      principal: { id, org: ORGS[0], roles: [...(rolesOf[user] ?? [])] },
      session: sessions[withMfa ? 1 : 0],
      now: 1_700_000_000_000 + k,
    };
    const instance = {
      org: ORGS[next(16) === 0 ? 1 : 0],
      id: `id${k}`,
      owner: next(2) === 0 ? id : asLiteral(`user${next(64)}`),
      status: STATUSES[next(3)] ?? 'draft',
    };
    return { context, action, resource: instance, mfa: withMfa };
  });
}

/** The string as a literal of the program would be: one object per text, so that no subject pays for comparing texts. */
function asLiteral(text: string): string {
  return Object.keys({ [text]: true })[0] ?? text;
}

/** Our engine's decision. */
export function decideRingfence(
  policy: BenchPolicy,
  { context, action, resource: instance }: BenchRequest,
): Decision {
  const typed = instance as ResourceInstance<Resources, `${string}.${string}`>;
  return policy.authorize(context, action as `${string}.${string}`, typed);
}

/** Asks our engine. */
export function askRingfence(policy: BenchPolicy, request: BenchRequest): boolean {
  return decideRingfence(policy, request).effect === 'allow';
}

/** The limit: the same policy as nested switches over action and role, without a reason, a snapshot or any check. */
export function ifElse(): Engine {
  const byAction = new Map<string, string[]>();
  for (const { role, permission, kind } of benchGrants()) {
    const action = actionName(permission);
    const test = { always: 'true', owner: 'res.owner === id', mfa: 'q.mfa', open: "res.status !== 'closed'" }[
      kind
    ];
    const cases = byAction.get(action) ?? [];
    cases.push(`if (role === 'role${role}' && (${test})) return true;`);
    byAction.set(action, cases);
  }
  const cases = [...byAction].map(([action, tests]) => {
    const forbid = action.endsWith('.approve')
      ? 'if (res.owner === id) return false;'
      : action.endsWith('.remove')
        ? "if (res.status === 'closed') return false;"
        : '';
    return `case '${action}': ${forbid} for (const role of q.context.principal.roles) { ${tests.join(' ')} } return false;`;
  });
  const body = `const res = q.resource; const id = q.context.principal.id;
    if (res.org !== q.context.principal.org) return false;
    switch (q.action) { ${cases.join('\n')} } return false;`;
  return new Function('q', body) as Engine;
}
