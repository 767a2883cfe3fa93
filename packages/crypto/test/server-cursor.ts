/**
 * What Kysely's PostgresDialect needs to stream, on `pg` alone: a pool whose clients take a cursor, and the cursor, one of
 * the server's (`declare … with hold`, `fetch`). It counts what was fetched.
 */
import { PostgresDialect, type PostgresPool } from 'kysely';
import pg from 'pg';

/** Counts of a streaming dialect. */
export interface CursorCounts {
  /** Rows that the server has given out. */
  fetched: number;
  /** Cursors that are open. */
  open: number;
}

class ServerCursor<T> {
  readonly #declaration: { readonly text: string; readonly values: unknown[] };
  #client: pg.PoolClient | undefined;
  #counts: CursorCounts = { fetched: 0, open: 0 };

  constructor(sql: string, parameters: unknown[]) {
    const text = `declare streamed no scroll cursor with hold for ${sql}`;
    this.#declaration = { text, values: parameters };
  }

  on(client: pg.PoolClient, counts: CursorCounts): this {
    this.#client = client;
    this.#counts = counts;
    return this;
  }

  async read(rows: number): Promise<T[]> {
    if (this.#counts.open === 0) {
      await this.#client?.query(this.#declaration);
      this.#counts.open = 1;
    }
    const fetched = await this.#client?.query<T & pg.QueryResultRow>(`fetch forward ${rows} from streamed`);
    this.#counts.fetched += fetched?.rows.length ?? 0;
    return fetched?.rows ?? [];
  }

  async close(): Promise<void> {
    if (this.#counts.open === 1) await this.#client?.query('close streamed');
    this.#counts.open = 0;
  }
}

/** A dialect with one session that streams; ends its pool with the Kysely handle. */
export function streamingDialect(url: string, counts: CursorCounts): PostgresDialect {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  pool.on('error', () => {}); // the server may be stopped while the session ends
  const streaming = {
    connect: async () => {
      const client = await pool.connect();
      return {
        query: (query: string | ServerCursor<unknown>, parameters: unknown[]) =>
          query instanceof ServerCursor ? query.on(client, counts) : client.query(query, parameters),
        release: (discard?: boolean) => client.release(discard),
      };
    },
    end: () => pool.end(),
  };
  return new PostgresDialect({ pool: streaming as unknown as PostgresPool, cursor: ServerCursor });
}
