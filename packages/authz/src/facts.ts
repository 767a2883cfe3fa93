/**
 * What a request says, read once. Every property is an own property (a prototype supplies nothing), is read
 * exactly once (a getter or proxy cannot answer the check with one value and the use with another), and is kept only
 * in its declared type. Anything else about the request is out of reach of the evaluation.
 */
import { MintedApproval } from './approval.ts';
import type { ActionIndex, AttributeSlot, PolicyIndex, SlotsByPosition } from './policy-index.ts';
import { MintedSessionFacts } from './session-facts.ts';

/** A value of an attribute; undefined when absent, null when not of its declared type. */
export type FactValue = string | number | boolean | undefined | null;

/** Why a request cannot be evaluated. */
export interface RequestProblem {
  /** Which part. */
  readonly field: string;
  /** What is wrong with it. */
  readonly problem: string;
}

/** A request, read. */
export interface Facts {
  /** The action as asked for. */
  readonly action: string;
  /** Index of the action; undefined when unknown. */
  readonly index: ActionIndex | undefined;
  /** Why the request cannot be evaluated; then nothing below is used. */
  readonly problem: RequestProblem | undefined;
  /** True when the resource belongs to the principal's organisation. */
  readonly sameOrg: boolean;
  readonly principalId: string;
  readonly principalOrg: string;
  readonly resourceOrg: string;
  readonly resourceId: string | undefined;
  /** Ordinals of the roles, as given. */
  readonly roles: readonly number[];
  /** Values by slot of the action. */
  readonly values: readonly FactValue[];
  readonly session: MintedSessionFacts | undefined;
  readonly approvals: readonly MintedApproval[];
  /** Epoch ms. */
  readonly now: number;
}

/** Length of a UUID string: an organisation id of another length is none (RFC 9562 section 4). */
const ORG_ID_LENGTH = 36;
/** More than any member has; an array of millions is an attack on the event loop. */
const MAX_ROLES = 256;
const MAX_APPROVALS = 256;
const UNKNOWN_ROLE = 'has a member that is not a role of this policy';
const NONE: readonly never[] = Object.freeze([]);

const CONTEXT_KEYS: readonly (keyof ContextView)[] = ['principal', 'session', 'approvals', 'now'];
const PRINCIPAL_KEYS: readonly (keyof PrincipalView)[] = ['id', 'org', 'roles'];
const RESOURCE_KEYS: readonly (keyof ResourceView)[] = ['org', 'id'];

interface ContextView {
  readonly principal?: unknown;
  readonly session?: unknown;
  readonly approvals?: unknown;
  readonly now?: unknown;
}

interface PrincipalView {
  readonly id?: unknown;
  readonly org?: unknown;
  readonly roles?: unknown;
}

interface ResourceView {
  readonly org?: unknown;
  readonly id?: unknown;
}

/**
 * An object read by name as it is, when all it can inherit is `Object.prototype` and that has none of the names; of any
 * other a copy of its own properties is read. Asking through the accessor `__proto__` is the fast way; an own property of
 * that name, or its absence, only leads to the copy.
 */
interface Plain {
  readonly __proto__?: unknown;
}

/**
 * Reads a request. Never throws of itself; an exception of a getter or proxy passes through. The tests stand in place:
 * the compiler stops to inline calls in a function of this size, and a shared one would see the shapes of all objects.
 */
export function readFacts(policy: PolicyIndex, context: unknown, action: unknown, resource: unknown): Facts {
  if (typeof action !== 'string') return problem('', undefined, 'action', 'is not a string');
  const index = policy.actions.get(action);
  if (index === undefined) return problem('', undefined, 'action', 'is not an action of this policy');
  if (typeof context !== 'object' || context === null)
    return problem(action, index, 'context', 'is not an object');
  if (typeof resource !== 'object' || resource === null)
    return problem(action, index, 'resource', 'is not an object');
  const polluted = isPolluted();
  // biome-ignore lint/suspicious/noProto: the fast way to ask, see Plain
  const contextPlain = !polluted && (context as Plain).__proto__ === Object.prototype;
  const contextView = contextPlain ? context : ownCopy(context, CONTEXT_KEYS);
  const { principal, session, approvals, now = Date.now() } = contextView as ContextView;
  if (typeof principal !== 'object' || principal === null)
    return problem(action, index, 'principal', 'is not an object');
  // biome-ignore lint/suspicious/noProto: as above
  const principalPlain = !polluted && (principal as Plain).__proto__ === Object.prototype;
  const principalView = principalPlain ? principal : ownCopy(principal, PRINCIPAL_KEYS);
  const { id, org, roles } = principalView as PrincipalView;
  if (typeof id !== 'string' || id === '')
    return problem(action, index, 'principal.id', 'is not a string of characters');
  if (!isOrg(org)) return problem(action, index, 'principal.org', 'is not an organisation id');
  // biome-ignore lint/suspicious/noProto: as above
  const resourcePlain = !polluted && (resource as Plain).__proto__ === Object.prototype;
  const resourceView = resourcePlain ? resource : ownCopy(resource, RESOURCE_KEYS);
  const { org: resourceOrg, id: resourceId } = resourceView as ResourceView;
  if (!isOrg(resourceOrg)) return problem(action, index, 'resource.org', 'is not an organisation id');
  if (resourceId !== undefined && (typeof resourceId !== 'string' || resourceId === '')) {
    return problem(action, index, 'resource.id', 'is not a string of characters');
  }
  const ordinals = readRoles(policy, roles);
  if (typeof ordinals === 'string') return problem(action, index, 'principal.roles', ordinals);
  if (session !== undefined && !(isObject(session) && MintedSessionFacts.isMinted(session))) {
    return problem(action, index, 'session', 'was not minted by a verifier');
  }
  const read = approvals === undefined ? NONE : readApprovals(approvals);
  if (read === undefined) return problem(action, index, 'approvals', 'were not minted by an approval flow');
  if (typeof now !== 'number' || !Number.isSafeInteger(now))
    return problem(action, index, 'now', 'is not an integer number of ms');
  const refusal = session?.refusal(id, org, now);
  if (refusal !== undefined) return problem(action, index, 'session', refusal);

  const values = readValues(resource, resourceId, index.slotAt);
  return {
    action,
    index,
    problem: undefined,
    sameOrg: org === resourceOrg,
    principalId: id,
    principalOrg: org,
    resourceOrg,
    resourceId,
    roles: ordinals,
    values,
    session,
    approvals: read,
    now,
  };
}

