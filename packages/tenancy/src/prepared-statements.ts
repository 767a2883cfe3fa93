/**
 * Which statements are prepared on one physical connection: a bounded map, least recently used out first.
 * Names come from a prefix per pool and a counter per connection, never from the SQL, so no input chooses a name.
 */
import type { Field } from './flight.ts';

/** A statement under its name. */
export interface NamedStatement {
  /** Name of the prepared statement. */
  readonly name: string;
  /**
   * Its result columns, once PostgreSQL has described them: they need not be asked for again, because it refuses to run a
   * prepared statement whose result has changed.
   */
  columns: readonly Field[] | undefined;
}

/** How one statement is to be sent. */
export interface PreparePlan {
  /** The statement. */
  readonly statement: NamedStatement;
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
  const names = new Map<string, NamedStatement>();
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
        if (!parse) return { statement: known, parse, close };
        known.columns = undefined;
        return { statement: known, parse, close: [...close, known.name] };
      }
      if (names.size >= limit) {
        const [oldest, { name }] = names.entries().next().value as [string, NamedStatement];
        names.delete(oldest);
        doubtful.delete(oldest);
        close.push(name);
      }
      const statement: NamedStatement = { name: `${prefix}_${++counter}`, columns: undefined };
      names.set(sql, statement);
      return { statement, parse: true, close };
    },
    failed: (sql, { statement, close }) => {
      if (names.get(sql) === statement) doubtful.add(sql);
      for (const name of close) if (name !== statement.name) unclosed.add(name);
    },
  };
}

/** No names at all: for poolers that do not track prepared statements (pgbouncer before 1.21). */
export const unnamedStatements: PreparedStatements = { plan: () => undefined, failed: () => {} };
