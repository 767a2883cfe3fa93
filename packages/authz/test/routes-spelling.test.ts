/**
 * Routers that take more spellings for one route than they need to, prefixes, applications inside others, and other ways in
 * than a socket: whatever reaches the handler passes its guard first.
 */
import express from 'express';
import Fastify, { type FastifyInstance, type FastifyPluginCallback } from 'fastify';
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createRoutes as createFastifyRoutes } from '../src/fastify/index.ts';
import { createRoutes as createHonoRoutes } from '../src/hono/index.ts';
import { AuthzUndeclaredRoutesError } from '../src/index.ts';
import { policy } from './model.ts';
import {
  expressRoutes,
  fastifyRoutes,
  honoRoutes,
  Log,
  people,
  type Running,
  serveExpress,
  serveFastify,
  serveHono,
} from './routes-fixture.ts';

const log = new Log();
let app: Running | undefined;
beforeEach(() => {
  log.ran.length = 0;
});
afterEach(async () => {
  await app?.close();
  app = undefined;
});

const lowerCaseHono = () => new Hono({ getPath: ({ url }) => new URL(url).pathname.toLowerCase() });
const strictExpress = () => {
  const server = express();
  server.enable('case sensitive routing');
  server.enable('strict routing');
  return server;
};
const lenientFastify = () =>
  Fastify({
    routerOptions: {
      caseSensitive: false,
      ignoreTrailingSlash: true,
      ignoreDuplicateSlashes: true,
    },
    rewriteUrl: ({ url = '/' }) => url.replace(/^\/v1(?=\/)/, ''),
  });

/** How many of the other spellings reach the handler at least: a router that takes none shows nothing. */
const ROUTERS: readonly (readonly [string, number, () => Promise<Running>])[] = [
  ['Hono without strict paths', 3, () => serveHono(honoRoutes(log).install(new Hono({ strict: false })))],
  ['Hono in lower case', 3, () => serveHono(honoRoutes(log).install(lowerCaseHono()))],
  ['Hono below a base path', 0, () => serveHono(honoRoutes(log).install(new Hono().basePath('/v1')))],
  [
    'Hono inside an application of somebody else',
    0,
    () => serveHono(new Hono().route('/v1', honoRoutes(log).install(new Hono()))),
  ],
  [
    'Hono mounted as a handler',
    0,
    () => serveHono(new Hono().mount('/v1', honoRoutes(log).install(new Hono()).fetch)),
  ],
  ['Express', 3, () => serveExpress(expressRoutes(log).install(express()))],
  [
    'Express with strict paths and letter case',
    1,
    () => serveExpress(expressRoutes(log).install(strictExpress())),
  ],
  [
    'Express inside an application of somebody else',
    0,
    () => serveExpress(express().use('/v1', expressRoutes(log).install(express()))),
  ],
  ['Fastify that takes all it can', 5, () => serveFastify(fastifyRoutes(log).install(lenientFastify()))],
];

const SPELLINGS = [
  ...[
    '/entries/1/',
    '/ENTRIES/1',
    '/Entries/1/',
    '/entries//1',
    '//entries///1',
    '/entries/%31',
    '/%65ntries/1',
  ],
  ...['/entries/1;a=b', '/entries/1?x', '/entries/1#x', '/v1/entries/1', '/V1/entries/1', '/v1/v1/entries/1'],
  ...[
    '/v1//entries/1',
    '/v1/entries/1/',
    '/v1/../entries/1',
    '/health/..%2fentries/1',
    '/entries/1%2f',
    '/v1/ENTRIES/1',
  ],
];

describe.each(ROUTERS)('%s', (_, atLeast, start) => {
  test('guards a handler in whatever spelling it is reached', async () => {
    app = await start();
    let reached = 0;
    for (const method of ['GET', 'HEAD']) {
      for (const path of SPELLINGS) {
        log.ran.length = 0;
        for (const token of [undefined, 'nobody', 'eve']) {
          const { status, body } = await app.send(method, path, token);
          expect([400, 401, 404], `${method} ${path} ${token}`).toContain(status);
          expect(body, path).not.toContain('createdBy');
        }
        expect(log.ran, path).toEqual([]);
        const allowed = await app.send(method, path, 'bookkeeper');
        expect(log.ran, path).toHaveLength(allowed.status === 200 ? 1 : 0);
        if (allowed.status === 200 && path !== '/entries/1') reached += 1;
      }
    }
    expect(reached).toBeGreaterThanOrEqual(2 * Math.max(1, atLeast));
  });

  test('runs nothing for OPTIONS and methods nobody declared, in whatever spelling', async () => {
    app = await start();
    for (const method of ['OPTIONS', 'PUT', 'PATCH', 'PROPFIND', 'QUERY']) {
      for (const path of ['/entries/1', '/v1/entries/1', '/ENTRIES/1/', '/entries', '/entries/1/approval']) {
        const answer = await app.send(method, path, 'owner').catch(() => undefined);
        expect(answer?.body ?? '', `${method} ${path}`).not.toContain('createdBy');
        expect(answer?.status ?? 0, `${method} ${path}`).not.toBe(201);
      }
    }
    expect(log.ran).toEqual([]);
  });
});

