/**
 * A flight: several statements of the extended query protocol, sent in one write and closed by one Sync.
 *
 * PostgreSQL runs what lies between two Syncs as one implicit transaction and, after an error, skips to the Sync
 * (protocol documentation, "Pipelining"). So a context statement that fails keeps the statement behind it from running,
 * and both cost one round trip. Implements the `Submittable` port of the `pg` driver.
 */
import type { ClientBase, Connection, Submittable } from 'pg';
import { FlightMessages } from './flight-messages.ts';
import type { PreparedStatements, PreparePlan } from './prepared-statements.ts';

/** One statement of a flight. */
export interface Statement {
  /** SQL with `$1` parameters. */
  readonly sql: string;
  /** Parameter values as the `pg` driver writes them: text, bytes or null. */
  readonly parameters: readonly unknown[];
  /** False for statements that are not worth a name (BEGIN, COMMIT, SAVEPOINT …). */
  readonly prepare: boolean;
  /** True for this package's own statements: whoever runs them leaves nothing in the session. */
  readonly own?: boolean;
  /** Rows as arrays in column order instead of objects by name. */
  readonly rowMode?: 'array' | undefined;
  /** Parsers of this statement instead of the connection's. */
  readonly types?: TypeParsers | undefined;
}

/** Where the parser of a column type is found: the port of the `pg` driver. */
export interface TypeParsers {
  /** The parser of a type, by its OID and the format it is sent in. */
  getTypeParser(oid: number, format: 'text'): unknown;
}

/** What one statement of a flight answered. */
export interface StatementResult {
  /** Command tag without counts, e.g. `INSERT`. */
  command: string;
  /** Row count of the command tag, when it has one. */
  rowCount: number | undefined;
  /** The columns, as the driver describes them. */
  fields: readonly Field[];
  /** Rows by column name; arrays where the statement asks for them. */
  readonly rows: Record<string, unknown>[];
}

/** The stream of a connection. Narrower than the published types, which lag behind the driver. */
interface Wire {
  readonly stream: {
    readonly writable: boolean;
    write(bytes: Uint8Array): unknown;
  };
}

/** What ends a COPY that nobody feeds. */
interface CopyWire {
  sendCopyFail(message: string): void;
  sync(): void;
}

/** A result column as PostgreSQL describes it. */
export interface Field {
  readonly name: string;
  readonly dataTypeID: number;
  readonly format: string;
}

type Parser = (value: string) => unknown;

/** How far a flight came: which statement an error belongs to. */
export interface FlightProgress {
  /** Statements that were answered in full. */
  completed: number;
}

/** Sends the statements in one flight and resolves with one result each, or rejects with the first error. */
export function fly(
  client: ClientBase,
  prepared: PreparedStatements,
  statements: readonly Statement[],
  progress: FlightProgress = { completed: 0 },
): Promise<StatementResult[]> {
  return new Promise((resolve, reject) => {
    client.query(new Flight(client, prepared, statements, progress, resolve, reject));
  });
}

/** A type parser of the driver threw; the connection is well. */
export class RowParserError extends Error {
  constructor(cause: unknown) {
    super('a type parser failed on a value of the result', { cause });
  }
}

/** Command tags of plain queries: their result columns are fixed once they are prepared, and they leave little in a session. */
export const PLAIN_QUERIES: ReadonlySet<string> = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE']);

class Flight implements Submittable {
  /** The driver wraps this for its read time-out; it is called once, with an error or nothing. */
  callback: (error: Error | null | undefined) => void;
  readonly #client: ClientBase;
  readonly #prepared: PreparedStatements;
  readonly #statements: readonly Statement[];
  readonly #progress: FlightProgress;
  readonly #results: StatementResult[] = [];
  /** By statement; undefined for an unnamed one. */
  readonly #plans: (PreparePlan | undefined)[] = [];
  #current: StatementResult = { command: '', rowCount: undefined, fields: [], rows: [] };
  #parsers: readonly Parser[] | undefined;
  #error: Error | undefined;

