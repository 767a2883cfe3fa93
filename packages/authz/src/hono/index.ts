/**
 * Routes of a Hono application, each with a permission or a reasoned `public`. `install` walks the routing table of the
 * application and refuses to start it when anything else stands there.
 *
 * @packageDocumentation
 */
import type { Context, Env, Handler, Hono, MiddlewareHandler } from 'hono';
import { AuthzUndeclaredRoutesError } from '../errors.ts';
import type { ActionOf, ResourceInstance, Resources } from '../policy-types.ts';
import type {
  Allowed,
  AnyAccess,
  Awaitable,
  DeclaredRoute,
  ProtectedAccess,
  PublicAccess,
  RoutesOptions,
} from '../routes/access.ts';
import { Admission, type AnyAllowed } from '../routes/admission.ts';
import { type Method, RouteRegistry } from '../routes/registry.ts';

export { AuthzUndeclaredRoutesError, type RouteName } from '../errors.ts';
export type {
  Allowed,
  Awaitable,
  DeclaredRoute,
  ProtectedAccess,
  PublicAccess,
  RoutesOptions,
} from '../routes/access.ts';
export type { Problem, ProblemKind } from '../routes/refusal.ts';

/** Declares a route of one method, protected or public. */
export interface HonoRoute<R extends Resources, Role extends string, E extends Env> {
  /** A protected route: the handler runs after an allow and gets the resource. */
  <const P extends string, A extends ActionOf<R>, Instance extends ResourceInstance<R, A>>(
    path: P,
    access: ProtectedAccess<Context<E, P>, R, Role, A, Instance>,
    handler: (context: Context<E, P>, allowed: Allowed<Instance, Role>) => Awaitable<Response>,
  ): void;
  /** A public route. */
  <const P extends string, const Why extends string>(
    path: P,
    access: PublicAccess<Why>,
    handler: (context: Context<E, P>) => Awaitable<Response>,
  ): void;
}

/** The registry of a Hono application. */
export interface HonoRoutes<R extends Resources, Role extends string, E extends Env> {
  /** Declares a GET route; it answers HEAD too. */
  readonly get: HonoRoute<R, Role, E>;
  /** Declares a POST route. */
  readonly post: HonoRoute<R, Role, E>;
  /** Declares a PUT route. */
  readonly put: HonoRoute<R, Role, E>;
  /** Declares a PATCH route. */
  readonly patch: HonoRoute<R, Role, E>;
  /** Declares a DELETE route. */
  readonly delete: HonoRoute<R, Role, E>;
  /** Declares a middleware for every path, with the reason it is there: what it answers itself, no permission guards. */
  use(why: string, middleware: MiddlewareHandler<E>): void;
  /** The routes declared so far, for the denial matrix. */
  readonly declared: readonly DeclaredRoute[];
  /**
   * Registers everything in the order of declaration, checks the routing table, and closes it.
   *
   * @throws AuthzUndeclaredRoutesError `authz.undeclared_routes`. A route added afterwards throws the same.
   */
  install<App extends Hono<E>>(app: App): App;
}

type HonoHandler = (context: Context, allowed: AnyAllowed) => Awaitable<Response>;

/**
 * Makes the registry of one Hono application.
 *
 * @example
 * ```ts
 * const routes = createRoutes({ policy, context: (c) => sessions.admit(c.req.header('authorization')) });
 * routes.get('/health', { public: 'liveness probe, no data' }, (c) => c.text('ok'));
 * routes.get(
 *   '/entries/:id',
 *   { action: 'entry.read', load: (c) => entries.find(c.req.param('id')) },
 *   (c, { resource }) => c.json(resource),
 * );
 * const app = routes.install(new Hono());
 * ```
 */
export function createRoutes<R extends Resources, Role extends string, E extends Env = Env>(
  options: RoutesOptions<Context<E>, R, Role>,
): HonoRoutes<R, Role, E> {
  const registry = new RouteRegistry<HonoHandler, MiddlewareHandler<E>>(options.policy);
  const admission = new Admission<Context>(options as never);
  const declare = (method: Method) =>
    ((path: string, access: AnyAccess, handler: HonoHandler) => {
      registry.add(method, path, access, handler);
    }) as unknown as HonoRoute<R, Role, E>;
  return Object.freeze({
    get: declare('get'),
    post: declare('post'),
    put: declare('put'),
    patch: declare('patch'),
    delete: declare('delete'),
    use: (why: string, middleware: MiddlewareHandler<E>) => registry.use(why, middleware),
    get declared() {
      return registry.declared;
    },
    install<App extends Hono<E>>(app: App): App {
      const known = new Set<unknown>();
      for (const entry of registry.close()) {
        if (entry.kind === 'middleware') {
          const { middleware } = entry;
          const own: MiddlewareHandler<E> = (c, next) => middleware(c, next);
          known.add(own);
          app.use(own);
          continue;
        }
        const { route, load, handler } = entry;
        const own: Handler<E> = async (c) => {
          const outcome = await admission.run(route, load, c as Context, (allowed) =>
            handler(c as Context, allowed),
          );
          if (outcome.refused === undefined) return outcome.result;
          const { status, headers, body } = outcome.refused;
          return new Response(body, { status, headers });
        };
        known.add(own);
        app.on(route.method, route.path, own);
      }
      close(app, known);
      return app;
    },
  });
}

/** Checks the table by the identity of its handlers, then closes the router that the application and its clones share. */
function close<E extends Env>(app: Hono<E>, known: ReadonlySet<unknown>): void {
  const undeclared = app.routes.filter(({ handler }) => !known.has(handler));
  if (undeclared.length > 0) throw new AuthzUndeclaredRoutesError(undeclared);
  app.router.add = (method, path) => {
    throw new AuthzUndeclaredRoutesError([{ method, path }]);
  };
  Object.freeze(app.routes);
}
