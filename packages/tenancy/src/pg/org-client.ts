/**
 * A checked-out connection of one organisation in the form of `pg`'s `PoolClient`: `query` and `release`.
 *
 * BEGIN is not sent but held back, so that it travels with the context and the first statement in one flight; SET
 * TRANSACTION before that statement joins it, since the context is a query and it may not follow one. Statements run in
 * call order, as the driver's do. The driver's own client is never reachable from here.
 */
import { EventEmitter } from 'node:events';
import type { QueryResult } from 'pg';
import type { Statement } from '../flight.ts';
import type { OrgConnection } from '../org-connection.ts';
import { emptyQueryResult, type PgQuery, queryResult, queryStatement } from './query-statement.ts';
import { type TransactionStatement, transactionStatement } from './transaction-statement.ts';

/** A connection of `OrgPool.connect()`. Emits nothing: a lost connection is the error of the statement that meets it. */
export class OrgClient extends EventEmitter {
  readonly #connection: OrgConnection;
  #open = false;
  /** Modes of a BEGIN that has not been sent yet. */
  #modes: string | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(connection: OrgConnection) {
    super();
    this.#connection = connection;
  }

  /** Runs one statement, or begins, ends or divides the transaction. */
  async query(
    query: string | PgQuery,
    values?: readonly unknown[],
    callback?: unknown,
  ): Promise<QueryResult<Record<string, unknown>>> {
    const statement = queryStatement(query, values, callback);
    const transaction = transactionStatement(statement.sql);
    const result = this.#turn.then(() =>
      transaction === undefined ? this.#run(statement) : this.#control(transaction, statement),
    );
    this.#turn = result.catch(() => {});
    return await result;
  }

  /** Gives the connection back; one that is not known to be clean, or still in a transaction, is destroyed. */
  release(): void {
    this.#connection.release();
  }

  async #run(statement: Statement): Promise<QueryResult<Record<string, unknown>>> {
    this.#modes = undefined;
    return queryResult(await this.#connection.execute(statement));
  }

  async #control(
    transaction: TransactionStatement,
    statement: Statement,
  ): Promise<QueryResult<Record<string, unknown>>> {
    if ((transaction.kind === 'begin') === this.#open) {
      throw new TypeError(
        this.#open
          ? 'a transaction is open already: use a savepoint'
          : 'no transaction is open on this client',
      );
    }
    switch (transaction.kind) {
      case 'begin':
        this.#begin(transaction.modes);
        this.#open = true;
        return emptyQueryResult('BEGIN');
      case 'modes':
        if (this.#modes === undefined) return await this.#run(statement);
        this.#begin(`${this.#modes}${transaction.modes}`);
        return emptyQueryResult('SET');
      case 'commit':
        await this.#connection.commit();
        this.#ended();
        return emptyQueryResult('COMMIT');
      case 'rollback':
        await this.#connection.rollback();
        this.#ended();
        return emptyQueryResult('ROLLBACK');
      case 'savepoint':
        this.#modes = undefined;
        await this.#connection.savepoint(transaction.name);
        return emptyQueryResult('SAVEPOINT');
      case 'release':
        this.#modes = undefined;
        await this.#connection.releaseSavepoint(transaction.name);
        return emptyQueryResult('RELEASE');
      case 'rollback to':
        this.#modes = undefined;
        await this.#connection.rollbackToSavepoint(transaction.name);
        return emptyQueryResult('ROLLBACK');
    }
  }

  #begin(modes: string): void {
    this.#connection.begin(`begin${modes}`);
    this.#modes = modes;
  }

  #ended(): void {
    this.#open = false;
    this.#modes = undefined;
  }
}
