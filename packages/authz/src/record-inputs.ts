/**
 * The inputs of a decision as plain JSON, and their parser. Only what the evaluation read is there: attributes that no
 * condition of the action speaks of are neither kept nor hashed.
 */
import type { ApprovalInit } from './approval.ts';
import { RingfenceAuthzError } from './errors.ts';
import type { SessionFactsInit } from './session-facts.ts';

/** The principal of a decision. */
export interface PrincipalInputs {
  /** Its id. */
  readonly id: string;
  /** Its organisation. */
  readonly org: string;
  /** Its roles, sorted, each once. */
  readonly roles: readonly string[];
}

/** The resource of a decision. */
export interface ResourceInputs {
  /** Its organisation. */
  readonly org: string;
  /** Its id, if it had one. */
  readonly id?: string;
  /** The attributes that were read. */
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  /** Attributes that were not of their declared type, sorted. */
  readonly illTyped?: readonly string[];
}

/** Why a request could not be evaluated. */
export interface ProblemInputs {
  /** Which part of it. */
  readonly field: string;
  /** What was wrong. */
  readonly problem: string;
}

/** What a decision was made from. */
export interface DecisionInputs {
  /** The action. */
  readonly action: string;
  /** Why the request could not be evaluated; then nothing else is there. */
  readonly problem?: ProblemInputs;
  /** The instant of the decision, epoch ms. */
  readonly now?: number;
  /** Who asked. */
  readonly principal?: PrincipalInputs;
  /** What for. */
  readonly resource?: ResourceInputs;
  /** What was known of the session; only facts that were there. */
  readonly session?: SessionFactsInit;
  /** The approvals presented. */
  readonly approvals?: readonly ApprovalInit[];
}

/**
 * Checks inputs that come from an archive: own properties of the names above and no others, each read once and in its type.
 * Written by hand because a log has millions of them; the members come out in canonical order.
 *
 * @throws RingfenceAuthzError `authz.invalid_request` when they are malformed.
 */
export function parseInputs(value: unknown): DecisionInputs {
  const given = members(value, 'the inputs', INPUTS);
  const { action, now, approvals } = given;
  const { problem, principal, resource, session } = given;
  return {
    action: text(action, 'action'),
    ...(approvals === undefined ? {} : { approvals: list(approvals, 'approvals').map(parseApproval) }),
    ...(now === undefined ? {} : { now: integer(now, 'now') }),
    ...(principal === undefined ? {} : { principal: parsePrincipal(principal) }),
    ...(problem === undefined ? {} : { problem: parseProblem(problem) }),
    ...(resource === undefined ? {} : { resource: parseResource(resource) }),
    ...(session === undefined ? {} : { session: parseSession(session) }),
  };
}

type Members = Readonly<Record<string, unknown>>;

const INPUTS = ['action', 'approvals', 'now', 'principal', 'problem', 'resource', 'session'] as const;
const APPROVAL = ['action', 'by', 'org', 'resourceId', 'roles'] as const;
const PRINCIPAL = ['id', 'org', 'roles'] as const;
const PROBLEM = ['field', 'problem'] as const;
const RESOURCE = ['attributes', 'id', 'illTyped', 'org'] as const;
const SESSION = ['acr', 'authenticatedAt', 'mfa', 'ssoConnection'] as const;
type Name = (
  | typeof INPUTS
  | typeof APPROVAL
  | typeof PRINCIPAL
  | typeof PROBLEM
  | typeof RESOURCE
  | typeof SESSION
)[number];

function parseApproval(value: unknown): ApprovalInit {
  const { action, by, org, resourceId, roles } = members(value, 'an approval', APPROVAL);
  return {
    action: text(action, 'action'),
    by: text(by, 'by'),
    org: text(org, 'org'),
    resourceId: text(resourceId, 'resourceId'),
    roles: texts(roles, 'roles'),
  };
}

function parsePrincipal(value: unknown): PrincipalInputs {
  const { id, org, roles } = members(value, 'principal', PRINCIPAL);
  return { id: text(id, 'id'), org: text(org, 'org'), roles: texts(roles, 'roles') };
}

