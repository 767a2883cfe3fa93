/**
 * What a request says, read once. Every property is an own property (a prototype supplies nothing), is read
 * exactly once (a getter or proxy cannot answer the check with one value and the use with another), and is kept only
 * in its declared type. Anything else about the request is out of reach of the evaluation.
 */
import { MintedApproval } from './approval.ts';
import type { ActionIndex, AttributeSlot, PolicyIndex } from './policy-index.ts';
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

/** Reads a request. Never throws of itself; an exception of a getter or proxy passes through. */
export function readFacts(policy: PolicyIndex, context: unknown, action: unknown, resource: unknown): Facts {
  if (typeof action !== 'string') return problem('', undefined, 'action', 'is not a string');
  const index = policy.actions.get(action);
  if (index === undefined) return problem('', undefined, 'action', 'is not an action of this policy');
  if (!isObject(context)) return problem(action, index, 'context', 'is not an object');
  if (!isObject(resource)) return problem(action, index, 'resource', 'is not an object');
  const { principal, session, approvals, now = Date.now() } = ownView(context, CONTEXT_KEYS) as ContextView;
  if (!isObject(principal)) return problem(action, index, 'principal', 'is not an object');
  const { id, org, roles } = ownView(principal, PRINCIPAL_KEYS) as PrincipalView;
  if (!isText(id)) return problem(action, index, 'principal.id', 'is not a string of characters');
  if (!isOrg(org)) return problem(action, index, 'principal.org', 'is not an organisation id');
  const { org: resourceOrg, id: resourceId } = ownView(resource, RESOURCE_KEYS) as ResourceView;
  if (!isOrg(resourceOrg)) return problem(action, index, 'resource.org', 'is not an organisation id');
  if (resourceId !== undefined && !isText(resourceId)) {
    return problem(action, index, 'resource.id', 'is not a string of characters');
  }
  const ordinals = readRoles(policy, roles);
  if (typeof ordinals === 'string') return problem(action, index, 'principal.roles', ordinals);
  if (session !== undefined && !(isObject(session) && MintedSessionFacts.isMinted(session))) {
    return problem(action, index, 'session', 'was not minted by a verifier');
  }
  const read = approvals === undefined ? NONE : readApprovals(approvals);
  if (read === undefined) return problem(action, index, 'approvals', 'were not minted by an approval flow');
  if (!isInstant(now)) return problem(action, index, 'now', 'is not an integer number of ms');

  const { slots, width } = index;
  const values = new Array<FactValue>(width).fill(undefined);
  for (let i = 0; i < slots.length; i += 1) {
    const slot = slots[i] as AttributeSlot;
    values[slot.position] = slot.isId ? resourceId : readValue(resource, slot);
  }
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
  const ordinals = new Array<number>(count);
  for (let i = 0; i < count; i += 1) {
    const ordinal = policy.roles.get(roles[i] as string); // a Map compares without coercion
    if (ordinal === undefined) return 'has a member that is not a role of this policy';
    ordinals[i] = ordinal;
  }
  return ordinals;
}

function readValue(resource: object, slot: AttributeSlot): FactValue {
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

/**
 * The object itself when all it can inherit is `Object.prototype` and that has none of the keys; else a copy of the own
 * properties among the keys. Reading through the accessor `__proto__` is the fast way to ask; an own property of that
 * name, or its absence, only leads to the copy.
 */
function ownView(object: object, keys: readonly string[]): object {
  // biome-ignore lint/suspicious/noProto: Object.getPrototypeOf is several times slower, and this door is always open
  if ((object as { readonly __proto__?: unknown }).__proto__ === Object.prototype && !isPolluted())
    return object;
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

function isInstant(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
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