  constructor(
    client: ClientBase,
    prepared: PreparedStatements,
    statements: readonly Statement[],
    progress: FlightProgress,
    resolve: (results: StatementResult[]) => void,
    reject: (error: Error) => void,
  ) {
    this.#client = client;
    this.#prepared = prepared;
    this.#statements = statements;
    this.#progress = progress;
    this.callback = (error) => {
      if (error) reject(error);
      else resolve(this.#results);
    };
  }

  submit(connection: Connection): Error | null {
    const { stream } = connection as unknown as Wire;
    const messages = new FlightMessages();
    for (const statement of this.#statements) this.#write(messages, statement);
    messages.sync();
    this.#startStatement();
    if (stream.writable) stream.write(messages.bytes);
    return null;
  }

  #write(messages: FlightMessages, { sql, parameters, prepare }: Statement): void {
    const plan = prepare ? this.#prepared.plan(sql) : undefined;
    const name = plan?.statement.name ?? '';
    this.#plans.push(plan);
    for (const stale of plan?.close ?? []) messages.close(stale);
    if (plan === undefined || plan.parse) messages.parse(name, sql);
    messages.bind(name, parameters);
    if (plan?.statement.columns === undefined) messages.describe();
    messages.execute();
  }

  /** The statement that is being answered. */
  get #statement(): Statement | undefined {
    return this.#statements[this.#results.length];
  }

  handleRowDescription(message: { fields: readonly Field[] }): void {
    this.#current.fields = message.fields;
    this.#parsers = undefined;
  }

  /** Parsers of the current columns; looked up at the first row. */
  #parsersOfColumns(): readonly Parser[] {
    const types: TypeParsers = this.#statement?.types ?? this.#client;
    const parsers = this.#current.fields.map(
      (field) => types.getTypeParser(field.dataTypeID, field.format as 'text') as Parser,
    );
    this.#parsers = parsers;
    return parsers;
  }

  handleDataRow(message: { fields: readonly (string | null)[] }): void {
    if (this.#error !== undefined) return;
    try {
      // An array takes the column's position for its name.
      const byPosition = this.#statement?.rowMode === 'array';
      const { fields } = this.#current;
      const parsers = this.#parsers ?? this.#parsersOfColumns();
      const row: Record<string | number, unknown> = byPosition
        ? ([] as unknown as Record<number, unknown>)
        : {};
      for (let index = 0; index < message.fields.length; index++) {
        const raw = message.fields[index] ?? null;
        const name = byPosition ? index : (fields[index]?.name ?? '');
        const value = raw === null ? null : parsers[index]?.(raw);
        if (name === '__proto__') Object.defineProperty(row, name, { value, enumerable: true });
        else row[name] = value;
      }
      this.#current.rows.push(row);
    } catch (error) {
      this.#error = new RowParserError(error);
    }
  }

  handleCommandComplete(message: { text: string }): void {
    const { text } = message;
    const space = text.indexOf(' ');
    this.#current.command = space === -1 ? text : text.slice(0, space);
    const count = space === -1 ? Number.NaN : Number(text.slice(text.lastIndexOf(' ')));
    this.#current.rowCount = Number.isInteger(count) ? count : undefined;
    this.#finishStatement();
  }

  handleEmptyQuery(): void {
    this.#finishStatement();
  }

  #finishStatement(): void {
    const plan = this.#plans[this.#results.length];
    // Of a plain query only: what FETCH or EXECUTE gives depends on a cursor or statement of the same name.
    if (plan !== undefined && PLAIN_QUERIES.has(this.#current.command))
      plan.statement.columns = this.#current.fields;
    this.#results.push(this.#current);
    this.#progress.completed = this.#results.length;
    this.#startStatement();
  }

  #startStatement(): void {
    const columns = this.#plans[this.#results.length]?.statement.columns ?? [];
    this.#current = { command: '', rowCount: undefined, fields: columns, rows: [] };
    this.#parsers = undefined;
  }

  handleError(error: Error): void {
    // Which of this flight's Parse and Close messages took effect is unknown: the next use sends them again.
    for (const [index, plan] of this.#plans.entries()) {
      if (plan !== undefined) this.#prepared.failed(this.#statements[index]?.sql ?? '', plan);
    }
    this.#settle(error); // before one of our own: what the server says may mean that the connection is done for
  }

  handleReadyForQuery(): void {
    // The end of another flight, when the two sides do not count alike: what comes is not to be taken for our answer.
    const whole = this.#results.length === this.#statements.length;
    this.#settle(
      whole ? this.#error : new Error('the flight ended before all of its statements were answered'),
    );
  }

  handlePortalSuspended(): void {}

  handleCopyInResponse(connection: Connection): void {
    const wire = connection as unknown as CopyWire;
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
