/** A fresh database with the audit schema, an app pool with the default context, and a superuser, for the tests here. */
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely';
import pg from 'pg';
import { expect } from 'vitest';
import { z } from 'zod';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import {
  type Audit,
  type ContextExecutor,
  createAudit,
  type DataSchema,
  defineEvents,
  type OrgId,
  parseOrgId,
  type Receipt,
  type SealedEvent,
} from '../src/index.ts';
import { auditMigrations } from '../src/migrations.ts';

export const ORG_A: OrgId = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
export const ORG_B: OrgId = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');

export const events: {
  readonly 'entry.posted': {
    readonly target: 'entry';
    readonly data: DataSchema<{ amount: string; lines?: number | undefined }>;
  };
  readonly 'entry.approved': { readonly target: 'entry' };
  readonly 'note.taken': { readonly data: DataSchema<{ text: string }> };
  readonly 'login.succeeded': Record<never, never>;
} = defineEvents({
  'entry.posted': { target: 'entry', data: z.object({ amount: z.string(), lines: z.number().optional() }) },
  'entry.approved': { target: 'entry' },
  'note.taken': { data: z.object({ text: z.string() }) },
  'login.succeeded': {},
});

export type Isolation = 'read committed' | 'repeatable read' | 'serializable';

export interface ContextOptions {
  readonly actor?: string;
  readonly request?: string;
  readonly isolation?: Isolation;
}

export interface Tables {
  'app.entry': { id: string; status: string };
}

export interface Fixture {
  readonly database: TestDatabase;
  /** App role without context. */
  readonly app: Kysely<Tables>;
  readonly owner: Kysely<Tables>;
  readonly superuser: Kysely<Tables>;
  readonly audit: Audit<typeof events>;
  /** Runs a transaction of the app role in the context of an organisation. */
  inOrg<T>(org: OrgId, run: (trx: Transaction<Tables>) => Promise<T>, options?: ContextOptions): Promise<T>;
  /** A handle of an organisation, as a tenancy package makes them: it carries a context and gives its settings. */
  handle(org: OrgId, options?: ContextOptions): ContextExecutor;
  /** Appends one event in a transaction and waits until it is sealed. */
  append(org: OrgId, receipt: Receipt, options?: ContextOptions): Promise<SealedEvent>;
  close(): Promise<void>;
}

export async function fixture(serverUrl: string, poolSize = 20, retentionDays?: number): Promise<Fixture> {
  const database = await createTestDatabase(serverUrl, 'audit');
  const owner = kyselyOf<Tables>(database.ownerUrl, 1);
  const superuser = kyselyOf<Tables>(database.superuserUrl, 1);
  const app = kyselyOf<Tables>(database.appUrl, poolSize);
  const sealing = kyselyOf<Tables>(database.appUrl, 2);
  for (const { up } of auditMigrations({
    appRole: database.app,
    checkpointerRole: database.keys,
    copierRole: database.queue,
    ...(retentionDays === undefined
      ? {}
      : { retention: { role: database.retention, afterDays: retentionDays } }),
  }))
    await sql.raw(up).execute(owner);
  await sql
    .raw(`create schema app;
      grant usage on schema app to ${database.app};
      create table app.entry (id text primary key, status text not null);
      grant select, insert, update on app.entry to ${database.app};`)
    .execute(owner);
  const audit = createAudit({ events, db: sealing });
  const inOrg: Fixture['inOrg'] = (org, run, { actor = 'user:alice', request = 'req-1', isolation } = {}) => {
    const transaction = app.transaction();
    return (isolation === undefined ? transaction : transaction.setIsolationLevel(isolation)).execute(
      async (trx) => {
        await sql`select set_config('ringfence.org_id', ${org}, true), set_config('ringfence.actor', ${actor}, true),
        set_config('ringfence.request_id', ${request}, true)`.execute(trx);
        return await run(trx);
      },
    );
  };
  return {
    database,
    app,
    owner,
    superuser,
    audit,
    inOrg,
    handle: (org, options = {}) => ({
      isTransaction: false,
      executeQuery: (query) => inOrg(org, (trx) => trx.executeQuery(query), options),
      contextSettings: () => ({
        'ringfence.org_id': org,
        'ringfence.actor': options.actor ?? 'user:alice',
        'ringfence.request_id': options.request ?? 'req-1',
      }),
    }),
    append: async (org, receipt, options) => {
      const result = await inOrg(org, (trx) => trx.executeQuery(receipt.query), options);
      return await audit.sealed(receipt, result);
    },
    close: async () => {
      await Promise.all([app.destroy(), sealing.destroy(), owner.destroy(), superuser.destroy()]);
      await database.drop();
    },
  };
}

export function kyselyOf<DB>(connectionString: string, max: number): Kysely<DB> {
  const pool = new pg.Pool({ connectionString, max });
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {})); // the statement under way tells of it
  return new Kysely<DB>({ dialect: new PostgresDialect({ pool }) });
}

/**
 * How many sessions of this database wait for a row or for another transaction to end. A loop that waits for something
 * asks this too: a lock that is waited for fails by assertion then, not by the time limit of the test. Sealing may wait for
 * a few milliseconds when all it is asked for is held; what takes it seconds is a wait without an end.
 */
export async function waitingForLocks(superuser: Kysely<Tables>): Promise<number> {
  const { rows } = await sql<{ n: number }>`
    select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
       and wait_event in ('transactionid', 'tuple')
       and (query not like '%audit.seal_pending(%' or clock_timestamp() - query_start > interval '2 seconds')`.execute(
    superuser,
  );
  return rows[0]?.n ?? 0;
}

/** What a promise resolves with; an assertion fails once one of the sessions waits for a lock meanwhile. */
export async function withoutLockWait<T>(superuser: Kysely<Tables>, promise: Promise<T>): Promise<T> {
  const settled = promise.then(
    () => true,
    () => true,
  );
  const looked = async () => {
    expect(await waitingForLocks(superuser)).toBe(0);
    return false;
  };
  while (!(await Promise.race([settled, looked()])));
  return await promise;
}

/** The error a promise rejects with; fails the test when it resolves. */
export async function errorOf(
  run: Promise<unknown>,
): Promise<{ code?: unknown; constraint?: unknown; message?: unknown }> {
  try {
    await run;
  } catch (error) {
    return error as { code?: unknown; constraint?: unknown; message?: unknown };
  }
  throw new Error('expected a rejection');
}
