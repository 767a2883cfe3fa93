/**
 * Ways to read and write rows of one organisation, each on a pool of its own: plain `pg` with an explicit WHERE (the
 * limit) and prepared, Kysely plain and in a transaction with set_config, Drizzle, Prisma's example of row-level
 * security, tenant-kit, and ours.
 */

import { randomUUID } from 'node:crypto';
import { Kysely, PostgresDialect, sql } from 'kysely';
import type pg from 'pg';
import { createTenancy, type OrgId } from '../src/index.ts';
import { type Contender, poolOf } from './contender.ts';
import type { BenchDatabase } from './database.ts';
import { drizzleTx, prismaRls, tenantKit } from './peers.ts';

/** Makes a contender over `clients` connections. */
export type ContenderMaker = (url: string, clients: number, database: BenchDatabase) => Promise<Contender>;

interface Note {
  org_id: string;
  id: string;
  title: string;
  body: string;
}
interface Tables {
  'plain.note': Note;
  'guc.note': Note;
  'app.note': Omit<Note, 'org_id'> & { org_id: Note['org_id'] | undefined };
}

const POINT = 'select title, body from plain.note where org_id = $1 and id = $2';
const LIST = 'select id, title from plain.note where org_id = $1 order by id limit 100';
const INSERT = 'insert into plain.note (org_id, id, title, body) values ($1, $2, $3, $4)';
const UPDATE = 'update plain.note set title = $3 where org_id = $1 and id = $2';

function plain(prepared: boolean): ContenderMaker {
  return async (url, clients) => {
    const pool = poolOf(url, clients);
    const query = (client: pg.Pool | pg.PoolClient, name: string, text: string, values: unknown[]) =>
      client.query(prepared ? { name, text, values } : { text, values });
    const point = (org: OrgId, id: string) => query(pool, 'point', POINT, [org, id]);
    return {
      point,
      list: (org) => query(pool, 'list', LIST, [org]),
      insert: (org) => query(pool, 'insert', INSERT, [org, randomUUID(), 'new', 'body']),
      tx: async (org, id) => {
        const client = await pool.connect();
        await client.query('begin');
        await query(client, 'point', POINT, [org, id]);
        await query(client, 'update', UPDATE, [org, id, 'changed']);
        await client.query('commit');
        client.release();
      },
      five: async (org, id) => {
        for (let i = 0; i < 5; i++) await point(org, id);
      },
      close: () => pool.end(),
    };
  };
}

async function kyselyPlain(url: string, clients: number): Promise<Contender> {
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: poolOf(url, clients) }) });
  return {
    point: (org, id) =>
      db
        .selectFrom('plain.note')
        .select(['title', 'body'])
        .where('org_id', '=', org)
        .where('id', '=', id)
        .execute(),
    list: (org) =>
      db
        .selectFrom('plain.note')
        .select(['id', 'title'])
        .where('org_id', '=', org)
        .orderBy('id')
        .limit(100)
        .execute(),
    insert: (org) =>
      db
        .insertInto('plain.note')
        .values({ org_id: org, id: randomUUID(), title: 'new', body: 'body' })
        .execute(),
    tx: (org, id) =>
      db.transaction().execute(async (trx) => {
        const own = trx.selectFrom('plain.note').where('org_id', '=', org).where('id', '=', id);
        await own.select(['title', 'body']).execute();
        await trx
          .updateTable('plain.note')
          .set({ title: 'changed' })
          .where('org_id', '=', org)
          .where('id', '=', id)
          .execute();
      }),
    close: () => db.destroy(),
  };
}

async function kyselySetConfig(url: string, clients: number): Promise<Contender> {
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: poolOf(url, clients) }) });
  const inOrg = <T>(org: OrgId, run: (trx: Kysely<Tables>) => Promise<T>) =>
    db.transaction().execute(async (trx) => {
      await sql`select set_config('app.org_id', ${org}, true)`.execute(trx);
      return await run(trx);
    });
  return {
    point: (org, id) =>
      inOrg(org, (trx) =>
        trx.selectFrom('guc.note').select(['title', 'body']).where('id', '=', id).execute(),
      ),
    list: (org) =>
      inOrg(org, (trx) =>
        trx.selectFrom('guc.note').select(['id', 'title']).orderBy('id').limit(100).execute(),
      ),
    insert: (org) =>
      inOrg(org, (trx) =>
        trx
          .insertInto('guc.note')
          .values({ org_id: org, id: randomUUID(), title: 'new', body: 'body' })
          .execute(),
      ),
    tx: (org, id) =>
      inOrg(org, async (trx) => {
        await trx.selectFrom('guc.note').select(['title', 'body']).where('id', '=', id).execute();
        await trx.updateTable('guc.note').set({ title: 'changed' }).where('id', '=', id).execute();
      }),
    five: (org, id) =>
      inOrg(org, async (trx) => {
        for (let i = 0; i < 5; i++)
          await trx.selectFrom('guc.note').select(['title', 'body']).where('id', '=', id).execute();
      }),
    close: () => db.destroy(),
  };
}

async function ringfence(url: string, clients: number, { contextKey }: BenchDatabase): Promise<Contender> {
  const pool = poolOf(url, clients);
  const tenancy = createTenancy<Tables>(contextKey === undefined ? { pool } : { pool, contextKey });
  const handle = (org: OrgId) => tenancy.forOrg(org, { actor: 'user:bench' });
  return {
    point: (org, id) =>
      handle(org).selectFrom('app.note').select(['title', 'body']).where('id', '=', id).execute(),
    list: (org) =>
      handle(org).selectFrom('app.note').select(['id', 'title']).orderBy('id').limit(100).execute(),
    insert: (org) =>
      handle(org).insertInto('app.note').values({ id: randomUUID(), title: 'new', body: 'body' }).execute(),
    tx: (org, id) =>
      handle(org)
        .transaction()
        .execute(async (trx) => {
          await trx.selectFrom('app.note').select(['title', 'body']).where('id', '=', id).execute();
          await trx.updateTable('app.note').set({ title: 'changed' }).where('id', '=', id).execute();
        }),
    five: (org, id) => {
      const db = handle(org);
      const point = db.selectFrom('app.note').select(['title', 'body']).where('id', '=', id);
      return db.batch([point, point, point, point, point]);
    },
    close: () => pool.end(),
  };
}

/** All contenders by their names in the JSON; the limit first. */
export const CONTENDERS: Readonly<Record<string, ContenderMaker>> = {
  'pg-where': plain(false),
  ringfence,
  'pg-where-prepared': plain(true),
  'kysely-plain': kyselyPlain,
  'kysely-tx-set-config': kyselySetConfig,
  'drizzle-tx': drizzleTx,
  'prisma-rls': prismaRls,
  'tenant-kit': tenantKit,
};
