/**
 * The registry of an application's routes. Everything is checked when it is declared, before the first request: the
 * action exists, a reason is given, no route is declared twice. After the registry was installed nothing is added.
 */
import type { Policy } from '../policy.ts';
import type { AnyAccess, DeclaredRoute } from './access.ts';
import type { Load } from './admission.ts';
import { checkPath, routeKey } from './path.ts';

/** The methods a route can be declared for. HEAD follows GET in each framework; nothing is declared for all methods. */
export const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;
/** One of them. */
export type Method = (typeof METHODS)[number];

/** A route or a middleware, in the order of declaration. */
export type Entry<Handler, Middleware> =
  | {
      readonly kind: 'route';
      readonly route: DeclaredRoute;
      readonly load: Load | undefined;
      readonly handler: Handler;
    }
  | { readonly kind: 'middleware'; readonly why: string; readonly middleware: Middleware };

/** What was declared, in order. */
export class RouteRegistry<Handler, Middleware> {
  readonly #policy: Pick<Policy, 'isAction'>;
  readonly #keys = new Set<string>();
  readonly #entries: Entry<Handler, Middleware>[] = [];
  #closed = false;

  constructor(policy: Pick<Policy, 'isAction'>) {
    this.#policy = policy;
  }

  /** Declares a route. */
  add(method: Method, given: string, access: AnyAccess, handler: Handler): void {
    const path = checkPath(given);
    const name = `${method.toUpperCase()} ${path}`;
    this.#refuseClosed(name);
    if (typeof handler !== 'function') throw new TypeError(`${name} has no handler`);
    const route = declaredRoute(this.#policy, method.toUpperCase(), path, access);
    const key = routeKey(route.method, path);
    if (this.#keys.has(key)) throw new TypeError(`${name} is declared twice, or differs in letter case only`);
    this.#keys.add(key);
    this.#entries.push({ kind: 'route', route, load: access.load as Load | undefined, handler });
  }

  /** Declares a middleware. */
  use(why: string, middleware: Middleware): void {
    this.#refuseClosed('a middleware');
    if (!isReason(why)) throw new TypeError('a middleware needs a reason, for the reviewer');
    if (typeof middleware !== 'function') throw new TypeError(`the middleware "${why}" is no function`);
    this.#entries.push({ kind: 'middleware', why, middleware });
  }

  /** The routes declared so far. */
  get declared(): readonly DeclaredRoute[] {
    return Object.freeze(this.#entries.flatMap((entry) => (entry.kind === 'route' ? [entry.route] : [])));
  }

  /** Ends the declarations; an application has one registry and a registry one application. */
  close(): readonly Entry<Handler, Middleware>[] {
    this.#refuseClosed('the registry itself');
    this.#closed = true;
    return this.#entries;
  }

  #refuseClosed(what: string): void {
    if (this.#closed) throw new TypeError(`the registry is installed already: ${what} comes too late`);
  }
}

function declaredRoute(
  policy: Pick<Policy, 'isAction'>,
  method: string,
  path: string,
  access: AnyAccess,
): DeclaredRoute {
  const { action, load, public: why, conceal } = access;
  const name = `${method} ${path}`;
  if (why !== undefined) {
    if (!isReason(why)) throw new TypeError(`${name} is public without a reason`);
    if (action !== undefined || load !== undefined || conceal !== undefined) {
      throw new TypeError(`${name} is declared both public and protected`);
    }
    return Object.freeze({ method, path, action: undefined, public: why, conceal: false });
  }
  if (!policy.isAction(action))
    throw new TypeError(`${name} declares no action of the policy: ${String(action)}`);
  if (typeof load !== 'function') throw new TypeError(`${name} does not say how to load its resource`);
  if (conceal !== undefined && conceal !== true)
    throw new TypeError(`${name}: conceal is neither true nor absent`);
  return Object.freeze({ method, path, action, public: undefined, conceal: conceal === true });
}

function isReason(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '';
}
