/**
 * Which statements are prepared on one physical connection: a bounded map, least recently used out first.
 * Names come from a prefix per pool and a counter per connection, never from the SQL, so no input chooses a name.
 */

/** How one statement is to be sent. */
export interface PreparePlan {
  /** Name of the prepared statement. */
  readonly name: string;
  /** True when it has to be parsed in this flight. */
  readonly parse: boolean;
  /** Names to close first: evicted ones, and one whose state is in doubt. */
  readonly close: readonly string[];
}

/** Plans for one connection; `undefined` means: use the unnamed statement. */
export interface PreparedStatements {
  /** Decides how `sql` is sent now, and records it as prepared. */
  plan(sql: string): PreparePlan | undefined;
  /** Records that a flight which parsed `sql` failed, so its state on the server is unknown. */
  doubt(sql: string): void;
}

/** Prepared statements by name, at most `limit` of them. Two users of one connection need two prefixes. */
export function namedStatements(prefix: string, limit: number): PreparedStatements {
  const names = new Map<string, string>();
  const doubtful = new Set<string>();
  let counter = 0;
  return {
    plan: (sql) => {
      const known = names.get(sql);
      if (known !== undefined) {
        names.delete(sql);
        names.set(sql, known);
        if (doubtful.delete(sql)) return { name: known, parse: true, close: [known] };
        return { name: known, parse: false, close: [] };
      }
      const close: string[] = [];
      if (names.size >= limit) {
        const [oldest, name] = names.entries().next().value as [string, string];
        names.delete(oldest);
        doubtful.delete(oldest);
        close.push(name);
      }
      const name = `${prefix}_${++counter}`;
      names.set(sql, name);
      return { name, parse: true, close };
    },
    doubt: (sql) => {
      if (names.has(sql)) doubtful.add(sql);
    },
  };
}

/** No names at all: for poolers that do not track prepared statements (pgbouncer before 1.21). */
export const unnamedStatements: PreparedStatements = { plan: () => undefined, doubt: () => {} };
