/** Drizzle, Prisma and tenant-kit, each used as its own documentation shows for row-level security. */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import { loadPeer } from '../../../tools/bench/peer.ts';
import { type Contender, poolOf } from './contender.ts';

/** The part of Drizzle that is used. */
interface DrizzleDb {
  transaction<T>(run: (tx: DrizzleDb) => Promise<T>): Promise<T>;
  execute(query: unknown): Promise<unknown>;
  select(fields: object): { from(table: object): DrizzleQuery };
  insert(table: object): { values(row: object): Promise<unknown> };
}
interface DrizzleQuery extends Promise<unknown> {
  where(condition: unknown): DrizzleQuery;
  orderBy(column: unknown): DrizzleQuery;
  limit(count: number): DrizzleQuery;
}
interface DrizzleTable {
  readonly id: unknown;
  readonly title: unknown;
  readonly body: unknown;
}

/** A transaction with set_config, as Drizzle's guide of row-level security does it. */
export async function drizzleTx(url: string, clients: number): Promise<Contender> {
  const { drizzle } = await loadPeer<{ drizzle: (options: { client: pg.Pool }) => DrizzleDb }>(
    'drizzle-orm/node-postgres',
  );
  const core = await loadPeer<{
    pgSchema: (name: string) => { table: (name: string, columns: object) => DrizzleTable };
    uuid: (name: string) => unknown;
    text: (name: string) => unknown;
  }>('drizzle-orm/pg-core');
  const { sql, eq } = await loadPeer<{
    sql: (texts: TemplateStringsArray, ...values: unknown[]) => unknown;
    eq: (column: unknown, value: unknown) => unknown;
  }>('drizzle-orm');
  const note = core.pgSchema('guc').table('note', {
    org_id: core.uuid('org_id'),
    id: core.uuid('id'),
    title: core.text('title'),
    body: core.text('body'),
  });
  const pool = poolOf(url, clients);
  const db = drizzle({ client: pool });
  const inOrg = <T>(org: string, run: (tx: DrizzleDb) => Promise<T>) =>
    db.transaction(async (tx) => {
      await tx.execute(sql`select set_config('app.org_id', ${org}, true)`);
      return await run(tx);
    });
  const point = (tx: DrizzleDb, id: string) =>
    tx.select({ title: note.title, body: note.body }).from(note).where(eq(note.id, id));
  return {
    point: (org, id) => inOrg(org, (tx) => point(tx, id)),
    list: (org) =>
      inOrg(org, (tx) =>
        tx.select({ id: note.id, title: note.title }).from(note).orderBy(note.id).limit(100),
      ),
    insert: (org) =>
      inOrg(org, (tx) =>
        tx.insert(note).values({ org_id: org, id: randomUUID(), title: 'new', body: 'body' }),
      ),
    five: (org, id) =>
      inOrg(org, async (tx) => {
        for (let i = 0; i < 5; i++) await point(tx, id);
      }),
    close: () => pool.end(),
  };
}

interface PrismaModel {
  findMany(args: object): Promise<unknown>;
  create(args: object): Promise<unknown>;
}
interface PrismaClient {
  readonly benchNote: PrismaModel;
  $extends(extension: object): PrismaClient;
  $transaction(operations: readonly unknown[]): Promise<readonly unknown[]>;
  $executeRaw(texts: TemplateStringsArray, ...values: unknown[]): unknown;
}

/** Prisma's own example of row-level security: an extension that wraps each query in a batch transaction. */
export async function prismaRls(url: string, clients: number): Promise<Contender> {
  const { PrismaPg } = await loadPeer<{ PrismaPg: new (pool: pg.Pool) => object }>('@prisma/adapter-pg');
  const peers = fileURLToPath(new URL('../../../tools/bench/peers/', import.meta.url));
  execFileSync(`${peers}node_modules/.bin/prisma`, ['generate', '--schema', `${peers}tenancy.prisma`], {
    // Generating runs no schema engine: naming any program keeps the command from downloading one.
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1' },
    stdio: 'pipe',
  });
  const { PrismaClient } = await loadPeer<{ PrismaClient: new (options: object) => PrismaClient }>(
    '@prisma/client',
  );
  const pool = poolOf(url, clients);
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool) });
  const forOrg = (org: string) =>
    prisma.$extends({
      query: {
        $allOperations: async ({ args, query }: { args: unknown; query: (args: unknown) => unknown }) => {
          const set = prisma.$executeRaw`select set_config('app.org_id', ${org}, true)`;
          const [, result] = await prisma.$transaction([set, query(args)]);
          return result;
        },
      },
    });
  const handles = new Map<string, PrismaClient>();
  const of = (org: string): PrismaModel => {
    const known = handles.get(org) ?? forOrg(org);
    handles.set(org, known);
    return known.benchNote;
  };
  return {
    point: (org, id) => of(org).findMany({ where: { id }, select: { title: true, body: true } }),
    list: (org) => of(org).findMany({ orderBy: { id: 'asc' }, take: 100, select: { id: true, title: true } }),
    insert: (org) =>
      of(org).create({
        data: { orgId: org, id: randomUUID(), title: 'new', body: 'body' },
        select: { id: true },
      }),
    close: () => pool.end(),
  };
}

interface KitExecutor {
  query(text: string, values?: readonly unknown[]): Promise<unknown>;
  transaction<T>(run: (tx: KitExecutor) => Promise<T>): Promise<T>;
}

/** tenant-kit's scoped executor. */
export async function tenantKit(url: string, clients: number): Promise<Contender> {
  const { pgExecutor } = await loadPeer<{ pgExecutor: (pool: pg.Pool) => KitExecutor }>(
    '@quxkit/tenant-kit/pg',
  );
  const { scopedExecutor } = await loadPeer<{
    scopedExecutor: (db: KitExecutor, tenant: string) => KitExecutor;
  }>('@quxkit/tenant-kit');
  const pool = poolOf(url, clients);
  const executor = pgExecutor(pool);
  const POINT = 'select title, body from kit.note where id = $1';
  return {
    point: (org, id) => scopedExecutor(executor, org).query(POINT, [id]),
    list: (org) =>
      scopedExecutor(executor, org).query('select id, title from kit.note order by id limit 100', []),
    insert: (org) =>
      scopedExecutor(executor, org).query(
        'insert into kit.note (org_id, id, title, body) values ($1, $2, $3, $4)',
        [org, randomUUID(), 'new', 'body'],
      ),
    five: (org, id) =>
      scopedExecutor(executor, org).transaction(async (tx) => {
        for (let i = 0; i < 5; i++) await tx.query(POINT, [id]);
      }),
    close: () => pool.end(),
  };
}
