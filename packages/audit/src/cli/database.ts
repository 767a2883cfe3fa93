/** One connection for one command, through the `pg` driver, which only the commands that need a database load. */
import type { CompiledQuery, QueryResult } from 'kysely';
import type { CheckpointDatabase } from '../checkpoint/database.ts';
import type { QueryExecutor } from '../executor.ts';
import { CliError, messageOf } from './command.ts';

/** Connects, uses the connection, and ends it whatever happens. */
export async function withDatabase<T>(url: string, use: (db: CheckpointDatabase) => Promise<T>): Promise<T> {
  const { default: pg } = await import('pg').catch((cause: unknown) => {
    throw new CliError(`the driver is not installed: npm install pg (${messageOf(cause)})`, 'cli.database');
  });
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {}); // the statement under way tells of it
  await client.connect().catch((cause: unknown) => {
    throw new CliError(`no connection to the database: ${messageOf(cause)}`, 'cli.database');
  });
  const executeQuery = async <R>({ sql, parameters }: CompiledQuery<R>): Promise<QueryResult<R>> => {
    const { rows } = await client.query({ text: sql, values: [...parameters] });
    return { rows: rows as R[] };
  };
  const inTransaction = async <R>(run: (trx: QueryExecutor) => Promise<R>): Promise<R> => {
    await client.query('begin isolation level repeatable read');
    try {
      const result = await run({ isTransaction: true, executeQuery });
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch(() => {}); // the connection may be what failed
      throw error;
    }
  };
  const transaction = () => ({ setIsolationLevel: () => ({ execute: inTransaction }) });
  try {
    return await use({ isTransaction: false, executeQuery, transaction });
  } finally {
    await client.end();
  }
}
