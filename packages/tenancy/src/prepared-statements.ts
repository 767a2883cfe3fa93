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
  /** Records that the flight which carried this plan failed: what it parsed, closed or relied on is in doubt. */
  failed(sql: string, plan: PreparePlan): void;
}

/** Prepared statements by name, at most `limit` of them. Two users of one connection need two prefixes. */
export function namedStatements(prefix: string, limit: number): PreparedStatements {
  if (!(Number.isInteger(limit) && limit >= 1))
    throw new TypeError('preparedStatements.limit must be 1 or more');
  const names = new Map<string, string>();
  /** Statements whose name may not stand for them: parsed in a flight that failed, deallocated, or outdated by DDL. */
  const doubtful = new Set<string>();
  /** Names whose Close may not have taken effect: closed again, which is no error for a name that does not exist. */
  const unclosed = new Set<string>();
  let counter = 0;
  const takeUnclosed = () => {
    const close = [...unclosed];
    unclosed.clear();
    return close;
  };
  return {
    plan: (sql) => {
      const close = takeUnclosed();
      const known = names.get(sql);
      if (known !== undefined) {
        names.delete(sql);
        names.set(sql, known);
        const parse = doubtful.delete(sql);
        return { name: known, parse, close: parse ? [...close, known] : close };
      }
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
    failed: (sql, plan) => {
      if (names.get(sql) === plan.name) doubtful.add(sql);
      for (const name of plan.close) if (name !== plan.name) unclosed.add(name);
    },
  };
}

/** No names at all: for poolers that do not track prepared statements (pgbouncer before 1.21). */
export const unnamedStatements: PreparedStatements = { plan: () => undefined, failed: () => {} };
