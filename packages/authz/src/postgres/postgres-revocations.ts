/**
 * Revocations between processes over PostgreSQL: written to a table, told by LISTEN/NOTIFY, read from the table. A
 * process reads at the start, at each notification, and every `pollMs` whether or not one came: a notification that is
 * lost, with its session or in a pooler that drops LISTEN, delays a revocation by that much and loses none.
 */
import { type QueryExecutorProvider, sql } from 'kysely';
import { RingfenceAuthzError } from '../errors.ts';
import type { Revocation, Revocations } from '../session/revocations.ts';
import { REVOKED_CHANNEL } from './revocation-schema.ts';

/** What is needed of a connected `pg` client. */
export interface ListeningClient {
  /** Runs one statement. */
  query(
    text: string,
    values?: unknown[],
  ): Promise<{
    /** Its rows. */
    readonly rows: readonly unknown[];
  }>;
  /** Registers for notifications, errors and the end of the session. */
  on(event: 'notification' | 'error' | 'end', listener: () => void): unknown;
  /** Closes the session. */
  end(): Promise<void>;
}

/** What the feed needs. */
export interface PostgresRevocationsOptions {
  /** Writes revocations. The login is `systemRole`. */
  readonly db: QueryExecutorProvider;
  /** Opens a session of its own as `systemRole`, connected: `async () => { const c = new pg.Client(url); await c.connect(); return c; }`. */
  readonly connect: () => Promise<ListeningClient>;
  /** Time between two reads, ms, 10 to 60,000. Default 1,000. */
  readonly pollMs?: number;
  /** How long an answer is waited for, ms, 100 to 60,000. Default 5,000. */
  readonly answerWithinMs?: number;
  /**
   * Told with `authz.revocations_unread` when a read fails or is not answered in time; a new session is made at the next.
   * While it fails, revocations of other processes are not seen.
   */
  readonly onError?: (error: RingfenceAuthzError) => void;
}

/** Sends revocations to all processes and takes those of others. */
export interface RevocationFeed {
  /** For `new Revocations({ publish })`: resolves once the revocation is stored. */
  readonly publish: (revocation: Revocation) => Promise<void>;
  /**
   * Takes what was revoked in the last 25 hours, then what is revoked from now on. Gives a function that ends it.
   *
   * @throws RingfenceAuthzError `authz.revocations_unread` when the first read fails.
   */
  follow(revocations: Revocations): Promise<() => Promise<void>>;
}

/**
 * Makes the feed over a database whose schema `authz` is migrated with a `systemRole`.
 *
 * @throws TypeError when `pollMs` or `answerWithinMs` is out of its range.
 * @example
 * ```ts
 * const feed = postgresRevocations({ db, connect });
 * const revocations = new Revocations({ publish: feed.publish });
 * const stop = await feed.follow(revocations);
 * ```
 */
export function postgresRevocations(options: PostgresRevocationsOptions): RevocationFeed {
  const { db, pollMs = 1_000, answerWithinMs = 5_000 } = options;
  if (!Number.isSafeInteger(pollMs) || pollMs < 10 || pollMs > 60_000)
    throw new TypeError('pollMs is not a whole number from 10 to 60000');
  if (!Number.isSafeInteger(answerWithinMs) || answerWithinMs < 100 || answerWithinMs > 60_000)
    throw new TypeError('answerWithinMs is not a whole number from 100 to 60000');
  return {
    publish: async ({ kind, issuer, id, at }) => {
      await sql`select authz.publish_revocation(${kind}, ${issuer}, ${id}, ${at})`.execute(db);
    },
    follow: async (revocations) => {
      const follower = new Follower({ ...options, pollMs, answerWithinMs }, revocations);
      await follower.start();
      return async () => await follower.stop();
    },
  };
}

class Follower {
  readonly #connect: () => Promise<ListeningClient>;
  readonly #pollMs: number;
  readonly #answerWithinMs: number;
  readonly #onError: (error: RingfenceAuthzError) => void;
  readonly #revocations: Revocations;
  #client: ListeningClient | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  /** Ends the wait for an answer. */
  #giveUp: (() => void) | undefined;
  #attempt = 0;
  /** First transaction whose revocations may not have been seen. */
  #seen = '0';
  /** What the last read gave; a transaction that is open for long has it read again and again. */
  #known: ReadonlySet<number> = new Set();

  constructor(
    {
      connect,
      pollMs,
      answerWithinMs,
      onError = () => undefined,
    }: PostgresRevocationsOptions & Required<Pick<PostgresRevocationsOptions, 'pollMs' | 'answerWithinMs'>>,
    revocations: Revocations,
  ) {
    this.#connect = connect;
    this.#pollMs = pollMs;
    this.#answerWithinMs = answerWithinMs;
    this.#onError = onError;
    this.#revocations = revocations;
  }

  /** Rejects when the first read fails: a process that has not read does not start. */
  async start(): Promise<void> {
    try {
      await this.#read();
    } catch (cause) {
      await this.stop();
      throw unread(cause);
    }
    this.#timer = setInterval(() => this.#look(), this.#pollMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    this.#giveUp?.();
    await this.#reading;
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  #look(): void {
    if (this.#stopped) return;
    this.#again = true;
    if (this.#reading !== undefined) return;
    this.#reading = this.#readAll().finally(() => {
      this.#reading = undefined;
    });
  }

  async #readAll(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      try {
        await this.#read();
      } catch (cause) {
        this.#drop();
        if (!this.#stopped) this.#onError(unread(cause));
        return;
      }
    }
  }

  async #read(): Promise<void> {
    this.#attempt += 1;
    // A server that is gone without a word answers neither way.
    const silence = new Promise<never>((_, reject) => {
      this.#giveUp = () => reject(new Error('the server does not answer'));
    });
    const timer = setTimeout(() => this.#giveUp?.(), this.#answerWithinMs);
    timer.unref();
    const { seen, revocations } = await Promise.race([this.#ask(this.#attempt), silence]).finally(() =>
      clearTimeout(timer),
    );
    for (const revocation of revocations)
      if (!this.#known.has(revocation.position)) this.#revocations.receive(revocation);
    this.#seen = seen;
    this.#known = new Set(revocations.map(({ position }) => position));
  }

  async #ask(attempt: number): Promise<Answer> {
    const client = this.#client ?? (await this.#listen(attempt));
    const { rows } = await client.query('select authz.read_revocations($1::text::xid8) as answer', [
      this.#seen,
    ]);
    const [{ answer }] = rows as readonly [{ readonly answer: string }];
    return JSON.parse(answer) as Answer;
  }

  async #listen(attempt: number): Promise<ListeningClient> {
    const client = await this.#connect();
    if (this.#stopped || attempt !== this.#attempt) {
      await client.end();
      throw new Error('nobody waits for this session any more');
    }
    client.on('error', () => undefined); // the next read fails, and says so
    client.on('end', () => {
      if (this.#client === client) this.#client = undefined;
    });
    client.on('notification', () => this.#look());
    this.#client = client;
    await client.query(`listen "${REVOKED_CHANNEL}"`);
    return client;
  }

  /** Nobody waits for its end either. */
  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    client?.end().catch(() => undefined);
  }
}

interface Answer {
  readonly seen: string;
  readonly revocations: readonly (Revocation & { readonly position: number })[];
}

function unread(cause: unknown): RingfenceAuthzError {
  return new RingfenceAuthzError('authz.revocations_unread', 'revocations of other processes were not read', {
    cause,
  });
}
