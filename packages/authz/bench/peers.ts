/**
 * The peers of the case `check`, each with the same model, used as its own documentation says: CASL with the abilities of
 * all sessions made beforehand or one made for each request, casbin with a model text, accesscontrol, and Cedar's
 * WebAssembly with parsed policies and prepared entities. What a peer has no words for is written by hand around it.
 */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import { loadPeer } from '../../../tools/bench/peer.ts';
import { cedarPolicy, cedarRequest } from '../src/cedar/index.ts';
import { decisionInputs } from '../src/index.ts';
import {
  actionName,
  type BenchPolicy,
  type BenchRequest,
  benchGrants,
  benchPolicy,
  decideRingfence,
  type Engine,
} from './model.ts';

/** A peer, made ready for the requests. */
export type Peer = (requests: readonly BenchRequest[]) => Promise<Engine>;

/** The peers by name. */
export const peers: Readonly<Record<string, Peer>> = {
  'casl-cached': caslCached,
  'casl-per-request': caslPerRequest,
  casbin,
  accesscontrol,
  'cedar-wasm': cedarWasm,
};

interface Casl {
  readonly createMongoAbility: (rules: readonly object[]) => {
    can(action: string, subject: object): boolean;
  };
  readonly subject: (type: string, instance: object) => object;
}

type Ability = ReturnType<Casl['createMongoAbility']>;

/** The rules of one session. The last matching rule wins, so the forbids come last. */
function caslRules({ context: { principal }, mfa }: BenchRequest): readonly object[] {
  const { org, id } = principal;
  const conditions = {
    always: { org },
    mfa: { org },
    owner: { org, owner: id },
    open: { org, status: { $in: ['draft', 'open'] } },
  };
  const rules: object[] = [];
  for (const { role, permission, kind } of benchGrants()) {
    if (!principal.roles.includes(`role${role}`) || (kind === 'mfa' && !mfa)) continue;
    const [subject, action] = actionName(permission).split('.');
    rules.push({ action, subject, conditions: conditions[kind] });
  }
  for (let k = 0; k < 12; k += 1) {
    rules.push({ action: 'approve', subject: `res${k}`, conditions: { owner: id }, inverted: true });
    rules.push({ action: 'remove', subject: `res${k}`, conditions: { status: 'closed' }, inverted: true });
  }
  return rules;
}

/** The request as CASL takes it: an action, and a resource that carries its type. */
function caslQuestions(casl: Casl, requests: readonly BenchRequest[]) {
  return new Map(
    requests.map((request) => {
      const [type = '', action = ''] = request.action.split('.');
      return [request, { action, instance: casl.subject(type, { ...request.resource }) }] as const;
    }),
  );
}

async function caslCached(requests: readonly BenchRequest[]): Promise<Engine> {
  const casl = await loadPeer<Casl>('@casl/ability');
  const questions = caslQuestions(casl, requests);
  const sessions = new Map<string, Ability>();
  const prepared = new Map(
    requests.map((request) => {
      const { id, roles } = request.context.principal;
      const session = JSON.stringify([id, roles, request.mfa]);
      const ability = sessions.get(session) ?? casl.createMongoAbility(caslRules(request));
      sessions.set(session, ability);
      return [request, { ability, ...questions.get(request) }] as const;
    }),
  );
  return (request) => {
    const { ability, action, instance } = prepared.get(request) as {
      ability: Ability;
      action: string;
      instance: object;
    };
    return ability.can(action, instance);
  };
}

async function caslPerRequest(requests: readonly BenchRequest[]): Promise<Engine> {
  const casl = await loadPeer<Casl>('@casl/ability');
  const questions = caslQuestions(casl, requests);
  const rules = new Map(requests.map((request) => [request, caslRules(request)] as const));
  return (request) => {
    const { action, instance } = questions.get(request) as { action: string; instance: object };
    return casl.createMongoAbility(rules.get(request) ?? []).can(action, instance);
  };
}

