import type { AddressInfo } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { orgDb as expressOrgDb } from '../../src/express/index.ts';
import { orgDb as fastifyOrgDb } from '../../src/fastify/index.ts';
import { orgDb as honoOrgDb } from '../../src/hono/index.ts';
import { type OrgDb, parseOrgId } from '../../src/index.ts';
import type { OrgSession } from '../../src/request-handle.ts';
import { ALICE, codeOf, type Fixture, fixture, ORG_A, ORG_B, type Tables } from '../fixture.ts';

type Db = OrgDb<Tables>;

let f: Fixture;
beforeAll(async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {}); // Hono prints what it answers with 500
  f = await fixture(inject('databaseUrl'));
});
afterAll(() => f.close());

/** How often a handler has run: one that had no right to must not have. */
let handled = 0;
let waiting: (() => void)[] = [];

const routes: Record<string, (db: Db) => Promise<unknown>> = {
  '/notes': (db) => db.selectFrom('app.note').select('org_id').execute(),
  '/steal': (db) =>
    codeOf(db.insertInto('app.note').values({ org_id: ORG_B, id: 'stolen', body: 'x' }).execute()),
  '/undone': (db) =>
    db.transaction().execute(async (trx) => {
      await trx.insertInto('app.tag').values({ org_id: ORG_A, id: 'undone', label: 'web' }).execute();
      throw new Error('changed my mind');
    }),
  '/tags': (db) => db.selectFrom('app.tag').select('id').execute(),
  // Answers once two requests are here, the later one first.
  '/interleaved': async (db) => {
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      if (waiting.length === 2) for (const go of waiting.splice(0).reverse()) go();
    });
    return await db.selectFrom('app.note').select('org_id').execute();
  },
};

const sessions: Record<string, () => OrgSession> = {
  a: () => ({ org: ORG_A, principal: ALICE }),
  b: () => ({ org: ORG_B, principal: { actor: 'user:bob' } }),
  broken: () => ({ org: parseOrgId('acme'), principal: ALICE }),
  bad: () => ({ org: 'acme' as typeof ORG_A, principal: ALICE }),
};
const verify = async (token: string | undefined) => sessions[token ?? '']?.();

interface Server {
  readonly url: string;
  close(): unknown;
}

const frameworks: Record<string, () => Promise<Server>> = {
  hono: async () => {
    const app = new Hono();
    app.get('/outside', (c) => c.json((c.var as { db?: Db }).db ?? 'none'));
    const guarded = app.use(orgDbOfHono());
    for (const [path, run] of Object.entries(routes)) {
      guarded.get(path, async (c) => {
        handled++;
        return c.json((await run(c.var.db)) as object);
      });
    }
    // Node serves what Hono answers: the web standard's Request in, its Response out.
    const { createServer } = await import('node:http');
    const server = createServer(async (request, response) => {
      const headers = { authorization: request.headers.authorization ?? '' };
      const answer = await app.request(request.url ?? '/', { headers });
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
    });
    return await listening(server);
  },
  express: async () => {
    const app = express().set('env', 'test');
    const db = expressOrgDb({ tenancy: f.tenancy, resolve: (req) => verify(req.get('authorization')) });
    app.get('/outside', (req, res) => res.json(db.of(req)));
    app.use(db.middleware);
    for (const [path, run] of Object.entries(routes)) {
      app.get(path, async (req, res) => {
        handled++;
        res.json(await run(db.of(req)));
      });
    }
    const { createServer } = await import('node:http');
    return await listening(createServer(app));
  },
  fastify: async () => {
    const app = fastify();
    const db = fastifyOrgDb({
      tenancy: f.tenancy,
      resolve: (request) => verify(request.headers.authorization),
    });
    app.get('/outside', async (request) => db.of(request));
    await app.register((guarded, _options, registered) => {
      guarded.addHook('onRequest', db.onRequest);
      for (const [path, run] of Object.entries(routes)) {
        guarded.get(path, async (request) => {
          handled++;
          return JSON.stringify(await run(db.of(request)));
        });
      }
      registered();
    });
    return { url: await app.listen({ port: 0, host: '127.0.0.1' }), close: () => app.close() };
  },
};

function orgDbOfHono() {
  return honoOrgDb({ tenancy: f.tenancy, resolve: (c) => verify(c.req.header('authorization')) });
}

async function listening(server: import('node:http').Server): Promise<Server> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

describe.each(Object.keys(frameworks))('a request to %s', (name) => {
  let server: Server;
  beforeAll(async () => {
    server = await (frameworks[name] as () => Promise<Server>)();
  });
  afterAll(() => server.close());
  afterEach(() => {
    handled = 0;
    waiting = [];
  });
  const get = async (path: string, token?: string) => {
    const headers = token === undefined ? {} : { authorization: token };
    const response = await fetch(server.url + path, { headers });
    const text = await response.text();
    return { status: response.status, text, body: () => JSON.parse(text) as unknown };
  };

  test('has the handle of its session', async () => {
    expect((await get('/notes', 'a')).body()).toEqual([{ org_id: ORG_A }]);
    expect((await get('/notes', 'b')).body()).toEqual([{ org_id: ORG_B }]);
  });

  test.each([undefined, 'unknown'])(
    'is answered with 401 before its handler when its session is %j',
    async (token) => {
      const { status, text } = await get('/notes', token);
      expect(status).toBe(401);
      expect(text).toMatch(/no verified session/);
      expect(handled).toBe(0);
    },
  );

  test.each(['broken', 'bad'])('is an error before its handler when the session is %s', async (token) => {
    expect((await get('/notes', token)).status).toBe(500);
    expect(handled).toBe(0);
  });

  test('has no handle on a route that is not behind the middleware', async () => {
    const { status, text } = await get('/outside', 'a');
    if (name === 'hono') expect(text).toBe('"none"');
    else expect(status).toBe(500);
  });

  test('cannot write into another organisation, and the next one is well', async () => {
    expect((await get('/steal', 'a')).body()).toBe('tenancy.cross_org_write');
    expect((await get('/notes', 'b')).body()).toEqual([{ org_id: ORG_B }]);
  });

  test('undoes its transaction when its handler throws', async () => {
    expect((await get('/undone', 'a')).status).toBe(500);
    expect((await get('/tags', 'a')).body()).toEqual([]);
  });

  test('keeps its organisation while another is served', async () => {
    const both = await Promise.all([get('/interleaved', 'a'), get('/interleaved', 'b')]);
    expect(both.map(({ body }) => body())).toEqual([[{ org_id: ORG_A }], [{ org_id: ORG_B }]]);
  });
});
