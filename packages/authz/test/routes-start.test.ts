/** What the start-time checks have to look for in a second place, and handlers that are refused later. */
import express, { type Express, type RequestHandler } from 'express';
import Fastify, { type FastifyInstance, type FastifyPluginCallback } from 'fastify';
import { Hono } from 'hono';
import { describe, expect, test } from 'vitest';
import { createRoutes as createExpressRoutes } from '../src/express/index.ts';
import { createRoutes as createFastifyRoutes } from '../src/fastify/index.ts';
import { createRoutes as createHonoRoutes } from '../src/hono/index.ts';
import { AuthzUndeclaredRoutesError, type RequestContext } from '../src/index.ts';
import { ORG, policy, type Role } from './model.ts';
import {
  entries,
  expressRoutes,
  fastifyRoutes,
  Log,
  personOf,
  serveExpress,
  serveFastify,
  serveHono,
} from './routes-fixture.ts';

const leak = () => 'createdBy';

function refusedBy(install: () => unknown): readonly string[] {
  try {
    install();
  } catch (error) {
    if (!(error instanceof AuthzUndeclaredRoutesError)) throw error;
    return error.routes.map(({ method, path }) => `${method} ${path}`);
  }
  throw new Error('it was installed');
}

const refusedNames = (app: FastifyInstance) => refusedBy(() => fastifyRoutes(new Log()).install(app));

describe('a Fastify application does not start', () => {
  // A line of the printed table that ended in constraints was no route to the check, and `accept-version: 1.0.0` reached
  // the handler without a decision, at the path of a declared route too.
  test.each([
    ['of a version', { version: '1.0.0' }],
    ['of a host', { host: 'admin.example' }],
    ['of hosts that match a pattern', { host: /^admin\./ }],
  ])('with a route %s that was there before the watch', (_, constraints) => {
    for (const url of ['/secret', '/entries/:id']) {
      const app = Fastify();
      app.route({ method: 'GET', url, constraints, handler: leak });
      expect(refusedNames(app)).toEqual([`GET ${url}`, `HEAD ${url}`]);
    }
  });

  test('with several variants of one path, and names each under its path', () => {
    const app = Fastify({ exposeHeadRoutes: false });
    app.get('/a', leak);
    app.get('/a/b', leak);
    app.route({ method: 'GET', url: '/a/b', constraints: { version: '1.0.0' }, handler: leak });
    app.route({ method: 'POST', url: '/a/b/c', constraints: { host: 'x' }, handler: leak });
    expect(refusedNames(app)).toEqual(['GET /a', 'GET /a/b', 'GET /a/b', 'POST /a/b/c']);
  });

  test.each([
    '/line\u2028separator',
    '/line\u2029separator',
    '/carriage\rreturn',
    '/line\nfeed',
    '/ (GET) {',
  ])('with a route whose path breaks the lines of the printed table: %j', (url) => {
    const app = Fastify();
    app.get(url, leak);
    expect(refusedNames(app).length).toBeGreaterThan(0);
  });

  // Its instance copied the hooks when it loaded, so neither the watch nor the 503 would reach what it adds.
  test('after a plugin that keeps its own instance was loaded', async () => {
    const app = Fastify();
    const kept: FastifyInstance[] = [];
    const plugin: FastifyPluginCallback = (instance, _options, done) => {
      kept.push(instance);
      done();
    };
    await app.register(plugin);
    expect(kept).toHaveLength(1);
    expect(() => fastifyRoutes(new Log()).install(app)).toThrow('install the routes first');
  });

  test('on an instance whose plugins cannot be seen', () => {
    const app = Fastify();
    const key = Object.getOwnPropertySymbols(app).find(
      ({ description }) => description === 'fastify.children',
    );
    Reflect.set(app, key as symbol, undefined);
    expect(() => fastifyRoutes(new Log()).install(app)).toThrow('not one of Fastify 5');
  });

  test('except when the plugin shares the instance of the application', async () => {
    const app = Fastify();
    const plugin: FastifyPluginCallback = (_instance, _options, done) => done();
    const shared = Object.assign(plugin, { [Symbol.for('skip-override')]: true });
    await app.register(shared);
    await fastifyRoutes(new Log()).install(app).ready();
    expect((await app.inject('/entries/1')).statusCode).toBe(401);
    await app.close();
  });
});

describe('an Express application does not start', () => {
  const undeclaredIn = (app: Express) => refusedBy(() => expressRoutes(new Log()).install(app));
  const answer: RequestHandler = (_request, response) => {
    response.send('createdBy');
  };

  test('when something puts a handler before the guard of a declared route', () => {
    const app = express();
    const put = app.put.bind(app) as (...given: readonly unknown[]) => unknown;
    const post = app.post.bind(app) as (...given: readonly unknown[]) => unknown;
    Object.assign(app, { post: (path: string, own: unknown) => post(path, answer, own), put });
    expect(undeclaredIn(app)).toEqual(['POST /entries/:id/approval', 'POST /entries']);
  });

  test('with middleware in a router, and names it by what it is', () => {
    const router = express.Router();
    router.use(answer);
    expect(undeclaredIn(express().use('/nested', router))).toEqual(['USE (answer)']);
  });

  test('on a router whose parameters cannot be read', () => {
    for (const params of [null, 'id', undefined]) {
      const app = express();
      Object.assign(app.router, { params });
      expect(() => expressRoutes(new Log()).install(app)).toThrow('not one of Express 5');
    }
  });

  test('and its table cannot be defined anew afterwards', () => {
    const { router } = expressRoutes(new Log()).install(express());
    for (const name of ['stack', 'params'])
      expect(() => Object.defineProperty(router, name, { value: [], writable: true })).toThrow(TypeError);
  });
});

describe.each(['Hono', 'Express', 'Fastify'] as const)('a handler of %s', (framework) => {
  // `policy.require` in an async handler rejects: not awaited, the refusal would be an error of the server.
  test('that is refused later, after it has waited, is answered as a refusal', async () => {
    const context = () => personOf('bookkeeper');
    const access = { action: 'entry.read', load: () => entries.get('1') } as const;
    const refuse = async (): Promise<never> => {
      await new Promise((resolve) => setImmediate(resolve));
      policy.require(personOf('bookkeeper') as RequestContext<Role>, 'entry.purge', { org: ORG });
      throw new Error('it was allowed');
    };
    const start = {
      Hono: async () => {
        const routes = createHonoRoutes({ policy, context });
        routes.get('/x', access, refuse);
        return await serveHono(routes.install(new Hono()));
      },
      Express: async () => {
        const routes = createExpressRoutes({ policy, context });
        routes.get('/x', access, refuse);
        return await serveExpress(routes.install(express()));
      },
      Fastify: async () => {
        const routes = createFastifyRoutes({ policy, context });
        routes.get('/x', access, refuse);
        return await serveFastify(routes.install(Fastify()));
      },
    };
    const app = await start[framework]();
    const { status, body } = await app.send('GET', '/x');
    await app.close();
    expect({ status, type: JSON.parse(body).type }).toEqual({
      ...{ status: 403, type: 'urn:ringfence:authz:denied' },
    });
  });
});
