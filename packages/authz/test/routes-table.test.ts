import express, {
  type ErrorRequestHandler,
  type Express,
  type RequestHandler,
  type RequestParamHandler,
} from 'express';
import Fastify, { type FastifyPluginCallback } from 'fastify';
import { Hono, type MiddlewareHandler } from 'hono';
import { afterEach, describe, expect, test } from 'vitest';
import { createRoutes as createExpressRoutes } from '../src/express/index.ts';
import { createRoutes as createFastifyRoutes } from '../src/fastify/index.ts';
import { AuthzUndeclaredRoutesError } from '../src/index.ts';
import { policy } from './model.ts';
import {
  entries,
  expressRoutes,
  fastifyRoutes,
  honoRoutes,
  Log,
  people,
  personOf,
  type Running,
  serveExpress,
  serveFastify,
  serveHono,
} from './routes-fixture.ts';

const leak: RequestHandler = (_req, res) => {
  res.send('createdBy');
};

function undeclared(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    return namesOf(error);
  }
  return [];
}

function namesOf(error: unknown): readonly string[] {
  if (!(error instanceof AuthzUndeclaredRoutesError)) throw error;
  expect(error.code).toBe('authz.undeclared_routes');
  return error.routes.map(({ method, path }) => `${method} ${path}`);
}

const queued: FastifyPluginCallback = (child, _options, done) => {
  child.get('/queued', () => 'createdBy');
  done();
};
const inner: FastifyPluginCallback = (child, _options, done) => {
  child.post('/deep', () => 'createdBy');
  done();
};
const outer: FastifyPluginCallback = (child, _options, done) => {
  child.register(inner);
  done();
};

let app: Running | undefined;
afterEach(async () => {
  await app?.close();
  app = undefined;
});

describe('a Hono application does not start', () => {
  const routesFor = (hono: Hono) => undeclared(() => honoRoutes(new Log()).install(hono));

  test('with routes, wildcards, middleware, sub-applications or mounts beside the registry, and names each', () => {
    const sub = new Hono().get('/inner', (c) => c.text('createdBy'));
    const strict = new Hono().get('/inner', (c) => c.text('createdBy'));
    strict.onError((_error, c) => c.text('error', 500));
    const hono = new Hono()
      .get('/direct', (c) => c.text('createdBy'))
      .all('/all', (c) => c.text('createdBy'))
      .use('/early/*', async (c) => c.text('createdBy'))
      .route('/sub', sub)
      .route('/strict', strict)
      .mount('/mounted', () => new Response('createdBy'));
    hono.basePath('/based').get('/x', (c) => c.text('createdBy'));
    expect(routesFor(hono)).toEqual([
      'GET /direct',
      'ALL /all',
      'ALL /early/*',
      'GET /sub/inner',
      'GET /strict/inner',
      'ALL /mounted/*',
      'GET /based/x',
    ]);
  });

  test('with a declared middleware that stands elsewhere too, as a route or below a path', () => {
    const answer: MiddlewareHandler = async (c) => c.text('createdBy');
    for (const hono of [
      new Hono().get('/secret', answer),
      new Hono().use('/secret/*', answer),
      new Hono().get('/entries/:id', answer),
    ]) {
      const routes = honoRoutes(new Log());
      routes.use('adds a header', answer);
      expect(undeclared(() => routes.install(hono))).toHaveLength(1);
    }
  });

  test('with a route of the same path that would answer first', () => {
    expect(routesFor(new Hono().get('/entries/:id', (c) => c.text('createdBy')))).toEqual([
      'GET /entries/:id',
    ]);
  });

  test('and nothing can be added later, whether or not somebody catches the error', async () => {
    const hono = honoRoutes(new Log()).install(new Hono());
    const late = [
      () => hono.get('/late', (c) => c.text('createdBy')),
      () => hono.basePath('/b').get('/late', (c) => c.text('createdBy')),
      () =>
        hono.route(
          '/late',
          new Hono().get('/late', (c) => c.text('createdBy')),
        ),
      () => hono.use(async (c) => c.text('createdBy')),
    ];
    for (const add of late) expect(undeclared(add)).toHaveLength(1);
    expect(() => hono.routes.pop()).toThrow(TypeError); // what a reviewer lists is what there is
    app = await serveHono(hono);
    for (const path of ['/late', '/b/late', '/late/late', '/entries/1']) {
      expect((await app.send('GET', path)).body).not.toContain('createdBy');
    }
  });
});

