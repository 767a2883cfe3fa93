/**
 * From Kysely's compiled queries to statements on the wire, and back. Values are mapped here, before anything is sent or
 * any state changes: a value that cannot be mapped must not leave half a flight, or a transaction that never began.
 */
import type { CompiledQuery, QueryResult } from 'kysely';
import pg from 'pg';
import type { Statement, StatementResult } from './flight.ts';

/** The driver's own mapping of JavaScript values, so that a guarded statement sends what a plain one would. */
const { prepareValue } = (pg as unknown as { utils: { prepareValue(value: unknown): unknown } }).utils;

/** A statement worth preparing. */
export function statementOf(query: CompiledQuery): Statement {
  return { sql: query.sql, parameters: query.parameters.map((value) => prepareValue(value)), prepare: true };
}

/** A statement without parameters that is never named. */
export function plain(sql: string): Statement {
  return { sql, parameters: [], prepare: false };
}

const COUNTED = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

/** Kysely's form of a result. */
export function toQueryResult<R>(result: StatementResult | undefined): QueryResult<R> {
  const rows = (result?.rows ?? []) as R[];
  if (result?.rowCount === undefined || !COUNTED.has(result.command)) return { rows };
  return { rows, numAffectedRows: BigInt(result.rowCount) };
}
