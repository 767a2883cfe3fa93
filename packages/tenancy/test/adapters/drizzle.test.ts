import { eq, inArray, sql } from 'drizzle-orm';
import { Cache } from 'drizzle-orm/cache/core';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { pgSchema, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createPgTenancy, type OrgPool } from '../../src/pg/index.ts';
import { ALICE, type Fixture, fixture, ORG_A, ORG_B } from '../fixture.ts';
import { countedPool } from './round-trips.ts';

const app = pgSchema('app');
const orgId = uuid('org_id').notNull().default(sql`tenancy.org_id()`);
const note = app.table('note', { orgId, id: text('id').notNull(), body: text('body').notNull() }, (t) => [
  primaryKey({ columns: [t.orgId, t.id] }),
]);
const tag = app.table('tag', { orgId, id: text('id').notNull(), label: text('label').notNull() }, (t) => [
  primaryKey({ columns: [t.orgId, t.id] }),
]);
const schema = { note, tag };

/** One physical connection, so that whoever comes next borrows what came before. */
let f: Fixture;
let a: NodePgDatabase<typeof schema> & { $client: pg.Pool };
let b: NodePgDatabase<typeof schema> & { $client: pg.Pool };
let poolOf: (org: typeof ORG_A) => OrgPool;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { poolSize: 1 });
  const tenancy = createPgTenancy({ pool: f.pool, contextKey: f.contextKey });
  poolOf = (org) => tenancy.forOrg(org, ALICE);
  a = drizzle({ client: poolOf(ORG_A), schema });
  b = drizzle({ client: poolOf(ORG_B), schema });
});
afterAll(() => f.close());

/** Drizzle wraps what the driver throws. */
async function causeOf(run: Promise<unknown>): Promise<unknown> {
  const error: unknown = await run.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  return (error as { cause?: { code?: unknown } } | undefined)?.cause?.code;
}

const labelled = async (label: string) =>
  (await a.select({ id: tag.id }).from(tag).where(eq(tag.label, label)).orderBy(tag.id)).map(({ id }) => id);

