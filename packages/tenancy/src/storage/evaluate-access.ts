/**
 * A small IAM evaluator: one account, S3 and STS actions (IAM User Guide, "Policy evaluation logic"). An explicit Deny in
 * any policy wins; without an Allow everything is denied; a session may do what its role's policies allow and its session
 * policy allows too. A resource policy adds to the role's policies when it names the role, the account or everybody, and
 * is then held down by the session policy; naming the session itself it grants past both.
 *
 * It judges other people's policies, so it never guesses: what it does not know makes it throw. Where AWS leaves the
 * outcome open (a variable without value), it takes the one that protects less: a Deny does not apply, an Allow does if
 * it is negated.
 */

import { conditionsHold, type ParsedConditions, parseConditions } from './policy-condition.ts';
import type { PolicyDocument, PolicyStatement } from './policy-document.ts';
import {
  matchPattern,
  type PatternMatch,
  type PolicyPattern,
  parsePattern,
  type RequestContext,
  unsupported,
} from './policy-pattern.ts';

/** Policies that apply to a request. */
export interface AccessPolicies {
  /** Policies of the role. */
  readonly identity: readonly PolicyDocument[];
  /** Policy of the bucket (or trust policy of a role), if any. */
  readonly resource?: PolicyDocument;
  /** Session policies; without any, the session has all of its role's rights. */
  readonly session?: readonly PolicyDocument[];
}

/** One request. */
export interface AccessRequest {
  /** Action, e.g. `s3:GetObject`. */
  readonly action: string;
  /** ARN of the object, bucket or role. */
  readonly resource: string;
  /** ARN of the caller's role or user. */
  readonly principal: string;
  /** ARN of the caller's session, if it is one. */
  readonly session?: string;
  /** Condition keys and their values; a key left out is absent. */
  readonly context: Readonly<Record<string, string | readonly string[]>>;
}

/** A decision with its reason. */
export interface AccessDecision {
  /** Whether the request goes through. */
  readonly allowed: boolean;
  /** What decided. */
  readonly because: 'explicit deny' | 'no allow' | 'session policy' | 'allow';
}

/** Decides requests under fixed policies. */
export type AccessEvaluator = (request: AccessRequest) => AccessDecision;

type PrincipalMatch = 'session' | 'role' | false;

interface ParsedStatement {
  readonly allow: boolean;
  readonly principal: PolicyStatement['Principal'];
  readonly actions: readonly PolicyPattern[];
  readonly notAction: boolean;
  readonly resources: readonly PolicyPattern[] | undefined;
  readonly notResource: boolean;
  readonly conditions: ParsedConditions;
}

const ELEMENTS = new Set('Sid Effect Principal Action NotAction Resource NotResource Condition'.split(' '));

/**
 * Reads policies once and gives a function that decides requests.
 *
 * @throws RingfenceTenancyError `tenancy.storage_policy_unsupported` when a policy holds what it does not know.
 * @example
 * ```ts
 * const decide = accessEvaluator({ identity: [documents.rolePolicy], resource: documents.bucketPolicy });
 * ```
 */
export function accessEvaluator(policies: AccessPolicies): AccessEvaluator {
  const identity = policies.identity.flatMap((document) => parsePolicy(document, 'identity'));
  const resource = policies.resource === undefined ? [] : parsePolicy(policies.resource, 'resource');
  const session = policies.session?.flatMap((document) => parsePolicy(document, 'identity'));
  return (request) => {
    const context = requestContext(request);
    const action = request.action.toLowerCase();
    const applying = (statements: readonly ParsedStatement[]) =>
      statements.filter((statement) => applies(statement, request, action, context));
    const byIdentity = applying(identity);
    const byResource = applying(resource);
    const bySession = session === undefined ? undefined : applying(session);
    const denies = [...byIdentity, ...byResource, ...(bySession ?? [])].some(({ allow }) => !allow);
    if (denies) return { allowed: false, because: 'explicit deny' };
    const granted = byResource.map(({ principal }) => principalMatch(principal, request));
    if (granted.includes('session')) return { allowed: true, because: 'allow' };
    if (byIdentity.length === 0 && granted.length === 0) return { allowed: false, because: 'no allow' };
    if (bySession?.length === 0) return { allowed: false, because: 'session policy' };
    return { allowed: true, because: 'allow' };
  };
}

