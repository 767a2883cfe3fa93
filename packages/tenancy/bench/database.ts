/**
 * What the statement cases run on: one table of 200 000 rows of 1 000 organisations, four times: without row-level
 * security, under a policy over a plain setting (as most write it by hand), as tenant-kit protects it, and as ours.
 * The disk flush is on.
 */
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { startEmbedded } from '../../../tools/postgres.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { type ContextKey, type OrgId, parseOrgId } from '../src/index.ts';
import { installContextKey, tenancyMigrations } from '../src/migrations/index.ts';
import { orgTablePolicy } from '../src/policies/index.ts';
import { kyselyOf } from '../test/fixture.ts';

const ORGS = 1_000;
/** Rows of each organisation. */
const ROWS = 200;

/** A filled database. */
export interface BenchDatabase {
  /** URL of the app role. */
  readonly appUrl: string;
  /** Key that signs contexts, when the policies verify one. */
  readonly contextKey: ContextKey | undefined;
  /** An organisation, and the id of a row of it: another one at each call. */
  next(): { readonly org: OrgId; readonly id: string };
  /** Ends the server. */
  close(): Promise<void>;
}

const orgOf = (n: number): OrgId => parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(n).padStart(12, '0')}`);
const idOf = (n: number): string => `0190f5d3-7b1c-7d34-9a51-${String(n).padStart(12, '0')}`;

function setting(table: string, name: string, app: string): string {
  const own = `org_id = nullif(current_setting('${name}', true), '')::uuid`;
  return `alter table ${table} enable row level security; alter table ${table} force row level security;
    create policy own on ${table} to ${app} using (${own}) with check (${own});
    grant select, insert, update, delete on ${table} to ${app};`;
}

/** Starts a server and fills it. */
export async function benchDatabase(signed: boolean): Promise<BenchDatabase> {
  const server = await startEmbedded({ settings: { shared_buffers: '256MB', max_connections: '400' } });
  const database = await createTestDatabase(server.url, 'bench');
  const owner = kyselyOf<unknown>(database.ownerUrl, 1);
  const { app } = database;
  for (const { up } of tenancyMigrations({ appRole: app, signedContext: signed }))
    await sql.raw(up).execute(owner);
  const contextKey = signed ? { id: 'k1', secret: new Uint8Array(randomBytes(32)) } : undefined;
  if (contextKey !== undefined) await installContextKey(owner, contextKey);
  for (const schema of ['plain', 'guc', 'kit', 'app']) {
    await sql
      .raw(`create schema ${schema}; grant usage on schema ${schema} to ${app};
        create table ${schema}.note (org_id uuid not null, id uuid not null, title text not null, body text not null,
          primary key (org_id, id));`)
      .execute(owner);
    // Once filled, the policies come: they bind the owner too.
    await sql
      .raw(`insert into ${schema}.note select ('0190f5d2-7b1c-7d34-9a51-' || lpad(o::text, 12, '0'))::uuid,
          ('0190f5d3-7b1c-7d34-9a51-' || lpad(r::text, 12, '0'))::uuid, 'title ' || r, repeat('body ', 20)
        from generate_series(0, ${ORGS - 1}) o, generate_series(0, ${ROWS - 1}) r;`)
      .execute(owner);
  }
  await sql
    .raw(`grant select, insert, update, delete on plain.note to ${app}; ${setting('guc.note', 'app.org_id', app)}
      ${setting('kit.note', 'tenancy.tenant_id', app)} ${orgTablePolicy({ table: 'app.note', appRole: app })}`)
    .execute(owner);
  await sql.raw('vacuum analyze plain.note, guc.note, kit.note, app.note').execute(owner);
  await owner.destroy();
  let turn = 0;
  return {
    appUrl: database.appUrl,
    contextKey,
    next: () => {
      turn += 1;
      return { org: orgOf((turn * 7) % ORGS), id: idOf((turn * 13) % ROWS) };
    },
    close: () => server.stop(),
  };
}