describe('an error handler', () => {
  const failing = { action: 'entry.read', load: () => Promise.reject(new Error('row of somebody')) } as const;

  test('of Hono, also of one that asks its own application again, gets no handler run', async () => {
    const routes = createHonoRoutes({ policy, context: (c) => people[c.req.header('authorization') ?? ''] });
    routes.get('/broken/:id', failing, (c) => {
      log.ran.push('broken');
      return c.text('createdBy');
    });
    routes.get('/entries', { action: 'entry.read', load: () => undefined }, (c) => {
      log.ran.push('entries');
      return c.text('createdBy');
    });
    const hono = routes.install(new Hono());
    hono.onError(async () => await hono.request('/entries')); // without the session it was called with
    hono.notFound(async () => await hono.request('/entries'));
    for (const path of ['/broken/1', '/nowhere', '/BROKEN/1']) {
      const answer = await hono.request(path, { headers: { authorization: 'owner' } });
      expect([answer.status, await answer.text()]).toEqual([401, expect.not.stringContaining('createdBy')]);
    }
    expect(log.ran).toEqual([]);
  });

  test('of Fastify, also in a plugin of its own, is told and gets no handler run', async () => {
    const told: string[] = [];
    const routes = createFastifyRoutes({
      policy,
      context: (request) => people[String(request.headers.authorization)],
    });
    routes.get('/broken/:id', failing, () => {
      log.ran.push('broken');
      return 'createdBy';
    });
    const server = routes.install(Fastify());
    server.setErrorHandler((error: Error, _request, reply) => {
      told.push(error.message);
      return reply.code(500).send({ problem: 'internal' });
    });
    const plugin: FastifyPluginCallback = (child, _options, done) => {
      child.setErrorHandler((_error, _request, reply) => reply.send('createdBy'));
      done();
    };
    server.register(plugin, { prefix: '/broken' });
    app = await serveFastify(server);
    const { status, body } = await app.send('GET', '/broken/1', undefined, { authorization: 'owner' });
    expect({ status, body, told, ran: log.ran }).toEqual({
      ...{ status: 500, body: '{"problem":"internal"}', told: ['row of somebody'], ran: [] },
    });
  });
});

describe('a Fastify application with a route that nobody declared', () => {
  const plugin: FastifyPluginCallback = (child, _options, done) => {
    child.get('/secret', () => {
      log.ran.push('secret');
      return 'createdBy';
    });
    child.addHook('onRequest', async (_request, reply) => {
      log.ran.push('hook');
      return reply.send('createdBy');
    });
    child.route({ method: ['OPTIONS', 'HEAD'], url: '/entries/:id', handler: () => 'createdBy' });
    done();
  };
  const withPlugin = (): FastifyInstance => {
    const server = fastifyRoutes(log).install(Fastify());
    server.register(plugin, { prefix: '/p' });
    return server;
  };

  test('answers nothing to `inject`, the first time and every other', async () => {
    const server = withPlugin();
    const error = await server.inject('/p/secret').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AuthzUndeclaredRoutesError);
    expect(
      (error as AuthzUndeclaredRoutesError).routes.map(({ method, path }) => `${method} ${path}`),
    ).toEqual([...['GET /p/secret', 'HEAD /p/secret', 'OPTIONS /p/entries/:id', 'HEAD /p/entries/:id']]);
    for (const url of ['/p/secret', '/entries/1', '/health', '/p/hook', '/nowhere']) {
      const { statusCode, body } = await server.inject({ url, headers: { authorization: 'Bearer owner' } });
      expect({ url, statusCode, body }).toEqual({
        ...{ url, statusCode: 503, body: expect.stringContaining('the application did not become ready') },
      });
    }
    expect(log.ran).toEqual([]);
  });

  test('listens nowhere, also when somebody catches the error and goes on', async () => {
    const server = withPlugin();
    for (let time = 0; time < 2; time++) {
      await expect(server.listen({ host: '127.0.0.1', port: 0 })).rejects.toThrow();
      expect(server.server.listening).toBe(false);
    }
    expect(log.ran).toEqual([]);
  });
});

describe.each([
  [
    'Hono',
    () =>
      honoRoutes(log).install(new Hono().on(['HEAD', 'OPTIONS'], '/entries/:id', (c) => c.text('createdBy'))),
  ],
  [
    'Express',
    () =>
      expressRoutes(log).install(
        express()
          .head('/entries/:id', (_req, res) => res.send('createdBy'))
          .options('/entries/:id', (_req, res) => res.send('createdBy')),
      ),
  ],
  [
    'Fastify',
    () => {
      const server = Fastify({ exposeHeadRoutes: false });
      server.head('/entries/:id', () => 'createdBy');
      server.options('/entries/:id', () => 'createdBy');
      return fastifyRoutes(log).install(server);
    },
  ],
] as const)('an application of %s', (_, make) => {
  test('with HEAD and OPTIONS beside a declared GET does not start, and names them', () => {
    try {
      make();
    } catch (error) {
      expect(error).toBeInstanceOf(AuthzUndeclaredRoutesError);
      const names = (error as AuthzUndeclaredRoutesError).routes.map(
        ({ method, path }) => `${method} ${path}`,
      );
      expect(names.toSorted()).toEqual(['HEAD /entries/:id', 'OPTIONS /entries/:id']);
    }
    expect.assertions(2);
  });
});
