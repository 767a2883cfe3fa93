// #region imports
import { createPgTenancy } from '@ringfence/tenancy/pg';
import { prismaClients } from '@ringfence/tenancy/prisma';
// #endregion

import { AsyncLocalStorage } from 'node:async_hooks';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import type { OrgPool, PgTenancy } from '../src/pg/index.ts';
import type { PrismaClients, PrismaPgAdapter } from '../src/prisma/index.ts';
import { countedPool } from '../test/adapters/round-trips.ts';
import { ALICE, type Fixture, fixture, ORG_A, ORG_B } from '../test/fixture.ts';
import { loadPrisma, type PrismaClient } from './prisma-client.ts';

let f: Fixture;
let prisma: Awaited<ReturnType<typeof loadPrisma>>;
let tenancy: PgTenancy;
let clients: PrismaClients<PrismaClient>;
let a: PrismaClient;
let b: PrismaClient;
beforeAll(async () => {
  prisma = await loadPrisma();
  f = await fixture(inject('databaseUrl'), { poolSize: 2 });
  tenancy = createPgTenancy({ pool: f.pool, contextKey: f.contextKey });
  clients = clientsOver(tenancy);
  a = clients.forOrg(ORG_A, ALICE);
  b = clients.forOrg(ORG_B, ALICE);
});
afterAll(() => f.close());

function clientsOver(over: PgTenancy, max?: number): PrismaClients<PrismaClient> {
  const create = (adapter: PrismaPgAdapter) => new prisma.PrismaClient({ adapter });
  const { PrismaPg } = prisma;
  return prismaClients({ tenancy: over, PrismaPg, create, ...(max === undefined ? {} : { max }) });
}

const codeOf = (run: Promise<unknown>) =>
  run.then(
    () => 'resolved',
    (error: { code?: unknown; message?: string }) => error.code ?? error.message,
  );
const labelled = async (label: string) =>
  (await a.tag.findMany({ where: { label }, orderBy: { id: 'asc' } })).map(({ id }) => id);

describe('a client of an organisation', () => {
  test('sees the rows of its organisation only, by model and by raw SQL', async () => {
    expect(await a.note.findMany()).toEqual([{ orgId: ORG_A, id: 'n1', body: `note of ${ORG_A}` }]);
    expect(await b.note.findMany({ where: { orgId: { in: [ORG_A, ORG_B] } } })).toHaveLength(1);
    expect(await a.note.findUnique({ where: { orgId_id: { orgId: ORG_B, id: 'n1' } } })).toBeNull();
    expect(await a.$queryRawUnsafe('select org_id::text as org from app.note where $1', true)).toEqual([
      { org: ORG_A },
    ]);
  });

  test('refuses to write or move a row into another organisation, and is well after it', async () => {
    const data = { orgId: ORG_B, id: 'x', body: 'x' };
    expect(await codeOf(a.note.create({ data }))).toBe('tenancy.cross_org_write');
    expect(await codeOf(a.note.updateMany({ data: { orgId: ORG_B } }))).toBe('tenancy.cross_org_write');
    expect(await a.note.updateMany({ where: { orgId: ORG_B }, data: { body: 'x' } })).toEqual({ count: 0 });
    expect(await b.note.findMany()).toEqual([{ orgId: ORG_B, id: 'n1', body: `note of ${ORG_B}` }]);
    expect(f.pool.idleCount).toBe(f.pool.totalCount);
  });

  test('fills the organisation from the context', async () => {
    expect((await b.tag.create({ data: { id: 'filled', label: 'x' } })).orgId).toBe(ORG_B);
  });
});

