/**
 * Paths of routes: literal segments and `:name` parameters, the part of the syntax that means the same in each framework.
 * Wildcards, optional parts and patterns are refused: one declaration must name one permission, and whoever reads it must
 * be able to tell which requests it speaks of.
 */

/** The parameters of a path, by name. */
export type PathParameters<P extends string> = { readonly [K in ParameterNames<P>]: string };

/** The names of the parameters of a path. */
export type ParameterNames<P extends string> = P extends `${infer Segment}/${infer Rest}`
  ? ParameterName<Segment> | ParameterNames<Rest>
  : ParameterName<P>;
/** The name of the parameter that a segment is. */
export type ParameterName<Segment extends string> = Segment extends `:${infer Name}` ? Name : never;

const PATH = /^(?:\/|(?:\/(?::[A-Za-z]\w*|[\w.~-]+))+)$/;
/** Names that mean something on every object; `__proto__` cannot match, a name starts with a letter. */
const INHERITED: ReadonlySet<string> = new Set(Object.getOwnPropertyNames(Object.prototype));

/**
 * Checks a path.
 *
 * @throws TypeError when it has a wildcard, an optional part, a trailing slash, an encoded character, dots as a segment, or a
 * parameter twice or with the name of a property every object has.
 */
export function checkPath(path: unknown): string {
  if (typeof path !== 'string' || !PATH.test(path)) {
    throw new TypeError(
      `${String(path)} is not a path of literal segments and :name parameters without a trailing slash`,
    );
  }
  const segments = path.slice(1).split('/');
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new TypeError(`${path} has a dot segment, which no client sends`);
  }
  const names = segments.filter((segment) => segment.startsWith(':')).map((segment) => segment.slice(1));
  for (const name of names) {
    if (INHERITED.has(name)) throw new TypeError(`${path} has a parameter with the reserved name ${name}`);
  }
  if (new Set(names).size < names.length) throw new TypeError(`${path} has a parameter twice`);
  return path;
}

/** Equal for two routes that some framework cannot tell apart: letter case and the names of parameters do not count. */
export function routeKey(method: string, path: string): string {
  return `${method} ${path.replace(/:\w+/g, ':').toLowerCase()}`;
}
