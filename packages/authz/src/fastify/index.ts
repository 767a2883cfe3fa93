/**
 * Routes of a Fastify application, each with a permission or a reasoned `public`. `install` comes first and watches what is
 * added, by plugins too; the application does not become ready when anything undeclared was.
 *
 * @packageDocumentation
 */
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifySchema,
  RouteHandlerMethod,
} from 'fastify';
import type { ActionOf, ResourceInstance, Resources } from '../policy-types.ts';
import type {
  Allowed,
  AnyAccess,
  DeclaredRoute,
  ProtectedAccess,
  PublicAccess,
  RoutesOptions,
} from '../routes/access.ts';
import { Admission, type AnyAllowed } from '../routes/admission.ts';
import type { PathParameters } from '../routes/path.ts';
import { type Method, RouteRegistry } from '../routes/registry.ts';
import { watchTable } from './table.ts';

export { AuthzUndeclaredRoutesError, type RouteName } from '../errors.ts';
export type {
  Allowed,
  Awaitable,
  DeclaredRoute,
  ProtectedAccess,
  PublicAccess,
  RoutesOptions,
} from '../routes/access.ts';
export type { ParameterName, ParameterNames, PathParameters } from '../routes/path.ts';
export type { Problem, ProblemKind } from '../routes/refusal.ts';

/** The request of a path. */
export type RequestOf<P extends string> = FastifyRequest<{
  /** The parameters of the path. */
  Params: PathParameters<P>;
}>;

/** Declares a route of one method, protected or public. */
export interface FastifyRoute<R extends Resources, Role extends string> {
  /** A protected route: the handler runs after an allow and gets the resource. */
  <const P extends string, A extends ActionOf<R>, Instance extends ResourceInstance<R, A>>(
    path: P,
    access: ProtectedAccess<RequestOf<P>, R, Role, A, Instance>,
    handler: (request: RequestOf<P>, reply: FastifyReply, allowed: Allowed<Instance, Role>) => unknown,
    schema?: FastifySchema,
  ): void;
  /** A public route. */
  <const P extends string, const Why extends string>(
    path: P,
    access: PublicAccess<Why>,
    handler: (request: RequestOf<P>, reply: FastifyReply) => unknown,
    schema?: FastifySchema,
  ): void;
}

/** The registry of a Fastify application. */
export interface FastifyRoutes<R extends Resources, Role extends string> {
  /** Declares a GET route; it answers HEAD too. */
  readonly get: FastifyRoute<R, Role>;
  /** Declares a POST route. */
  readonly post: FastifyRoute<R, Role>;
  /** Declares a PUT route. */
  readonly put: FastifyRoute<R, Role>;
  /** Declares a PATCH route. */
  readonly patch: FastifyRoute<R, Role>;
  /** Declares a DELETE route. */
  readonly delete: FastifyRoute<R, Role>;
  /** The routes declared so far, for the denial matrix. */
  readonly declared: readonly DeclaredRoute[];
  /**
   * Registers everything. Call it before any other route is added; `ready()`, and so `listen()`, then rejects with
   * `authz.undeclared_routes` when one was added beside the registry.
   *
   * @throws AuthzUndeclaredRoutesError `authz.undeclared_routes` when the application has routes already.
   */
  install<App extends FastifyInstance>(app: App): App;
}

interface FastifyEntry {
  readonly run: (request: FastifyRequest, reply: FastifyReply, allowed: AnyAllowed) => unknown;
  readonly schema: FastifySchema | undefined;
}

type Run = FastifyEntry['run'];

/**
 * Makes the registry of one Fastify application.
 *
 * @example
 * ```ts
 * const routes = createRoutes({ policy, context: (request) => sessions.admit(request.headers.authorization) });
 * routes.get(
 *   '/entries/:id',
 *   { action: 'entry.read', load: (request) => entries.find(request.params.id) },
 *   (_request, _reply, { resource }) => resource,
 * );
 * await routes.install(Fastify()).listen({ port: 8080 });
 * ```
 */
export function createRoutes<R extends Resources, Role extends string>(
  options: RoutesOptions<FastifyRequest, R, Role>,
): FastifyRoutes<R, Role> {
  const schemas = new Map<Run, FastifySchema>();
  const registry = new RouteRegistry<Run, never>(options.policy);
  const admission = new Admission<FastifyRequest>(options as never);
  const declare = (method: Method) =>
    ((path: string, access: AnyAccess, handler: Run, schema?: FastifySchema) => {
      const run: Run = typeof handler === 'function' ? (...given) => handler(...given) : handler;
      registry.add(method, path, access, run);
      if (schema !== undefined) schemas.set(run, schema);
    }) as unknown as FastifyRoute<R, Role>;
  return Object.freeze({
    get: declare('get'),
    post: declare('post'),
    put: declare('put'),
    patch: declare('patch'),
    delete: declare('delete'),
    get declared() {
      return registry.declared;
    },
    install<App extends FastifyInstance>(app: App): App {
      // Hooks of a plugin's own instance see nothing of the application around it.
      if ('register' in (Object.getPrototypeOf(app) as object))
        throw new TypeError('install the routes on the application itself, not inside a plugin');
      const known = watchTable(app);
      for (const entry of registry.close()) {
        if (entry.kind === 'middleware') continue;
        const { route, load, handler } = entry;
        const own: RouteHandlerMethod = async (request, reply) => {
          const outcome = await admission.run(route, load, request, async (allowed) => ({
            value: await handler(request, reply, allowed),
          }));
          if (outcome.refused === undefined) return outcome.result.value;
          const { status, headers, body } = outcome.refused;
          return reply.code(status).headers(headers).send(body);
        };
        known.add(own);
        const schema = schemas.get(handler);
        app.route({
          method: route.method,
          url: route.path,
          handler: own,
          ...(schema === undefined ? {} : { schema }),
        });
      }
      return app;
    },
  });
}