describe('an Express application does not start', () => {
  test('with routes, wildcards, middleware, routers or mounted applications beside the registry, and names each', () => {
    const router = express.Router();
    router.get('/inner', leak);
    const mounted = express();
    mounted.get('/inner', leak);
    const server = express();
    server.get('/direct', leak);
    server.all('/all', leak);
    server.get('/*splat', leak);
    server.route('/chain').put(leak).patch(leak);
    server.use('/early', leak);
    server.use('/sub', router);
    server.use('/mounted', mounted);
    server.use('/empty', express.Router());
    expect(undeclared(() => expressRoutes(new Log()).install(server))).toEqual([
      'GET /direct',
      'ALL /all',
      'GET /*splat',
      'PUT /chain',
      'PATCH /chain',
      'USE (leak)',
      'GET /inner',
      'USE (mounted_app)',
      'USE (empty router)',
    ]);
  });

  test('with a declared middleware that stands elsewhere too, as a route or below a path', () => {
    const places: readonly ((server: Express) => unknown)[] = [
      (server) => server.get('/secret', leak),
      (server) => server.use(leak),
      (server) => server.use('/secret', leak),
      (server) => server.route('/secret').all(leak),
      (server) => server.get('/entries/:id', leak),
    ];
    for (const place of places) {
      const server = express();
      place(server);
      const routes = expressRoutes(new Log());
      routes.use('adds a header', leak);
      expect(undeclared(() => routes.install(server))).toHaveLength(1);
    }
  });

  test('with a handler of parameters, which runs before the guard of every route with such a parameter', async () => {
    const answer: RequestParamHandler = (_req, res) => void res.send('createdBy');
    const server = express();
    server.param('id', answer);
    server.param(['other', 'third'], answer);
    expect(undeclared(() => expressRoutes(new Log()).install(server))).toEqual([
      'PARAM (:id)',
      'PARAM (:other)',
      'PARAM (:third)',
    ]);
    const closed = expressRoutes(new Log()).install(express());
    const late = [
      () => closed.param('id', answer),
      () => closed.router.param('id', answer),
      () => Object.assign(closed.router, { params: { id: [answer] } }),
      () => Object.assign((closed.router as unknown as { params: object }).params, { id: [answer] }),
    ];
    for (const add of late) expect(add).toThrow(TypeError);
    app = await serveExpress(closed);
    expect((await app.send('GET', '/entries/1')).status).toBe(401);
  });

  test('with a route that has no handler yet', () => {
    const server = express();
    server.route('/entries/:id');
    expect(undeclared(() => expressRoutes(new Log()).install(server))).toEqual(['ALL /entries/:id']);
  });

  test('on a router of another kind, whose table cannot be read', () => {
    for (const part of [{ stack: undefined }, { params: undefined }]) {
      const server = express();
      const routes = createExpressRoutes({ policy, context: () => undefined });
      Object.assign(server.router, part);
      expect(() => routes.install(server)).toThrow('not one of Express 5');
    }
  });

  test('with a router or an application declared as middleware: routes have no reason, they have permissions', () => {
    for (const make of [() => express.Router(), () => express()]) {
      const nested = make();
      nested.get('/inner', leak);
      const routes = expressRoutes(new Log());
      routes.use('looks like a middleware', nested as RequestHandler);
      expect(undeclared(() => routes.install(express())).length).toBeGreaterThan(0);
    }
  });

  test('and nothing can be added later, whether or not somebody catches the error', async () => {
    const server = expressRoutes(new Log()).install(express());
    const declared = server.router.stack.find(({ route }) => route?.path === '/entries/:id')?.route;
    const late = [
      () => server.get('/late', leak),
      () => server.use(leak),
      () => server.use('/late', express.Router().get('/late', leak)),
      () => server.router.get('/late', leak),
      () => server.router.stack.unshift(server.router.stack[0] as never),
      () => declared?.get(leak),
      () => {
        server.router.stack = [];
      },
    ];
    for (const add of late) expect(add).toThrow(TypeError);
    app = await serveExpress(server);
    for (const path of ['/late', '/late/late', '/entries/1']) {
      expect((await app.send('GET', path)).body).not.toContain('createdBy');
    }
  });
});

