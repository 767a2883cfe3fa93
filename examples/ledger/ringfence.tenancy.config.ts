/**
 * Configuration of `npx @ringfence/tenancy`: the ledger's declaration, and a database from the environment.
 * `LEDGER_DATABASE_URL` is the owner's for `policies` and `doctor`, a superuser's for `probe`.
 */
import { randomUUID } from 'node:crypto';
import { createTenancy, parseOrgId } from '@ringfence/tenancy';
import type { TenancyCliConfig } from '@ringfence/tenancy/cli';
import pg from 'pg';
import type { Database } from './src/schema.ts';
import { tenancySchema } from './src/tenancy-schema.ts';

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`${name} is not set`);
  return value;
}

const config: TenancyCliConfig = {
  schema: tenancySchema(setting('LEDGER_APP_ROLE')),
  connectionString: setting('LEDGER_DATABASE_URL'),
  // Plans are made, nothing is read: any organisation will do.
  app: () => {
    const pool = new pg.Pool({ connectionString: setting('LEDGER_APP_URL'), max: 1 });
    const secret = new Uint8Array(Buffer.from(setting('LEDGER_CONTEXT_SECRET'), 'base64'));
    const tenancy = createTenancy<Database>({
      pool,
      contextKey: { id: setting('LEDGER_CONTEXT_KEY_ID'), secret },
    });
    return tenancy.forOrg(parseOrgId(randomUUID()), { actor: 'system:doctor', kind: 'system' });
  },
};

export default config;
