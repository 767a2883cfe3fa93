/**
 * A flight: several statements of the extended query protocol, sent in one write and closed by one Sync.
 *
 * PostgreSQL runs what lies between two Syncs as one implicit transaction and, after an error, skips to the Sync
 * (protocol documentation, "Pipelining"). So a context statement that fails keeps the statement behind it from running,
 * and both cost one round trip. Implements the `Submittable` port of the `pg` driver.
 */
import type { ClientBase, Connection, Submittable } from 'pg';
import type { PreparedStatements, PreparePlan } from './prepared-statements.ts';

/** One statement of a flight. */
export interface Statement {
  /** SQL with `$1` parameters. */
  readonly sql: string;
  /** Parameter values as the `pg` driver writes them: text, bytes or null. */
  readonly parameters: readonly unknown[];
  /** False for statements that are not worth a name (BEGIN, COMMIT, SAVEPOINT …). */
  readonly prepare: boolean;
}

/** What one statement of a flight answered. */
export interface StatementResult {
  /** Command tag without counts, e.g. `INSERT`. */
  command: string;
  /** Row count of the command tag, when it has one. */
  rowCount: number | undefined;
  /** Rows by column name. */
  readonly rows: Record<string, unknown>[];
}

/** The messages a submittable writes. Narrower than the published types, which lag behind the driver. */
interface Wire {
  readonly stream: { cork(): void; uncork(): void };
  parse(message: { name: string; text: string }): void;
  bind(message: {
    statement: string;
    values: readonly unknown[];
    valueMapper: (value: unknown) => unknown;
  }): void;
  describe(message: { type: 'P' }): void;
  execute(message: Record<string, never>): void;
  close(message: { type: 'S'; name: string }): void;
  sync(): void;
}

interface Field {
  readonly name: string;
  readonly dataTypeID: number;
  readonly format: string;
}

type Parser = (value: string) => unknown;

/** Sends the statements in one flight and resolves with one result each, or rejects with the first error. */
export function fly(
  client: ClientBase,
  prepared: PreparedStatements,
  statements: readonly Statement[],
): Promise<StatementResult[]> {
  return new Promise((resolve, reject) => {
    client.query(new Flight(client, prepared, statements, resolve, reject));
  });
}

/** A type parser of the driver threw; the connection is well. */
export class RowParserError extends Error {
  constructor(cause: unknown) {
    super('a type parser failed on a value of the result', { cause });
  }
}

class Flight implements Submittable {
  /** The driver wraps this for its read time-out; it is called once, with an error or nothing. */
  callback: (error: Error | null | undefined) => void;
  readonly #client: ClientBase;
  readonly #prepared: PreparedStatements;
  readonly #statements: readonly Statement[];
  readonly #results: StatementResult[] = [];
  readonly #plans: [sql: string, plan: PreparePlan][] = [];
  #current: StatementResult = emptyResult();
  #fields: readonly Field[] = [];
  #parsers: readonly Parser[] = [];
  #error: Error | undefined;

  constructor(
    client: ClientBase,
    prepared: PreparedStatements,
    statements: readonly Statement[],
    resolve: (results: StatementResult[]) => void,
    reject: (error: Error) => void,
  ) {
    this.#client = client;
    this.#prepared = prepared;
    this.#statements = statements;
    this.callback = (error) => {
      if (error) reject(error);
      else resolve(this.#results);
    };
  }

  submit(connection: Connection): Error | null {
    const wire = connection as unknown as Wire;
    wire.stream.cork();
    try {
      for (const statement of this.#statements) this.#write(wire, statement);
      wire.sync();
    } finally {
      wire.stream.uncork();
    }
    return null;
  }

  #write(wire: Wire, statement: Statement): void {
    const plan = statement.prepare ? this.#prepared.plan(statement.sql) : undefined;
    const name = plan?.name ?? '';
    if (plan !== undefined) this.#plans.push([statement.sql, plan]);
    for (const stale of plan?.close ?? []) wire.close({ type: 'S', name: stale });
    if (plan === undefined || plan.parse) wire.parse({ name, text: statement.sql });
    wire.bind({ statement: name, values: statement.parameters, valueMapper: (value) => value });
    wire.describe({ type: 'P' });
    wire.execute({});
  }

  handleRowDescription(message: { fields: readonly Field[] }): void {
    this.#fields = message.fields;
    this.#parsers = message.fields.map(
      (field) => this.#client.getTypeParser(field.dataTypeID, field.format as 'text') as Parser,
    );
  }

  handleDataRow(message: { fields: readonly (string | null)[] }): void {
    if (this.#error !== undefined) return;
    try {
      const row: Record<string, unknown> = {};
      for (const [index, raw] of message.fields.entries()) {
        const name = this.#fields[index]?.name ?? '';
        row[name] = raw === null ? null : this.#parsers[index]?.(raw);
      }
      this.#current.rows.push(row);
    } catch (error) {
      this.#error = new RowParserError(error);
    }
  }

  handleCommandComplete(message: { text: string }): void {
    const words = message.text.split(' ');
    this.#current.command = words[0] ?? '';
    const count = Number(words.at(-1));
    this.#current.rowCount = words.length > 1 && Number.isInteger(count) ? count : undefined;
    this.#finishStatement();
  }

  handleEmptyQuery(): void {
    this.#finishStatement();
  }

  #finishStatement(): void {
    this.#results.push(this.#current);
    this.#current = emptyResult();
    this.#fields = [];
    this.#parsers = [];
  }

  handleError(error: Error): void {
    // Which of this flight's Parse and Close messages took effect is unknown: the next use sends them again.
    for (const [sql, plan] of this.#plans) this.#prepared.failed(sql, plan);
    this.#settle(this.#error ?? error);
  }

  handleReadyForQuery(): void {
    this.#settle(this.#error);
  }

  handlePortalSuspended(): void {}

  handleCopyInResponse(connection: Connection): void {
    const wire = connection as unknown as Wire & { sendCopyFail(message: string): void };
    wire.sendCopyFail('COPY is not supported here');
    wire.sync(); // the server ignored the flight's own Sync while it waited for data
  }

  handleCopyData(): void {}

  #settle(error: Error | undefined): void {
    const { callback } = this;
    this.callback = () => {};
    callback(error);
  }
}

function emptyResult(): StatementResult {
  return { command: '', rowCount: undefined, rows: [] };
}
