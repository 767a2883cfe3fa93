/**
 * Faults that a rolled-back transaction cannot show, since settings of a role take effect at its next login: made for real,
 * met by a handle or by the bare app role, and undone.
 */
import { sql } from 'kysely';
import pg from 'pg';
import { createTenancy, type OrgDb } from '../../src/index.ts';
import { readCatalog } from '../../src/policies/index.ts';
import { type MutationTarget, mutationSql, mutationTarget } from '../../src/testing/mutations/mutation.ts';
import { ALICE, ORG_A, ORG_B } from '../fixture.ts';
import type { Golden } from '../golden-schema.ts';
import { MUTATIONS } from '../mutations/mutations.ts';
import { refusal } from './code-paths.ts';

interface Meeting {
  readonly undo: (target: MutationTarget) => string;
  /** What the fault meets; throws when nothing refuses it. */
  readonly meets: (pool: pg.Pool, g: Golden) => Promise<string>;
}

const handle = (pool: pg.Pool, { contextKey }: Golden, org = ORG_A): OrgDb<unknown> =>
  createTenancy<unknown>({ pool, contextKey }).forOrg(org, ALICE);
const read = (db: OrgDb<unknown>) => sql`select * from app.note`.execute(db);
const refusedHandle: Meeting['meets'] = (pool, g) => refusal(read(handle(pool, g)));

const MEETINGS: Readonly<Record<string, Meeting>> = {
  'preset row_security = off': {
    undo: ({ app }) => `alter role ${app} reset row_security`,
    meets: refusedHandle,
  },
  'app role has set itself standard_conforming_strings = off': {
    undo: ({ app }) => `alter role ${app} reset standard_conforming_strings`,
    meets: refusedHandle,
  },
  'row_security off for the database': {
    undo: ({ database }) => `alter database ${database} reset row_security`,
    meets: refusedHandle,
  },
  "preset ringfence.context = '1|-|9|x|member|x||'": {
    undo: ({ app }) => `alter role ${app} reset all`,
    meets: (pool) => refusal(pool.query('select * from app.note')),
  },
  'no context key': {
    undo: () => 'insert into tenancy.context_key select * from public.kept_key; drop table public.kept_key',
    meets: refusedHandle,
  },
  'TEMPORARY on the database': {
    undo: ({ database }) => `revoke temporary on database ${database} from public`,
    meets: async (pool, g) => {
      const pid = (db: OrgDb<unknown>) => sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db);
      const [mine] = (await pid(handle(pool, g))).rows;
      await sql`create temporary table note (title text)`.execute(handle(pool, g));
      const [next] = (await pid(handle(pool, g, ORG_B))).rows;
      if (mine?.pid === next?.pid) throw new Error('the next borrower got the session with the table');
      return 'session replaced';
    },
  },
};

/** What each of these faults meets, by the name of its mutation. */
export async function meetings(g: Golden): Promise<ReadonlyMap<string, string>> {
  const target = mutationTarget(g.schema, await readCatalog(g.superuser));
  const met = new Map<string, string>();
  // A policy is asked about rows: of an empty table, once it is known to be one, it may not be asked at all.
  await sql`
    begin;
    set local session_replication_role = replica;
    insert into app.note (org_id, id, title) values ('${sql.raw(ORG_B)}', gen_random_uuid(), 'a row');
    commit;
    analyze app.note`.execute(g.superuser);
  await sql`create table public.kept_key as select * from tenancy.context_key`.execute(g.superuser);
  for (const [name, { undo, meets }] of Object.entries(MEETINGS)) {
    const mutation = MUTATIONS.find((one) => one.name === name);
    if (mutation === undefined) throw new Error(`no mutation is called ${name}`);
    const pool = new pg.Pool({ connectionString: g.database.appUrl, max: 1 });
    pool.on('error', () => {});
    await sql.raw(mutationSql(mutation, target) ?? '').execute(g.superuser);
    try {
      met.set(name, await meets(pool, g));
    } finally {
      await pool.end();
      await sql.raw(undo(target)).execute(g.superuser);
    }
  }
  await sql`delete from app.note`.execute(g.superuser);
  return met;
}
