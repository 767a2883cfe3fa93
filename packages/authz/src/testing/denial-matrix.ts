/**
 * The denial matrix: every route of an application, asked by everybody, compared with the policy. The expectation does not
 * come from the routes: the test says a second time which action each one stands for, so that a wrong declaration is found
 * as well as a guard that does not guard.
 * Invariant: a matrix that leaves out a route, a foreign organisation, an allow or a refusal is not a passing matrix.
 */
import type { Policy } from '../policy.ts';
import type { ActionOf, RequestContext, ResourceInstance, Resources } from '../policy-types.ts';
import type { DeclaredRoute } from '../routes/access.ts';
import { expectedRefusal } from './expected-refusal.ts';

/** A request to a protected route: what it asks for, and of which resource. */
export type ProtectedCase<R extends Resources> = {
  [A in ActionOf<R>]: {
    /** The action the route stands for, said independently of its declaration. */
    readonly action: A;
    /** The path with the parameters filled in. */
    readonly path: string;
    /** The resource the path leads to, as it is in the test's data. A function: as it is for this principal (creation). */
    readonly resource: ResourceInstance<R, A> | ((context: RequestContext) => ResourceInstance<R, A>);
    /** Body, handed to `request`. */
    readonly body?: unknown;
  };
}[ActionOf<R>];

/** A request to a public route. */
export interface PublicCase {
  /** The reason, said again. */
  readonly public: string;
  /** The path with the parameters filled in. */
  readonly path: string;
  /** Body, handed to `request`. */
  readonly body?: unknown;
}

/** What the matrix sends. */
export interface MatrixRequest {
  /** Name of the principal; undefined for a request without a session. */
  readonly principal: string | undefined;
  /** HTTP method. */
  readonly method: string;
  /** Path. */
  readonly path: string;
  /** Body. */
  readonly body: unknown;
}

/** The part of an answer that is compared; a `fetch` response is one. */
export interface MatrixResponse {
  /** Status code. */
  readonly status: number;
  /** Headers. */
  readonly headers: {
    /** Value of a header. */
    get(name: string): string | null;
  };
  /** Body. */
  text(): Promise<string>;
}

/** What a denial matrix is made of. */
export interface DenialMatrixOptions<R extends Resources, Role extends string> {
  /** `routes.declared` of the application. */
  readonly routes: readonly DeclaredRoute[];
  /** The policy that is expected to be in force. */
  readonly policy: Policy<R, Role>;
  /** Everybody who asks, by name, in at least two organisations; requests without a session are added. */
  readonly principals: Readonly<Record<string, RequestContext<Role>>>;
  /** For each route, `METHOD /path`, at least one request. */
  readonly cases: Readonly<Record<string, readonly (ProtectedCase<R> | PublicCase)[]>>;
  /** Sends a request to the running application as that principal. Reset the data first where a handler changes it. */
  readonly request: (request: MatrixRequest) => Promise<MatrixResponse>;
}

/** One cell of the matrix. */
export interface MatrixCell {
  /** `METHOD /path`. */
  readonly route: string;
  /** The path that was asked. */
  readonly path: string;
  /** Name of the principal; undefined without a session. */
  readonly principal: string | undefined;
  /** What the policy says. */
  readonly expected: string;
  /** What the application answered. */
  readonly actual: string;
}

/** The application and the policy disagree, or the matrix leaves something out. */
export class DenialMatrixError extends Error {
  /** Name of the class, for logs. */
  override readonly name: string = 'DenialMatrixError';
  /** Each disagreement and each gap. */
  readonly failures: readonly string[];

  constructor(failures: readonly string[]) {
    super(`the denial matrix has ${failures.length} failures:\n${failures.join('\n')}`);
    this.failures = Object.freeze([...failures]);
  }
}

/**
 * Asks every route as every principal and without a session, and compares each answer with the policy.
 *
 * @throws DenialMatrixError with every mismatch and every gap.
 * @example
 * ```ts
 * await denialMatrix({
 *   routes: routes.declared,
 *   policy,
 *   principals: { ada: asController, eve: asControllerOfAnotherOrg },
 *   cases: { 'GET /entries/:id': [{ action: 'entry.read', path: '/entries/1', resource: entry }] },
 *   request: ({ principal, method, path }) => fetch(url + path, { method, headers: sessionOf(principal) }),
 * });
 * ```
 */
