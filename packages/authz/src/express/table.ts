/**
 * The routing table of Express 5: `app.router.stack`, layers of routes, of middleware, of routers and of mounted
 * applications, and `app.router.params`, handlers that run before the handler of any route with such a parameter, and so
 * before its guard. An entry is known by the identity of its handler, which nobody but the registry has, never by a name.
 * Invariant: after `closeTable` the table holds what was declared, and nothing can be added.
 */
import { METHODS } from 'node:http';
import type { Express } from 'express';
import { AuthzUndeclaredRoutesError, type RouteName } from '../errors.ts';

interface Layer {
  readonly name?: string;
  readonly handle: unknown;
  readonly route?: {
    readonly path: unknown;
    readonly methods: Readonly<Record<string, boolean>>;
    readonly stack: readonly { readonly handle: unknown }[];
  };
}

/** What Express keeps of a router and does not declare. */
interface Table {
  readonly stack: readonly Layer[];
  readonly params: Readonly<Record<string, readonly unknown[]>>;
}

/** Refuses entries that are not known, then freezes the table. */
export function closeTable(router: Express['router'], known: ReadonlySet<unknown>): void {
  const { stack, params } = router as unknown as Table;
  if (!Array.isArray(stack) || typeof params !== 'object' || params === null)
    throw new TypeError('the router is not one of Express 5');
  const undeclared = [
    ...Object.keys(params).map((name) => ({ method: 'PARAM', path: `(:${name})` })),
    ...undeclaredOf(stack, known),
  ];
  if (undeclared.length > 0) throw new AuthzUndeclaredRoutesError(undeclared);
  for (const { route } of stack) if (route !== undefined) Object.freeze(route.stack);
  for (const [name, value] of Object.entries({ stack, params })) {
    Object.defineProperty(router, name, {
      value: Object.freeze(value),
      writable: false,
      configurable: false,
    });
  }
}

/**
 * Refuses a router or an application as middleware: it is open to additions and hides its prefix, so no reason covers it,
 * not even with each handler known.
 */
export function refuseRouter(middleware: unknown): void {
  const nested = stackOf(middleware);
  if (nested !== undefined) throw new AuthzUndeclaredRoutesError(nestedRoutes(nested));
}

function undeclaredOf(stack: readonly Layer[], known: ReadonlySet<unknown>): readonly RouteName[] {
  return stack.flatMap(({ route, handle, name = 'middleware' }) => {
    if (route !== undefined) {
      if (route.stack.length > 0 && route.stack.every((layer) => known.has(layer.handle))) return [];
      const path = String(route.path);
      const methods = Object.keys(route.methods).map((method) => method.toUpperCase());
      // `app.all` registers each method Node knows, `route.all` one entry for them all.
      const all =
        methods.length === 0 || methods.includes('_ALL') || METHODS.every((each) => methods.includes(each));
      return (all ? ['ALL'] : methods).map((method) => ({ method, path }));
    }
    const nested = stackOf(handle);
    if (nested !== undefined) return nestedRoutes(nested);
    return known.has(handle) ? [] : [{ method: 'USE', path: `(${name || 'middleware'})` }];
  });
}

function nestedRoutes(stack: readonly Layer[]): readonly RouteName[] {
  const routes = undeclaredOf(stack, new Set());
  return routes.length > 0 ? routes : [{ method: 'USE', path: '(empty router)' }];
}

/** The table inside a router or an application used as middleware. */
function stackOf(handle: unknown): readonly Layer[] | undefined {
  if (typeof handle !== 'function') return undefined;
  if ('stack' in handle && Array.isArray(handle.stack)) return handle.stack as readonly Layer[];
  if (!('router' in handle) || typeof handle.router !== 'function') return undefined;
  return stackOf(handle.router);
}
