/**
 * Routes of an Express 5 application, each with a permission or a reasoned `public`. `install` walks the routing table of
 * the application and refuses to start it when anything else stands there.
 *
 * @packageDocumentation
 */
import type { ErrorRequestHandler, Express, NextFunction, Request, RequestHandler, Response } from 'express';
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
import { Admission, type AnyAllowed, type Load } from '../routes/admission.ts';
import type { PathParameters } from '../routes/path.ts';
import { type Method, RouteRegistry } from '../routes/registry.ts';
import { closeTable, refuseRouter } from './table.ts';

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

/** Declares a route of one method, protected or public. */
export interface ExpressRoute<R extends Resources, Role extends string> {
  /** A protected route: the handler runs after an allow and gets the resource. */
  <const P extends string, A extends ActionOf<R>, Instance extends ResourceInstance<R, A>>(
    path: P,
    access: ProtectedAccess<Request<PathParameters<P>>, R, Role, A, Instance>,
    handler: (
      request: Request<PathParameters<P>>,
      response: Response,
      allowed: Allowed<Instance, Role>,
    ) => unknown,
  ): void;
  /** A public route. */
  <const P extends string, const Why extends string>(
    path: P,
    access: PublicAccess<Why>,
    handler: (request: Request<PathParameters<P>>, response: Response) => unknown,
  ): void;
}

/** The registry of an Express application. */
export interface ExpressRoutes<R extends Resources, Role extends string> {
  /** Declares a GET route; it answers HEAD too. */
  readonly get: ExpressRoute<R, Role>;
  /** Declares a POST route. */
  readonly post: ExpressRoute<R, Role>;
  /** Declares a PUT route. */
  readonly put: ExpressRoute<R, Role>;
  /** Declares a PATCH route. */
  readonly patch: ExpressRoute<R, Role>;
  /** Declares a DELETE route. */
  readonly delete: ExpressRoute<R, Role>;
  /**
   * Declares a middleware for every path, with the reason it is there: what it answers itself, no
   * permission guards. A router is no middleware.
   */
  use(why: string, middleware: RequestHandler): void;
  /** Declares an error handler, with the reason it is there; declare it last. */
  use(why: string, errorHandler: ErrorRequestHandler): void;
  /** The routes declared so far, for the denial matrix. */
  readonly declared: readonly DeclaredRoute[];
  /**
   * Registers everything in the order of declaration, checks the routing table, and closes it.
   *
   * @throws AuthzUndeclaredRoutesError `authz.undeclared_routes`.
   */
  install(app: Express): Express;
}

type ExpressHandler = (request: Request, response: Response, allowed: AnyAllowed) => unknown;

/**
 * Makes the registry of one Express application.
 *
 * @example
 * ```ts
 * const routes = createRoutes({ policy, context: (req) => sessions.admit(req.get('authorization')) });
 * routes.get(
 *   '/entries/:id',
 *   { action: 'entry.read', load: (req) => entries.find(req.params.id) },
 *   (_req, res, { resource }) => res.json(resource),
 * );
 * routes.install(express()).listen(8080);
 * ```
 */
export function createRoutes<R extends Resources, Role extends string>(
  options: RoutesOptions<Request, R, Role>,
): ExpressRoutes<R, Role> {
  const registry = new RouteRegistry<ExpressHandler, RequestHandler | ErrorRequestHandler>(options.policy);
  const admission = new Admission<Request>(options as never);
  const declare = (method: Method) =>
    ((path: string, access: AnyAccess, handler: ExpressHandler) => {
      registry.add(method, path, access, handler);
    }) as unknown as ExpressRoute<R, Role>;
  return Object.freeze({
    get: declare('get'),
    post: declare('post'),
    put: declare('put'),
    patch: declare('patch'),
    delete: declare('delete'),
    use: (why: string, middleware: RequestHandler | ErrorRequestHandler) => registry.use(why, middleware),
    get declared() {
      return registry.declared;
    },
    install(app: Express): Express {
      const known = new Set<unknown>();
      for (const entry of registry.close()) {
        if (entry.kind === 'middleware') {
          refuseRouter(entry.middleware);
          const own = wrapped(entry.middleware);
          known.add(own);
          app.use(own);
          continue;
        }
        const { route, load, handler } = entry;
        const own = guarded(admission, route, load, handler);
        known.add(own);
        app[route.method.toLowerCase() as Method](route.path, own);
      }
      closeTable(app.router, known);
      return app;
    },
  });
}

/**
 * The middleware as a function that only the registry has, so that the same middleware somewhere else in the table does
 * not pass for the declared one. Express tells an error handler by its four parameters.
 */
function wrapped(middleware: RequestHandler | ErrorRequestHandler): RequestHandler {
  if (middleware.length !== 4) {
    const handle = middleware as RequestHandler;
    return (request, response, next) => handle(request, response, next);
  }
  const handle = middleware as ErrorRequestHandler;
  const own: ErrorRequestHandler = (error, request, response, next) => handle(error, request, response, next);
  return own as unknown as RequestHandler; // `app.use` takes both
}

function guarded(
  admission: Admission<Request>,
  route: DeclaredRoute,
  load: Load | undefined,
  handler: ExpressHandler,
): RequestHandler {
  return async (request: Request, response: Response, next: NextFunction): Promise<void> => {
    try {
      const { refused } = await admission.run(
        route,
        load,
        request,
        (allowed) => handler(request, response, allowed) as Awaitable<unknown>,
      );
      if (refused === undefined || response.headersSent) return; // sent: by a middleware, which went on all the same
      response.writeHead(refused.status, refused.headers).end(refused.body);
    } catch (error) {
      next(error);
    }
  };
}