function parseProblem(value: unknown): ProblemInputs {
  const { field, problem } = members(value, 'problem', PROBLEM);
  return { field: text(field, 'field'), problem: text(problem, 'problem') };
}

function parseResource(value: unknown): ResourceInputs {
  const { attributes, id, illTyped, org } = members(value, 'resource', RESOURCE);
  return {
    attributes: parseAttributes(attributes),
    ...(id === undefined ? {} : { id: text(id, 'id') }),
    ...(illTyped === undefined ? {} : { illTyped: texts(illTyped, 'illTyped') }),
    org: text(org, 'org'),
  };
}

function parseAttributes(value: unknown): ResourceInputs['attributes'] {
  const attributes: Record<string, string | number | boolean> = {};
  const given = record(value, 'attributes');
  for (const name of Object.keys(given)) {
    if (name === '__proto__') malformed('attributes');
    const member = given[name];
    if (typeof member !== 'string' && typeof member !== 'boolean') integer(member, 'attributes');
    attributes[name] = member as string | number | boolean;
  }
  return attributes;
}

function parseSession(value: unknown): SessionFactsInit {
  const { acr, authenticatedAt, mfa, ssoConnection } = members(value, 'session', SESSION);
  if (typeof mfa !== 'boolean') malformed('mfa');
  return {
    ...(acr === undefined ? {} : { acr: text(acr, 'acr') }),
    ...(authenticatedAt === undefined
      ? {}
      : { authenticatedAt: integer(authenticatedAt, 'authenticatedAt') }),
    mfa,
    ...(ssoConnection === undefined ? {} : { ssoConnection: text(ssoConnection, 'ssoConnection') }),
  };
}

/**
 * The own properties, all of which are among the names: the object itself when all it can inherit is an `Object.prototype`
 * that has none of them, else a copy that inherits nothing.
 */
function members(value: unknown, what: string, names: readonly string[]): Members {
  const given = record(value, what);
  const keys = Object.keys(given);
  for (const key of keys) if (!names.includes(key)) malformed(what);
  // biome-ignore lint/suspicious/noProto: the fast way to ask; an own property of that name is none of the names
  if (given['__proto__'] === Object.prototype && !isPolluted()) return given;
  const copy = Object.create(null) as Record<string, unknown>;
  for (const key of keys) copy[key] = given[key];
  return copy;
}

/** True when somebody gave every object a property that may be absent from inputs. */
function isPolluted(): boolean {
  const inherited = Object.prototype as { readonly [Each in Name]?: unknown };
  return (
    inherited.acr !== undefined ||
    inherited.action !== undefined ||
    inherited.approvals !== undefined ||
    inherited.attributes !== undefined ||
    inherited.authenticatedAt !== undefined ||
    inherited.by !== undefined ||
    inherited.field !== undefined ||
    inherited.id !== undefined ||
    inherited.illTyped !== undefined ||
    inherited.mfa !== undefined ||
    inherited.now !== undefined ||
    inherited.org !== undefined ||
    inherited.principal !== undefined ||
    inherited.problem !== undefined ||
    inherited.resource !== undefined ||
    inherited.resourceId !== undefined ||
    inherited.roles !== undefined ||
    inherited.session !== undefined ||
    inherited.ssoConnection !== undefined
  );
}

function record(value: unknown, what: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return malformed(what);
  return value as Members;
}

function list(value: unknown, what: string): readonly unknown[] {
  return Array.isArray(value) ? value : malformed(what);
}

function texts(value: unknown, what: string): readonly string[] {
  return list(value, what).map((member) => text(member, what));
}

function text(value: unknown, what: string): string {
  return typeof value === 'string' ? value : malformed(what);
}

function integer(value: unknown, what: string): number {
  return Number.isSafeInteger(value) ? (value as number) : malformed(what);
}

function malformed(what: string): never {
  throw new RingfenceAuthzError('authz.invalid_request', `the inputs of the decision are malformed: ${what}`);
}
