/** What the guides take as given: the application's tables, its pool with its tenancies, and its sessions. */
import { createTenancy, type OrgId, parseOrgId, type Tenancy } from '@ringfence/tenancy';
import { createPgTenancy, type PgTenancy } from '@ringfence/tenancy/pg';
import pg from 'pg';

export interface Database {
  'app.note': { org_id: string | undefined; id: string; body: string };
  'app.tag': { org_id: string | undefined; id: string; label: string };
}

export const pool: pg.Pool = new pg.Pool({ connectionString: process.env['APP_URL'], max: 2 });
pool.on('error', () => {}); // the server may be stopped while a session ends
export const contextKey: { id: string; secret: Uint8Array } = {
  id: 'k1',
  secret: Buffer.from(process.env['CONTEXT_SECRET'] ?? '', 'base64'),
};
export const tenancy: Tenancy<Database> = createTenancy<Database>({ pool, contextKey });
export const pgTenancy: PgTenancy = createPgTenancy({ pool, contextKey });

export interface Session {
  readonly org: OrgId;
  readonly user: string;
}

export async function verifySession(token: string | undefined): Promise<Session | undefined> {
  if (token !== 'session-of-acme') return undefined;
  return { org: parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60'), user: 'alice' };
}