describe('drizzle over the pool of an organisation', () => {
  test('sees the rows of its organisation only, by query builder, relational query and raw SQL', async () => {
    const OWN_B = { orgId: ORG_B, id: 'n1', body: `note of ${ORG_B}` };
    expect(await a.select({ orgId: note.orgId }).from(note)).toEqual([{ orgId: ORG_A }]);
    expect(await b.query.note.findMany()).toEqual([OWN_B]);
    expect(
      await b
        .select()
        .from(note)
        .where(inArray(note.orgId, [ORG_A, ORG_B])),
    ).toEqual([OWN_B]);
    const raw = await b.execute(sql`select org_id from app.note where true or id = ${ORG_A}`);
    expect(raw.rows).toEqual([{ org_id: ORG_B }]);
    expect(await b.$count(note)).toBe(1);
    const prepared = b
      .select({ orgId: note.orgId })
      .from(note)
      .where(eq(note.id, sql.placeholder('id')))
      .prepare('p');
    expect(await prepared.execute({ id: 'n1' })).toEqual([{ orgId: ORG_B }]);
  });

  test('refuses to write or move a row into another organisation, and is well after it', async () => {
    const insert = a.insert(note).values({ orgId: ORG_B, id: 'x', body: 'x' });
    expect(await causeOf(insert)).toBe('tenancy.cross_org_write');
    expect(await causeOf(a.update(note).set({ orgId: ORG_B }))).toBe('tenancy.cross_org_write');
    expect(await a.delete(note).where(eq(note.orgId, ORG_B)).returning()).toEqual([]);
    expect(await b.select({ body: note.body }).from(note)).toEqual([{ body: `note of ${ORG_B}` }]);
  });

  test('commits a transaction, and rolls it back when its callback throws', async () => {
    const add = (id: string, fail: boolean) =>
      a.transaction(async (tx) => {
        await tx.insert(tag).values({ id, label: 'tx' });
        if (fail) throw new Error('changed my mind');
      });
    await add('t1', false);
    await expect(add('t2', true)).rejects.toThrow('changed my mind');
    expect(await labelled('tx')).toEqual(['t1']);
  });

  test('undoes a nested transaction alone, and the whole when the outer one throws', async () => {
    await a.transaction(async (tx) => {
      await tx.insert(tag).values({ id: 'outer', label: 'nested' });
      const inner = tx.transaction(async (nested) => {
        await nested.insert(tag).values({ id: 'inner', label: 'nested' });
        nested.rollback();
      });
      await expect(inner).rejects.toThrow();
      await tx.transaction((nested) => nested.insert(tag).values({ id: 'second', label: 'nested' }));
    });
    expect(await labelled('nested')).toEqual(['outer', 'second']);
    const undone = a.transaction(async (tx) => {
      await tx.transaction((nested) => nested.insert(tag).values({ id: 'gone', label: 'undone' }));
      throw new Error('outer');
    });
    await expect(undone).rejects.toThrow('outer');
    expect(await labelled('undone')).toEqual([]);
  });

  test('honours isolation level and access mode', async () => {
    const config = { isolationLevel: 'serializable', accessMode: 'read only', deferrable: true } as const;
    const level = await a.transaction((tx) => tx.execute(sql`show transaction_isolation`), config);
    expect(level.rows).toEqual([{ transaction_isolation: 'serializable' }]);
    const write = a.transaction((tx) => tx.insert(tag).values({ id: 'ro', label: 'x' }), config);
    expect(await causeOf(write)).toBe('25006');
  });

  test('cannot become another organisation inside a transaction', async () => {
    const seen = await a
      .transaction(async (tx) => {
        const { rows } = await tx.execute(sql`select current_setting('ringfence.context') as context`);
        const context = String(rows[0]?.['context']).replace(ORG_A, ORG_B);
        await tx.execute(sql`select set_config('ringfence.context', ${context}, true)`);
        return await causeOf(tx.select().from(note));
      })
      .catch((error: { cause?: { code?: unknown } }) => error.cause?.code);
    expect(seen).toMatch(/tenancy\.(context_forged|transaction_aborted)/);
    expect(await b.$count(note)).toBe(1);
  });

  test('fails a transaction that is begun on the pool instead of on one connection', async () => {
    // What a bundler that renames classes, together with a second copy of `pg`, makes Drizzle do.
    const pool = poolOf(ORG_A);
    const disguised = { query: pool.query.bind(pool) } as unknown as pg.Pool;
    const run = drizzle({ client: disguised }).transaction((tx) =>
      tx.insert(tag).values({ id: 'd', label: 'd' }),
    );
    await expect(run).rejects.toMatchObject({ cause: expect.any(TypeError) });
    expect(await labelled('d')).toEqual([]);
  });
});

test('a cache shared by two organisations answers one with rows of the other: this is why a handle has one of its own', async () => {
  class MapCache extends Cache {
    readonly #kept = new Map<string, unknown[]>();
    strategy = () => 'all' as const;
    get = async (key: string) => this.#kept.get(key);
    put = async (key: string, rows: unknown[]) => {
      this.#kept.set(key, rows);
    };
    onMutate = async () => {};
  }
  const both = async (ofA: Cache, ofB: Cache) => {
    const seen = [];
    for (const [org, cache] of [
      [ORG_A, ofA],
      [ORG_B, ofB],
    ] as const) {
      const db = drizzle({ client: poolOf(org), cache });
      seen.push(...(await db.select({ orgId: note.orgId }).from(note)).map(({ orgId }) => orgId));
    }
    return seen;
  };
  const shared = new MapCache();
  expect(await both(shared, shared)).toEqual([ORG_A, ORG_A]);
  expect(await both(new MapCache(), new MapCache())).toEqual([ORG_A, ORG_B]);
});

test('round trips: a statement 1, a transaction of n statements n + 1, a nested transaction 2 more', async () => {
  const { pool, trips } = countedPool(f.database.appUrl);
  const db = drizzle({ client: createPgTenancy({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE) });
  await db.select().from(note);
  expect(await trips(async () => await db.select().from(note))).toBe(1);
  const two = async (tx: Pick<typeof db, 'select'>) => {
    await tx.select().from(note);
    await tx.select().from(tag);
  };
  expect(await trips(() => db.transaction(two))).toBe(3);
  expect(await trips(() => db.transaction((tx) => tx.transaction(two)))).toBe(5);
  await pool.end();
});
