/**
 * Whether a function decides itself what its names mean. Source: PostgreSQL documentation, CREATE FUNCTION, "Writing SECURITY
 * DEFINER Functions Safely".
 *
 * Invariant: `pg_temp` counts where it is named first, and is searched first where it is not named: before pg_catalog for
 * relations and types, so that an empty path leaves both to whoever may create a temporary table or domain.
 */

/** The `search_path` among `SET` clauses, as PostgreSQL prints it; undefined when it is not set. */
export function searchPathOf(settings: readonly string[]): string | undefined {
  return settings.find((setting) => setting.startsWith('search_path='))?.slice('search_path='.length);
}

/** Names of a path, unquoted. */
export function pathNames(path: string): readonly string[] {
  return [...path.matchAll(/"((?:[^"]|"")*)"|[^\s,"]+/g)].map(([plain, inQuotes]) =>
    inQuotes === undefined ? plain : inQuotes.replaceAll('""', '"'),
  );
}

/** True for a path that names `pg_temp` once, last, and no schema after the role that runs it. */
export function isFixedPath(path: string): boolean {
  const names = pathNames(path);
  return names.indexOf('pg_temp') === names.length - 1 && names.length > 0 && !names.includes('$user');
}