function parsePolicy(document: PolicyDocument, kind: 'identity' | 'resource'): ParsedStatement[] {
  for (const element of Object.keys(document)) {
    if (!['Version', 'Statement', 'Id'].includes(element)) throw unsupported(`element ${element}`);
  }
  if (document.Version !== '2012-10-17') throw unsupported(`version ${String(document.Version)}`);
  if (!Array.isArray(document.Statement)) throw unsupported('Statement that is not a list');
  return document.Statement.map((statement: PolicyStatement) => parseStatement(statement, kind));
}

function parseStatement(statement: PolicyStatement, kind: 'identity' | 'resource'): ParsedStatement {
  for (const element of Object.keys(statement)) {
    if (!ELEMENTS.has(element)) throw unsupported(`element ${element}`);
  }
  const { Effect, Principal, Action, NotAction, Resource, NotResource, Condition } = statement;
  if (Effect !== 'Allow' && Effect !== 'Deny') throw unsupported(`effect ${String(Effect)}`);
  if ((Principal === undefined) !== (kind === 'identity'))
    throw unsupported(`Principal in an ${kind} policy`);
  if ((Action === undefined) === (NotAction === undefined)) throw unsupported('Action beside NotAction');
  if (Resource !== undefined && NotResource !== undefined) throw unsupported('Resource beside NotResource');
  if (Resource === undefined && NotResource === undefined && kind === 'identity') {
    throw unsupported('statement without Resource');
  }
  const resources = Resource ?? NotResource;
  return {
    allow: Effect === 'Allow',
    principal: Principal,
    actions: list(Action ?? NotAction ?? []).map((text) => parsePattern(text.toLowerCase(), true)),
    notAction: NotAction !== undefined,
    resources: resources === undefined ? undefined : list(resources).map((text) => parsePattern(text, true)),
    notResource: NotResource !== undefined,
    conditions: parseConditions(Condition),
  };
}

function applies(
  statement: ParsedStatement,
  request: AccessRequest,
  action: string,
  context: RequestContext,
): boolean {
  const { allow, principal, actions, notAction, resources, notResource, conditions } = statement;
  if (principal !== undefined && principalMatch(principal, request) === false) return false;
  if ((matchAny(actions, action, context) === true) === notAction) return false;
  if (resources !== undefined) {
    const resource = matchAny(resources, request.resource, context);
    if (resource === 'unresolved' && (!allow || !notResource)) return false;
    if ((resource === true) === notResource) return false;
  }
  const holds = conditionsHold(conditions, context);
  return holds === 'unresolved' ? allow : holds;
}

function matchAny(patterns: readonly PolicyPattern[], value: string, context: RequestContext): PatternMatch {
  let unresolved = false;
  for (const pattern of patterns) {
    const match = matchPattern(pattern, value, context);
    if (match === true) return true;
    if (match === 'unresolved') unresolved = true;
  }
  return unresolved ? 'unresolved' : false;
}

/** Naming everybody is read as naming the session: what AWS does with it is open, and this protects less. */
function principalMatch(principal: PolicyStatement['Principal'], request: AccessRequest): PrincipalMatch {
  if (principal === undefined) return 'role';
  if (principal === '*') return 'session';
  const services = list(principal.Service ?? []);
  const arns = list(principal.AWS ?? []);
  for (const type of Object.keys(principal)) {
    if (type !== 'AWS' && type !== 'Service') throw unsupported(`principal type ${type}`);
  }
  if (arns.includes('*')) return 'session';
  if (arns.some((arn) => /[*?$]/.test(arn))) throw unsupported('pattern in a Principal');
  if (request.session !== undefined && arns.includes(request.session)) return 'session';
  if (services.includes(request.principal) || arns.includes(request.principal)) return 'role';
  const account = request.principal.split(':')[4] ?? '';
  const wholeAccount = account !== '' && (arns.includes(account) || arns.some((arn) => isRoot(arn, account)));
  return wholeAccount ? 'role' : false;
}

function isRoot(arn: string, account: string): boolean {
  return /^arn:aws[a-z-]*:iam::/.test(arn) && arn.endsWith(`::${account}:root`);
}

function requestContext(request: AccessRequest): RequestContext {
  const context = new Map<string, readonly string[]>([['aws:principalarn', [request.principal]]]);
  for (const [key, value] of Object.entries(request.context)) context.set(key.toLowerCase(), list(value));
  return context;
}

function list(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value;
}