interface Casbin {
  readonly newModelFromString: (text: string) => unknown;
  readonly newSyncedEnforcer?: unknown;
  readonly StringAdapter: new (text: string) => unknown;
  readonly newEnforcer: (
    model: unknown,
    adapter: unknown,
  ) => Promise<{
    addFunction(name: string, run: (...args: never[]) => unknown): Promise<void>;
    enforceSync(...request: unknown[]): boolean;
  }>;
}

const CASBIN_MODEL = `
[request_definition]
r = sub, act, obj, mfa
[policy_definition]
p = role, act, kind, eft
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.act == p.act && r.sub.org == r.obj.org && (p.role == "any" || holds(r.sub.roles, p.role)) && (p.kind == "always" || p.kind == "owner" && r.obj.owner == r.sub.id || p.kind == "mfa" && r.mfa || p.kind == "open" && r.obj.status != "closed" || p.kind == "closed" && r.obj.status == "closed")
`;

async function casbin(): Promise<Engine> {
  const lib = await loadPeer<Casbin>('casbin');
  const lines = benchGrants().map(
    ({ role, permission, kind }) => `p, role${role}, ${actionName(permission)}, ${kind}, allow`,
  );
  for (let k = 0; k < 12; k += 1) {
    lines.push(`p, any, res${k}.approve, owner, deny`, `p, any, res${k}.remove, closed, deny`);
  }
  const enforcer = await lib.newEnforcer(
    lib.newModelFromString(CASBIN_MODEL),
    new lib.StringAdapter(lines.join('\n')),
  );
  await enforcer.addFunction('holds', (roles: readonly string[], role: string) => roles.includes(role));
  return ({ context: { principal }, action, resource, mfa }) =>
    enforcer.enforceSync(principal, action, resource, mfa);
}

interface AccessControl {
  readonly AccessControl: new () => {
    grant(role: string): { where(condition: unknown): AccessControlGrant } & AccessControlGrant;
    can(roles: readonly string[]): {
      with(context: object): { do(action: string, resource: string): { readonly granted: boolean } };
    };
  };
}

interface AccessControlGrant {
  action(name: string, resource: string): unknown;
}

/** It has no conditions that compare two fields of different objects with a forbid: organisation and forbids by hand. */
async function accesscontrol(): Promise<Engine> {
  const lib = await loadPeer<AccessControl>('accesscontrol');
  const ac = new lib.AccessControl();
  const conditions = {
    owner: '$.own == true',
    mfa: '$.mfa == true',
    open: ['$.status', 'in', ['draft', 'open']],
  };
  for (const { role, permission, kind } of benchGrants()) {
    const [resource = '', action = ''] = actionName(permission).split('.');
    const grant = ac.grant(`role${role}`);
    (kind === 'always' ? grant : grant.where(conditions[kind])).action(action, resource);
  }
  return ({ context: { principal }, action: name, resource, mfa }) => {
    const [type = '', action = ''] = name.split('.');
    const own = resource.owner === principal.id;
    if (resource.org !== principal.org) return false;
    if (action === 'approve' && own) return false;
    if (action === 'remove' && resource.status === 'closed') return false;
    return ac.can(principal.roles).with({ own, mfa, status: resource.status }).do(action, type).granted;
  };
}

async function cedarWasm(requests: readonly BenchRequest[]): Promise<Engine> {
  const policy: BenchPolicy = benchPolicy();
  const { policies } = cedarPolicy(policy);
  const parsed = cedar.preparsePolicySet('bench', { staticPolicies: { ...policies } });
  if (parsed.type === 'failure') throw new Error(parsed.errors.map(({ message }) => message).join());
  const calls = new Map(
    requests.map((request) => {
      const inputs = decisionInputs(decideRingfence(policy, request));
      const call = { ...cedarRequest(policy, inputs), preparsedPolicySetId: 'bench' };
      return [request, call as unknown as cedar.StatefulAuthorizationCall] as const;
    }),
  );
  return (request) => {
    const answer = cedar.statefulIsAuthorized(calls.get(request) as cedar.StatefulAuthorizationCall);
    return answer.type === 'success' && answer.response.decision === 'allow';
  };
}