describe('a Fastify application does not start', () => {
  test('with routes added directly, for all methods, or by plugins that load later, and names each', async () => {
    const server = Fastify();
    server.register(queued, { prefix: '/before' });
    fastifyRoutes(new Log()).install(server);
    server.get('/direct', () => 'createdBy');
    server.route({ method: ['PUT', 'PATCH'], url: '/several', handler: () => 'createdBy' });
    server.get('/*', () => 'createdBy');
    server.register(outer, { prefix: '/plugin' });
    const error = await serveFastify(server).catch((thrown: unknown) => thrown);
    expect([...namesOf(error)].sort()).toEqual(
      [
        ...['GET', 'HEAD'].flatMap((method) => [
          `${method} /direct`,
          `${method} /*`,
          `${method} /before/queued`,
        ]),
        'PUT /several',
        'PATCH /several',
        'POST /plugin/deep',
      ].sort(),
    );
    expect(server.server.listening).toBe(false);
  });

  test('when routes were there before the watch, and names each', () => {
    const server = Fastify();
    server.get('/a', () => 'createdBy');
    server.post('/a/b', () => 'createdBy');
    server.get('/a/b/:c', () => 'createdBy');
    expect([...undeclared(() => fastifyRoutes(new Log()).install(server))].sort()).toEqual([
      'GET /a',
      'GET /a/b/:c',
      'HEAD /a',
      'HEAD /a/b/:c',
      'POST /a/b',
    ]);
  });

  test('inside a plugin, where routes of the application around it are not seen', async () => {
    const server = Fastify();
    const plugin: FastifyPluginCallback = (child, _options, done) => {
      expect(() => fastifyRoutes(new Log()).install(child)).toThrow('not inside a plugin');
      done();
    };
    server.register(plugin);
    await server.ready();
    expect.assertions(1);
  });

  test('without the schema of each route, though two share a handler', async () => {
    const routes = createFastifyRoutes({ policy, context: () => undefined });
    const handler = () => ({ shown: 'x', hidden: 'y' });
    const schema = { response: { 200: { type: 'object', properties: { shown: { type: 'string' } } } } };
    routes.get('/narrow', { public: 'why' }, handler, schema);
    routes.get('/wide', { public: 'why' }, handler);
    app = await serveFastify(routes.install(Fastify()));
    expect((await app.send('GET', '/narrow')).body).toBe('{"shown":"x"}');
    expect((await app.send('GET', '/wide')).body).toBe('{"shown":"x","hidden":"y"}');
  });

  test('and nothing can be added once it listens', async () => {
    const server = fastifyRoutes(new Log()).install(Fastify());
    app = await serveFastify(server);
    expect(() => server.get('/late', () => 'createdBy')).toThrow('already listening');
    expect((await app.send('GET', '/late')).status).toBe(404);
  });
});

describe('what stands around the handlers', () => {
  const throwing = (path: string): never => {
    throw new Error(`secret of ${path}`);
  };

  test('a middleware needs a reason, and when it answers early the handler behind it does not run', async () => {
    for (const framework of [honoRoutes, expressRoutes]) {
      const routes = framework(new Log());
      expect(() => routes.use(' ', (() => undefined) as never)).toThrow('needs a reason');
    }
    const ran: string[] = [];
    const errors: unknown[] = [];
    const routes = createExpressRoutes({ policy, context: () => people['bookkeeper'] });
    routes.use('closed for maintenance', (_req, res, next) => {
      res.status(503).end();
      next(); // answers, and goes on all the same
    });
    routes.get('/x', { action: 'entry.read', load: () => undefined }, () => void ran.push('x'));
    routes.use(
      'keeps errors',
      ((error, _req, _res, _next) => void errors.push(error)) as ErrorRequestHandler,
    );
    app = await serveExpress(routes.install(express()));
    expect((await app.send('GET', '/x')).status).toBe(503);
    expect({ ran, errors }).toEqual({ ran: [], errors: [] });
  });

  test('an error of the session look-up reaches the error handler of the application, never the handler', async () => {
    const ran: string[] = [];
    const routes = createExpressRoutes({ policy, context: (req) => throwing(req.path) });
    routes.get('/x/:id', { action: 'entry.read', load: () => undefined }, () => void ran.push('x'));
    routes.use('answers errors', ((error: Error, _req, res, _next) => {
      ran.push(error.message);
      res.status(500).end();
    }) as express.ErrorRequestHandler);
    app = await serveExpress(routes.install(express()));
    const { status, body } = await app.send('GET', '/x/1', 'owner');
    expect({ status, body, ran }).toEqual({ status: 500, body: '', ran: ['secret of /x/1'] });
  });

  test('a method changed by a declared middleware is guarded as the method it was changed to', async () => {
    const log = new Log();
    const routes = createExpressRoutes({ policy, context: (req) => personOf(req.get('authorization')) });
    routes.use('method override for HTML forms', (req, _res, next) => {
      req.method = req.get('x-http-method-override') ?? req.method;
      next();
    });
    routes.post('/x/:id', { public: 'test' }, (_req, res) => res.send('post'));
    routes.delete(
      '/x/:id',
      { action: 'entry.purge', load: (req) => entries.get(req.params.id) },
      () => void log.ran.push('purge'),
    );
    app = await serveExpress(routes.install(express()));
    const { status } = await app.send('POST', '/x/1', 'owner', { 'x-http-method-override': 'DELETE' });
    expect({ status, ran: log.ran }).toEqual({ status: 403, ran: [] });
  });
});