describe('findUnique calls of two organisations in one tick', () => {
  const BOTH = [ORG_A, ORG_B].map((orgId) => ({ where: { orgId_id: { orgId, id: 'n1' } } }));

  test('are answered each with its own row, although they ask for the same ids', async () => {
    for (let round = 0; round < 20; round++) {
      const asked = [a, b, a.$extends({}), b.$extends({})].flatMap((client) =>
        BOTH.map((args) => client.note.findUnique(args)),
      );
      const bodies = (await Promise.all(asked)).map((row) => row?.body ?? null);
      const [ofA, ofB] = [
        [`note of ${ORG_A}`, null],
        [null, `note of ${ORG_B}`],
      ];
      expect(bodies).toEqual([...ofA, ...ofB, ...ofA, ...ofB].map((body) => body ?? null));
    }
  });

  test('would share one query in one client that takes its organisation from the surroundings', async () => {
    const ambient = new AsyncLocalStorage<OrgPool>();
    const orgs: string[] = [];
    const shared = tenancy.forOrg(ORG_A, ALICE);
    shared.query = ((...given: Parameters<OrgPool['query']>) => {
      const pool = ambient.getStore() as OrgPool;
      orgs.push(pool.org);
      return pool.query(...given);
    }) as unknown as OrgPool['query'];
    const one = new prisma.PrismaClient({ adapter: new prisma.PrismaPg(shared) });
    const ask = (org: typeof ORG_A) =>
      ambient.run(
        tenancy.forOrg(org, ALICE),
        async () => await one.note.findUnique({ where: { orgId_id: { orgId: ORG_A, id: 'n1' } } }),
      );
    const [, leaked] = await Promise.all([ask(ORG_A), ask(ORG_B)]);
    // Organisation B holds a row of A: this is what a client for each organisation is for.
    expect(orgs).toEqual([ORG_A]);
    expect(leaked?.orgId).toBe(ORG_A);
  });
});

describe('the clients kept', () => {
  test('are told apart by organisation, actor, kind and request', () => {
    const same = () => clients.forOrg(ORG_A, { actor: 'user:alice' });
    expect(same()).toBe(a);
    const others = [
      clients.forOrg(ORG_A, { actor: 'user:bob' }),
      clients.forOrg(ORG_A, { actor: 'user:alice', kind: 'job' }),
      clients.forOrg(ORG_A, { actor: 'user:alice', requestId: 'r1' }),
      b,
    ];
    expect(new Set([...others, a]).size).toBe(5);
  });

  test('are forgotten, the least recently used first, and still work for who holds them', async () => {
    const few = clientsOver(tenancy, 2);
    const first = few.forOrg(ORG_A, { actor: 'user:1' });
    const second = few.forOrg(ORG_A, { actor: 'user:2' });
    expect(few.forOrg(ORG_A, { actor: 'user:1' })).toBe(first);
    few.forOrg(ORG_A, { actor: 'user:3' });
    expect(few.forOrg(ORG_A, { actor: 'user:1' })).toBe(first);
    expect(few.forOrg(ORG_A, { actor: 'user:2' })).not.toBe(second);
    expect(await second.note.count()).toBe(1);
    await second.$disconnect();
    expect(await first.note.count()).toBe(1);
    expect(() => clientsOver(tenancy, 0)).toThrow(TypeError);
  });

  test('refuse an adapter that would connect past the organisation', async () => {
    class OtherPrismaPg {
      async connect() {
        const own = new pg.Pool({ connectionString: f.database.appUrl });
        return { underlyingDriver: () => own };
      }
    }
    const create = (adapter: PrismaPgAdapter) => adapter;
    const adapter = prismaClients({ tenancy, PrismaPg: OtherPrismaPg, create }).forOrg(ORG_A, ALICE);
    await expect(adapter.connect()).rejects.toThrow(/another copy of pg/);
  });
});