export async function denialMatrix<R extends Resources, Role extends string>(
  options: DenialMatrixOptions<R, Role>,
): Promise<readonly MatrixCell[]> {
  const { routes, cases, principals, request } = options;
  const names = Object.keys(principals);
  const routeNames = new Set(routes.map(nameOf));
  const failures = [
    ...Object.keys(cases).flatMap((name) =>
      routeNames.has(name) ? [] : [`${name}: no such route is declared`],
    ),
    ...(routes.length === 0 ? ['the application declares no route'] : []),
  ];
  const cells: MatrixCell[] = [];
  for (const route of routes) {
    const name = nameOf(route);
    const own: MatrixCell[] = [];
    const given = Object.hasOwn(cases, name) ? (cases[name] ?? []) : [];
    if (given.length === 0) failures.push(`${name}: the matrix leaves it out`);
    for (const each of given) {
      failures.push(...declarationFailures(name, route, each));
      const { path, body } = each;
      for (const principal of [undefined, ...names]) {
        const expected = expectation(options, route, each, principal);
        const response = await request({ principal, method: route.method, path, body });
        own.push({ route: name, path, principal, expected, actual: await outcomeOf(response) });
      }
    }
    if (route.public === undefined && given.length > 0) failures.push(...gaps(name, own, options, given));
    cells.push(...own);
  }
  for (const { route, path, principal = 'nobody', expected, actual } of cells) {
    if (expected !== actual)
      failures.push(`${route} (${path}) as ${principal}: expected ${expected}, got ${actual}`);
  }
  if (failures.length > 0) throw new DenialMatrixError(failures);
  return cells;
}

function nameOf({ method, path }: DeclaredRoute): string {
  return `${method} ${path}`;
}

function declarationFailures(
  name: string,
  route: DeclaredRoute,
  each: { readonly action?: string; readonly public?: string },
): readonly string[] {
  if (route.action !== each.action)
    return [`${name}: declares ${route.action ?? 'public'}, not ${each.action ?? 'public'}`];
  if (route.public !== each.public) return [`${name}: is public for another reason than the matrix says`];
  return [];
}

function expectation<R extends Resources, Role extends string>(
  { policy, principals }: DenialMatrixOptions<R, Role>,
  route: DeclaredRoute,
  each: ProtectedCase<R> | PublicCase,
  principal: string | undefined,
): string {
  if ('public' in each) return 'passed';
  const context = principal === undefined ? undefined : principals[principal];
  if (context === undefined) return '401 unauthenticated';
  const { action } = each;
  const resource = typeof each.resource === 'function' ? each.resource(context) : each.resource;
  const decision = policy.authorize(context, action, resource as ResourceInstance<R, typeof action>);
  return expectedRefusal(decision, route.conceal || resource.org !== context.principal.org);
}

/** An answer as a word: refusals by their problem type; anything else that is no error has passed the guard. */
async function outcomeOf(response: MatrixResponse): Promise<string> {
  const { status, headers } = response;
  const text = await response.text(); // always read, or the connection is kept
  if (status < 400) return 'passed';
  if (!headers.get('content-type')?.startsWith('application/problem+json')) return `${status}`;
  const kind = /"type":"urn:ringfence:authz:(\w+)"/.exec(text)?.[1];
  return kind === undefined ? `${status}` : `${status} ${kind}`;
}

/** What a matrix must hold for each protected route, or it would pass with a guard that always or never refuses. */
function gaps<R extends Resources, Role extends string>(
  name: string,
  cells: readonly MatrixCell[],
  { principals }: DenialMatrixOptions<R, Role>,
  given: readonly (ProtectedCase<R> | PublicCase)[],
): readonly string[] {
  const asked = cells.filter(({ principal }) => principal !== undefined);
  const fixed = given.filter((each) => 'resource' in each && typeof each.resource !== 'function');
  const foreign = Object.values(principals).some(({ principal }) =>
    fixed.some((each) => 'resource' in each && (each.resource as { org: string }).org !== principal.org),
  );
  return [
    ...(asked.some(({ expected }) => expected === 'passed')
      ? []
      : [`${name}: nobody is allowed in any case`]),
    ...(asked.some(({ expected }) => expected !== 'passed')
      ? []
      : [`${name}: everybody is allowed in each case`]),
    ...(fixed.length === 0 || foreign ? [] : [`${name}: nobody of another organisation asks`]),
  ];
}
