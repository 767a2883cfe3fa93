/**
 * The transaction of a session as its callback has it. Invariant: what the callback started is over before the record of the
 * session is written, and nothing starts behind it; a statement that nobody awaited would run and not be counted.
 */
import { type ConnectionProvider, type DatabaseConnection, type Dialect, Transaction } from 'kysely';

/** Lends the connection of a transaction until the callback has returned. */
export class CallbackHandle<DB> implements ConnectionProvider {
  /** What the callback is given. */
  readonly db: Transaction<DB>;
  readonly #lender: ConnectionProvider;
  #running: Promise<unknown> = Promise.resolve();
  #over = false;

  constructor(trx: Transaction<DB>, dialect: Dialect) {
    this.#lender = trx.getExecutor();
    const executor = trx.getExecutor().withConnectionProvider(this);
    this.db = new Transaction<DB>({ config: { dialect }, dialect, driver: dialect.createDriver(), executor });
  }

  /** Lends the connection to a statement. */
  provideConnection<T>(
    consumer: (connection: DatabaseConnection) => Promise<T>,
    options?: Parameters<ConnectionProvider['provideConnection']>[1],
  ): Promise<T> {
    if (this.#over) {
      throw new TypeError('the session is over: await every statement before its callback returns');
    }
    const run = this.#lender.provideConnection(consumer, options);
    this.#running = Promise.allSettled([this.#running, run]);
    return run;
  }

  /** Waits for what was started, and lends nothing any more. */
  async end(): Promise<void> {
    this.#over = true;
    await this.#running;
  }
}