/** Ordinals of the roles, or what is wrong with them. */
function readRoles(policy: PolicyIndex, roles: unknown): readonly number[] | string {
  if (!Array.isArray(roles)) return 'is not an array';
  const count = roles.length;
  if (count > MAX_ROLES) return `has more than ${MAX_ROLES} members`;
  // Literals: an array that grows is allocated for many more members than a principal has roles.
  if (count === 1) {
    const only = policy.roles.get(roles[0] as string); // a Map compares without coercion
    return only === undefined ? UNKNOWN_ROLE : [only];
  }
  if (count === 2) {
    const first = policy.roles.get(roles[0] as string);
    const second = policy.roles.get(roles[1] as string);
    return first === undefined || second === undefined ? UNKNOWN_ROLE : [first, second];
  }
  const ordinals = new Array<number>(count);
  for (let i = 0; i < count; i += 1) {
    const ordinal = policy.roles.get(roles[i] as string);
    if (ordinal === undefined) return UNKNOWN_ROLE;
    ordinals[i] = ordinal;
  }
  return ordinals;
}

/** The values by slot. Literals of the usual lengths: an array made by length and filled costs more than all else here. */
function readValues(resource: object, id: string | undefined, slotAt: SlotsByPosition): readonly FactValue[] {
  switch (slotAt.length) {
    case 0:
      return NONE;
    case 1:
      return [readValue(resource, id, slotAt[0])];
    case 2:
      return [readValue(resource, id, slotAt[0]), readValue(resource, id, slotAt[1])];
    case 3:
      return [
        readValue(resource, id, slotAt[0]),
        readValue(resource, id, slotAt[1]),
        readValue(resource, id, slotAt[2]),
      ];
    default:
      return slotAt.map((slot) => readValue(resource, id, slot));
  }
}

function readValue(resource: object, id: string | undefined, slot: AttributeSlot | undefined): FactValue {
  if (slot === undefined) return undefined; // only other actions of this resource ask for it
  if (slot.isId) return id;
  const value = own(resource, slot.name);
  if (value === undefined || value === null) return undefined;
  switch (slot.type) {
    case 'string':
      return typeof value === 'string' ? value : null;
    case 'integer':
      return Number.isSafeInteger(value) ? (value as number) : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    default:
      return typeof value === 'string' && slot.type.has(value) ? value : null;
  }
}

function readApprovals(given: unknown): readonly MintedApproval[] | undefined {
  if (!Array.isArray(given)) return undefined;
  const count = given.length;
  if (count > MAX_APPROVALS) return undefined;
  const approvals: MintedApproval[] = [];
  for (let i = 0; i < count; i += 1) {
    const approval: unknown = given[i];
    if (!isObject(approval) || !MintedApproval.isMinted(approval)) return undefined;
    approvals.push(approval);
  }
  return approvals;
}

/** A copy of the own properties among the keys. */
function ownCopy(object: object, keys: readonly string[]): object {
  const view: Record<string, unknown> = {};
  for (const key of keys) view[key] = own(object, key);
  return view;
}

/** True when somebody gave every object a property that requests are read by. */
function isPolluted(): boolean {
  const inherited = Object.prototype as ContextView & PrincipalView;
  return (
    inherited.principal !== undefined ||
    inherited.session !== undefined ||
    inherited.approvals !== undefined ||
    inherited.now !== undefined ||
    inherited.id !== undefined ||
    inherited.org !== undefined ||
    inherited.roles !== undefined
  );
}

function own(object: object, key: string): unknown {
  return Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function isOrg(value: unknown): value is string {
  return typeof value === 'string' && value.length === ORG_ID_LENGTH;
}

/** Facts of a request that cannot be evaluated. */
export function problem(action: string, index: ActionIndex | undefined, field: string, text: string): Facts {
  return {
    action,
    index,
    problem: { field, problem: text },
    sameOrg: false,
    principalId: '',
    principalOrg: '',
    resourceOrg: '',
    resourceId: undefined,
    roles: NONE,
    values: NONE,
    session: undefined,
    approvals: NONE,
    now: 0,
  };
}
