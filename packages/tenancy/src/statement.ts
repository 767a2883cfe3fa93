/**
 * From Kysely's compiled queries to statements on the wire, and back. Values are mapped here, before anything is sent or
 * any state changes: a value that cannot be mapped must not leave half a flight, or a transaction that never began.
 */
import { CompiledQuery, type QueryResult } from 'kysely';
import pg from 'pg';
import type { Statement, StatementResult } from './flight.ts';
import { MAX_PARAMETERS } from './flight-messages.ts';

/** The driver's own mapping of JavaScript values, so that a guarded statement sends what a plain one would. */
const { prepareValue } = (pg as unknown as { utils: { prepareValue(value: unknown): unknown } }).utils;

/** Texts that may be kept under a name: plain queries, whose result columns are fixed. */
const PLAIN_QUERY = /^\s*(select|insert|update|delete|merge|with|values|table)\b/i;

/** What begins a string literal: a quote, or a dollar that begins no parameter. */
const LITERAL = /'|\$(?!\d)/;

/**
 * A statement for the wire. A text with a string literal is never kept under a name: what the literal means was settled by
 * the settings at the time it was parsed, and those may have been another borrower's.
 *
 * @throws TypeError when there are more parameters than a Bind message counts: its count would start again from 0; or when the
 * text has a NUL: the text of a message ends there, and what is behind it would be read as the message's other fields.
 */
export function statementOf({ sql, parameters }: Pick<CompiledQuery, 'sql' | 'parameters'>): Statement {
  if (parameters.length > MAX_PARAMETERS)
    throw new TypeError(`a statement has at most ${MAX_PARAMETERS} parameters`);
  if (sql.includes('\0')) throw new TypeError('the text of a statement has no NUL');
  const prepare = PLAIN_QUERY.test(sql) && !LITERAL.test(sql);
  return { sql, parameters: parameters.map((value) => prepareValue(value)), prepare };
}

/** Several queries in the form of one, so that Kysely's executor carries them, and its abort signal, as one. */
export interface BatchQuery extends CompiledQuery {
  /** The queries, in order. */
  readonly batch: readonly CompiledQuery[];
}

/** The batch of these queries; its result has one row for each: that query's result. */
export function batchOf(batch: readonly CompiledQuery[]): BatchQuery {
  return { ...CompiledQuery.raw(batch.map((query) => query.sql).join('; ')), batch };
}

/** A statement of this package's own, without parameters, that is never named. */
export function plain(sql: string): Statement {
  return { sql, parameters: [], prepare: false, own: true };
}

const COUNTED = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

/** Kysely's form of a result. */
export function toQueryResult<R>(result: StatementResult | undefined): QueryResult<R> {
  const rows = (result?.rows ?? []) as R[];
  if (result?.rowCount === undefined || !COUNTED.has(result.command)) return { rows };
  return { rows, numAffectedRows: BigInt(result.rowCount) };
}
