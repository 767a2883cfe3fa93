/** A pool of one connection that counts the trips to the server: each ends in the message that it is ready again. */
import type { EventEmitter } from 'node:events';
import pg from 'pg';

export interface CountedPool {
  readonly pool: pg.Pool;
  /** Trips while `run` runs, on a connection that has run a statement before. */
  trips(run: () => Promise<unknown>): Promise<number>;
}

export function countedPool(connectionString: string): CountedPool {
  let count = 0;
  const pool = new pg.Pool({ connectionString, max: 1 });
  pool.on('connect', (client) => {
    const { connection } = client as unknown as { connection: EventEmitter };
    connection.on('readyForQuery', () => {
      count++;
    });
  });
  return {
    pool,
    trips: async (run) => {
      count = 0;
      await run();
      return count;
    },
  };
}
