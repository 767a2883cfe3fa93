/**
 * From the arguments of `pg`'s `query` to a statement on the wire, and back to its result. What a handle cannot carry is
 * refused rather than ignored: a callback that is never called, or a stream past the context, would both go unnoticed.
 */
import type { QueryResult } from 'pg';
import type { Statement, StatementResult, TypeParsers } from '../flight.ts';
import { statementOf } from '../statement.ts';

/** A query of the `pg` driver, as far as a handle carries it. */
export interface PgQuery {
  /** SQL with `$1` parameters: one statement. */
  readonly text: string;
  /** Parameter values. */
  readonly values?: readonly unknown[] | undefined;
  /** `'array'` answers rows as arrays in column order. */
  readonly rowMode?: string | undefined;
  /** Parsers for the columns of this query. */
  readonly types?: TypeParsers | undefined;
  /** Accepted and not used: every statement is prepared, under a name of the handle's own. */
  readonly name?: string | undefined;
}

const SUPPORTED: ReadonlySet<string> = new Set(['text', 'values', 'rowMode', 'types', 'name']);

/**
 * The statement of `query(text | config, values?)`.
 *
 * @throws TypeError for callbacks, streams and cursors, and options that a handle does not carry.
 */
export function queryStatement(
  query: string | PgQuery,
  values: readonly unknown[] | undefined,
  callback: unknown,
): Statement {
  if (callback !== undefined) throw new TypeError('query: callbacks are not supported');
  const config: PgQuery = typeof query === 'string' ? { text: query } : query;
  if (typeof config?.text !== 'string' || 'submit' in config) {
    throw new TypeError(
      'query: expected SQL text or a config with text; streams and cursors are not supported',
    );
  }
  for (const [key, value] of Object.entries(config)) {
    if (value !== undefined && !SUPPORTED.has(key)) throw new TypeError(`query: ${key} is not supported`);
  }
  const given = values ?? config.values ?? [];
  if (!Array.isArray(given))
    throw new TypeError('query: values is not an array; callbacks are not supported');
  const { rowMode, types } = config;
  if (rowMode !== undefined && rowMode !== 'array')
    throw new TypeError(`query: rowMode ${rowMode} is not supported`);
  return { ...statementOf({ sql: config.text, parameters: given }), rowMode, types };
}

/** The result in the driver's form. */
export function queryResult(result: StatementResult): QueryResult<Record<string, unknown>> {
  const { command, rowCount, fields, rows } = result;
  return { command, rowCount: rowCount ?? null, oid: 0, fields: fields as QueryResult['fields'], rows };
}

/** The result of a statement that answers no rows. */
export function emptyQueryResult(command: string): QueryResult<Record<string, unknown>> {
  return { command, rowCount: null, oid: 0, fields: [], rows: [] };
}
