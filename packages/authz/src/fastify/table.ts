/**
 * The routing table of Fastify. It has no list of its routes, so the watch starts while the table is empty and is told of
 * every addition by `onRoute`, in plugins that load later too. Invariant: an application with an undeclared route does not
 * become ready, and answers no request.
 */
import type { FastifyInstance } from 'fastify';
import { AuthzUndeclaredRoutesError, type RouteName } from '../errors.ts';

/** What Fastify prints without a route. Anything else is a route, whether or not its name can be read. */
const EMPTY = '(empty tree)';

/** Starts the watch; gives the set to which the handlers of declared routes are added before they are registered. */
export function watchTable(app: FastifyInstance): Set<unknown> {
  const before = app.printRoutes({ commonPrefix: false });
  if (before !== EMPTY) throw new AuthzUndeclaredRoutesError(printedRoutes(before));
  refuseLoadedPlugins(app);
  const known = new Set<unknown>();
  const undeclared: RouteName[] = [];
  app.addHook('onRoute', ({ method, url, handler }) => {
    if (known.has(handler)) return;
    for (const each of [method].flat()) undeclared.push({ method: each, path: url });
  });
  app.addHook('onReady', async () => {
    if (undeclared.length > 0) throw new AuthzUndeclaredRoutesError(undeclared);
  });
  // Fastify refuses the first request of an application that did not become ready, and answers the next: `inject` in tests,
  // or `routing` behind a server of one's own. The hooks of the application run before those of any plugin or route.
  app.addHook('onRequest', (_request, _reply, done) => {
    done(undeclared.length > 0 ? new NotReady() : undefined);
  });
  return known;
}

/** What a client is told: names of routes are for whoever starts the application. */
class NotReady extends Error {
  readonly statusCode = 503;

  constructor() {
    super('the application did not become ready');
  }
}

/**
 * The instance of a plugin that has loaded took its copy of the hooks then: routes that are added to it later are not seen
 * and not refused. Plugins without an instance of their own (`fastify-plugin`) do no harm.
 */
function refuseLoadedPlugins(app: FastifyInstance): void {
  const key = Object.getOwnPropertySymbols(app).find(({ description }) => description === 'fastify.children');
  const children: unknown = key === undefined ? undefined : Reflect.get(app, key);
  if (!Array.isArray(children)) throw new TypeError('the application is not one of Fastify 5');
  if (children.length > 0)
    throw new TypeError('install the routes first: a plugin was loaded whose additions nobody would see');
}

/**
 * Reads the printed tree: each line is a part of a path below the line it is indented under, with its methods and
 * constraints. A line without a branch is the path of the line above, under other constraints.
 */
function printedRoutes(tree: string): readonly RouteName[] {
  const parents: string[] = [];
  return tree.split('\n').flatMap((line) => {
    const [, indent = '', branch, part = '', methods] =
      /^([│ ]*)([├└]── )?(.*?)(?: \(([A-Z, -]+)\)(?: \{.*)?)?$/s.exec(line) ?? [];
    if (part === '') return [];
    const depth = indent.length / 4;
    const above = parents[depth - 1] ?? '';
    const path = branch === undefined ? above : `${above}${part}`;
    parents.splice(depth, parents.length, path);
    return (methods?.split(', ') ?? []).map((method) => ({ method, path }));
  });
}
