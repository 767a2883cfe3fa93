/** The type of the handle reaches the handlers without a declaration of the application's. */
import type { Context } from 'hono';
import { Hono } from 'hono';
import type { Pool } from 'pg';
import { expectTypeOf, test } from 'vitest';
import { orgContext } from '../../src/ambient/index.ts';
import { orgDb as expressOrgDb } from '../../src/express/index.ts';
import { orgDb as fastifyOrgDb } from '../../src/fastify/index.ts';
import { orgDb as honoOrgDb } from '../../src/hono/index.ts';
import type { OrgDb, OrgId, Principal, Tenancy } from '../../src/index.ts';
import type { OrgPool, PgTenancy } from '../../src/pg/index.ts';

interface Tables {
  note: { id: string };
}
declare const tenancy: Tenancy<Tables>;
declare const pgTenancy: PgTenancy;
declare const session: { org: OrgId; principal: Principal };

test('Hono: behind the middleware c.var.db is the handle, elsewhere it does not exist', () => {
  new Hono().use(honoOrgDb({ tenancy, resolve: () => session })).get('/', (c) => {
    expectTypeOf(c.var.db).toEqualTypeOf<OrgDb<Tables>>();
    return c.body(null);
  });
  new Hono().get('/', (c) => {
    // @ts-expect-error no middleware has set it
    c.var.db;
    return c.body(null);
  });
  honoOrgDb({
    tenancy,
    resolve: (c) => {
      expectTypeOf(c).toEqualTypeOf<Context>();
      return undefined;
    },
  });
});

test('Express and Fastify: the handle has the type of its tenancy, and is never undefined', () => {
  const express = expressOrgDb({ tenancy, resolve: (req) => (req.get('x') ? session : undefined) });
  expectTypeOf(express.of).returns.toEqualTypeOf<OrgDb<Tables>>();
  const fastify = fastifyOrgDb({
    tenancy: pgTenancy,
    resolve: async (r) => (r.headers.cookie ? session : undefined),
  });
  expectTypeOf(fastify.of).returns.toEqualTypeOf<OrgPool>();
});

test('a session without an organisation does not compile', () => {
  // @ts-expect-error the organisation is missing
  honoOrgDb({ tenancy, resolve: () => ({ principal: session.principal }) });
  // @ts-expect-error a string is not a parsed organisation id
  expressOrgDb({ tenancy, resolve: () => ({ org: 'acme', principal: session.principal }) });
});

test('the pool of an organisation goes wherever a pool of pg goes', () => {
  expectTypeOf<OrgPool>().toExtend<Pool>();
});

test('the surrounding handle keeps its type, and asks whose is expected', () => {
  const { currentDb, currentOrg } = orgContext<OrgDb<Tables>>();
  expectTypeOf(currentDb).returns.toEqualTypeOf<OrgDb<Tables>>();
  expectTypeOf(currentOrg).returns.toEqualTypeOf<OrgId>();
  // @ts-expect-error the expected organisation is missing
  () => currentDb();
});