describe('a transaction', () => {
  const add = (id: string, label: string) => ({ data: { id, label } });

  test('rolls back whole when its callback throws', async () => {
    const extended = a.$extends({
      query: {
        $allOperations: (call: { args: unknown; query(args: unknown): unknown }) => call.query(call.args),
      },
    });
    const run = extended.$transaction(async (tx) => {
      await tx.tag.create(add('i1', 'interactive'));
      await tx.tag.createMany({ data: [add('i2', 'interactive').data] });
      throw new Error('outer');
    });
    await expect(run).rejects.toThrow('outer');
    expect(await labelled('interactive')).toEqual([]);
    await a.$transaction((tx) => tx.tag.create(add('i3', 'interactive')));
    expect(await labelled('interactive')).toEqual(['i3']);
  });

  test('rolls back whole when a statement in it fails, and leaves the connection clean', async () => {
    const run = a.$transaction(async (tx) => {
      await tx.tag.create(add('f1', 'failing'));
      await tx.note.create({ data: { orgId: ORG_B, id: 'f2', body: 'x' } });
    });
    expect(await codeOf(run)).toBe('tenancy.cross_org_write');
    expect(
      await codeOf(a.$transaction([a.tag.create(add('f3', 'failing')), a.tag.create(add('f3', 'failing'))])),
    ).toBe('P2002');
    expect(await labelled('failing')).toEqual([]);
    expect(await b.note.count()).toBe(1);
  });

  test('reports a swallowed failure instead of pretending to commit', async () => {
    const run = a.$transaction(async (tx) => {
      await tx.tag.create(add('s1', 'swallowed'));
      await tx.$executeRawUnsafe('select 1/0').catch(() => {});
    });
    expect(await codeOf(run)).not.toBe('resolved');
    expect(await labelled('swallowed')).toEqual([]);
    expect(await b.note.count()).toBe(1);
  });

  test('that takes longer than it may is undone', async () => {
    const run = a.$transaction(
      async (tx) => {
        await tx.tag.create(add('slow', 'slow'));
        await tx.$queryRawUnsafe('select pg_sleep(0.5)::text');
        await tx.tag.create(add('slow2', 'slow'));
      },
      { timeout: 100 },
    );
    expect(await codeOf(run)).toBe('P2028');
    expect(await labelled('slow')).toEqual([]);
    expect(await b.note.count()).toBe(1);
  });

  test('honours its isolation level', async () => {
    const level = await a.$transaction((tx) => tx.$queryRawUnsafe('show transaction_isolation'), {
      isolationLevel: 'Serializable',
    });
    expect(level).toEqual([{ transaction_isolation: 'serializable' }]);
  });
});

test('round trips: an operation 1, an interactive transaction of n statements n + 1', async () => {
  const { pool, trips } = countedPool(f.database.appUrl);
  const client = clientsOver(createPgTenancy({ pool, contextKey: f.contextKey })).forOrg(ORG_A, ALICE);
  await client.note.findMany();
  expect(await trips(() => client.note.findMany())).toBe(1);
  const two = async (tx: PrismaClient) => {
    await tx.note.findMany();
    await tx.tag.findMany();
  };
  expect(await trips(() => client.$transaction(two))).toBe(3);
  expect(await trips(() => client.$transaction(two, { isolationLevel: 'Serializable' }))).toBe(3);
  expect(await trips(() => client.$transaction([client.note.findMany(), client.tag.findMany()]))).toBe(3);
  await pool.end();
});

test('the guide docs/adapters/prisma.md does what it says', async () => {
  const { PrismaClient, PrismaPg } = prisma;
  const { pool, contextKey } = f;
  const session = { org: ORG_A, user: 'alice' };
  // #region setup
  const clients = prismaClients({
    tenancy: createPgTenancy({ pool, contextKey }),
    PrismaPg,
    create: (adapter) => new PrismaClient({ adapter }),
  });
  // #endregion
  // #region use
  const db = clients.forOrg(session.org, { actor: `user:${session.user}` });
  const notes = await db.note.findMany();
  await db.$transaction(async (tx) => {
    await tx.tag.create({ data: { id: 't1', label: 'first' } });
    await tx.tag.create({ data: { id: 't2', label: 'second' } });
  });
  // #endregion
  expect(notes.map(({ orgId }) => orgId)).toEqual([ORG_A]);
  expect(await labelled('second')).toEqual(['t2']);
  const guide = new URL('../../../docs/adapters/prisma.md', import.meta.url);
  expect(snippetDrift(guide, [new URL(import.meta.url)])).toEqual([]);
});
