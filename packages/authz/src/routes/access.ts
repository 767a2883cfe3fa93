/**
 * What a route declares: a permission on a resource that it can load, or the reason why it is public. There is no third
 * form and no default. Invariant: a handler gets the very instance that the decision was made on.
 */
import type { AllowDecision, Decision } from '../decision-types.ts';
import type { Policy } from '../policy.ts';
import type { ActionOf, RequestContext, ResourceInstance, Resources } from '../policy-types.ts';

/** A value now or later. */
export type Awaitable<T> = T | Promise<T>;

/** A permission: the action, and how to find what it is asked for. */
export interface ProtectedAccess<
  Req,
  R extends Resources,
  Role extends string,
  A extends ActionOf<R>,
  Instance extends ResourceInstance<R, A>,
> {
  /** The action, `resource.action`. */
  readonly action: A;
  /** Finds the resource; undefined or null when there is none. For one that is about to be created, describes it. */
  readonly load: (request: Req, context: RequestContext<Role>) => Awaitable<Instance | undefined | null>;
  /** Answer a deny with 404, as if there were no such resource. Absent: only when it belongs to another organisation. */
  readonly conceal?: true;
  /** Never set beside `action`. */
  readonly public?: never;
}

/** A route that asks nothing of anybody. */
export interface PublicAccess<Why extends string> {
  /** Why everybody may call it; for the reviewer. Not empty. */
  readonly public: Why extends '' ? never : Why;
  /** Never set beside `public`. */
  readonly action?: never;
  /** Never set beside `public`. */
  readonly load?: never;
}

/** What a handler behind a permission gets. */
export interface Allowed<Instance, Role extends string> {
  /** The instance the decision was made on. */
  readonly resource: Instance;
  /** Who asks. */
  readonly context: RequestContext<Role>;
  /** The decision. */
  readonly decision: AllowDecision;
}

/** What a registry needs. */
export interface RoutesOptions<Req, R extends Resources, Role extends string> {
  /** The policy in force. */
  readonly policy: Policy<R, Role>;
  /** Verifies the session of a request; undefined when it has none. Errors of this package become their answers. */
  readonly context: (request: Req) => Awaitable<RequestContext<NoInfer<Role>> | undefined>;
  /** Keeps each decision, e.g. in the audit log, before it takes effect. When it throws, the request fails. */
  readonly record?: (decision: Decision, request: Req) => Awaitable<void>;
}

/** A permission or a reason, as the registry holds it. */
export interface DeclaredRoute {
  /** HTTP method in upper case. */
  readonly method: string;
  /** Path with `:name` parameters. */
  readonly path: string;
  /** The action asked for; undefined for a public route. */
  readonly action: string | undefined;
  /** Why the route is public; undefined for a protected one. */
  readonly public: string | undefined;
  /** Every deny is answered with 404. */
  readonly conceal: boolean;
}

/** A declaration whose types were checked where it was written. */
export interface AnyAccess {
  /** The action. */
  readonly action?: unknown;
  /** Finds the resource. */
  readonly load?: unknown;
  /** Every deny is 404. */
  readonly conceal?: unknown;
  /** The reason. */
  readonly public?: unknown;
}
