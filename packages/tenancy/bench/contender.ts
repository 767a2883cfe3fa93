/** What a contender of the statement cases does. */
import pg from 'pg';
import type { OrgId } from '../src/index.ts';

/** One way to do it. */
export interface Contender {
  /** Reads one row. */
  point(org: OrgId, id: string): Promise<unknown>;
  /** Reads 100 rows. */
  list(org: OrgId): Promise<unknown>;
  /** Writes one row. */
  insert(org: OrgId, id: string): Promise<unknown>;
  /** A transaction that reads a row and updates it. */
  tx?(org: OrgId, id: string): Promise<unknown>;
  /** Reads five rows for one request. */
  five?(org: OrgId, id: string): Promise<unknown>;
  /** Ends its connections. */
  close(): Promise<void>;
}

/** A pool that outlives a lost connection. */
export function poolOf(url: string, clients: number): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: clients });
  pool.on('error', () => {});
  return pool;
}
