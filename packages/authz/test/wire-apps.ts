/**
 * One routing table with overlapping paths on three frameworks and in several settings, on listening servers. Each
 * step of a request leaves a trace under the request object of the framework, so that a handler can be held against
 * the decision of its very request. Every resource exists: a path that is read in an odd way finds something too.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import express, { type Express, type Request, type Response } from 'express';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { type Context, Hono } from 'hono';
import { createRoutes as createExpressRoutes } from '../src/express/index.ts';
import { createRoutes as createFastifyRoutes } from '../src/fastify/index.ts';
import { createRoutes as createHonoRoutes } from '../src/hono/index.ts';
import type { Decision, RequestContext } from '../src/index.ts';
import { ORG, OTHER_ORG, policy, type Role } from './model.ts';
import { personOf } from './routes-fixture.ts';

/** What is declared. Nobody is ever granted `entry.purge`, `entry.export` and `bankLine.read` here. */
export const TABLE = [
  ['get', '/', 'entry.purge'],
  ['get', '/health', undefined],
  ['get', '/entries', 'entry.export'],
  ['get', '/entries/:id', 'entry.read'],
  ['get', '/entries/export', 'entry.export'],
  ['get', '/entries/:id/lines/:line', 'bankLine.read'],
  ['get', '/:kind/:id', 'entry.purge'],
  ['post', '/entries', 'entry.post'],
  ['post', '/entries/:id', 'entry.purge'],
  ['post', '/entries/:id/approval', 'entry.approve'],
  ['put', '/entries/:id', 'entry.purge'],
  ['patch', '/entries/:id', 'entry.post'],
  ['delete', '/entries/:id', 'entry.purge'],
] as const;

/** What each person may do, and in which organisation; anybody else may do nothing. */
export const MAY: Readonly<Record<string, { readonly org: string; readonly actions: readonly string[] }>> = {
  owner: { org: ORG, actions: ['entry.read'] },
  bookkeeper: { org: ORG, actions: ['entry.read', 'entry.post'] },
  eve: { org: OTHER_ORG, actions: ['entry.read'] },
};

type Params = Readonly<Record<string, string>>;

/** A handler that ran. */
export interface Ran {
  readonly probe: string;
  readonly route: string;
  readonly action: string | undefined;
  readonly params: Params;
  readonly token: string | undefined;
  readonly request: object;
  readonly allowed:
    | { readonly resource: object; readonly decision: Decision; readonly context: object }
    | undefined;
}

/** What happened to one request, in order. */
interface Trace {
  readonly contexts: (RequestContext<Role> | undefined)[];
  readonly loads: {
    readonly route: string;
    readonly params: Params;
    readonly resource: { readonly org: string };
  }[];
  readonly decisions: Decision[];
}

/** Keeps the traces. */
export class Witness {
  readonly ran: Ran[] = [];
  readonly #traces = new WeakMap<object, Trace>();

  of(request: object): Trace {
    const trace = this.#traces.get(request) ?? { contexts: [], loads: [], decisions: [] };
    this.#traces.set(request, trace);
    return trace;
  }
}

/** How a framework is asked for the parts of a request. */
interface Reader<Req> {
  readonly params: (request: Req) => Params;
  readonly header: (request: Req, name: string) => string | undefined;
}

type Declare = (path: string, access: object, handler: (...given: never[]) => unknown) => void;
type Registry = Readonly<Record<(typeof TABLE)[number][0], unknown>>;

function optionsOf<Req extends object>(witness: Witness, { header }: Reader<Req>) {
  return {
    policy,
    // Turns of the event loop, by the probe: requests on one connection overtake each other.
    context: async (request: Req): Promise<RequestContext<Role> | undefined> => {
      for (let turn = Number(header(request, 'x-probe') ?? 0) % 4; turn > 0; turn--)
        await new Promise((resolve) => setImmediate(resolve));
      const context = personOf(header(request, 'authorization'));
      witness.of(request).contexts.push(context);
      return context;
    },
    record: (decision: Decision, request: Req) => void witness.of(request).decisions.push(decision),
  };
}

function declareAll<Req extends object>(
  witness: Witness,
  registry: Registry,
  { params, header }: Reader<Req>,
  answer: (request: Req, rest: readonly unknown[], marks: Readonly<Record<string, string>>) => unknown,
): void {
  for (const [method, path, action] of TABLE) {
    const route = `${method.toUpperCase()} ${path}`;
    const load = async (request: Req): Promise<object> => {
      const given = { ...params(request) };
      const org = given['id']?.startsWith('foreign') === true ? OTHER_ORG : ORG;
      const resource = { org, status: 'draft', locked: false, amountCents: 1, createdBy: 'user:bob' };
      witness.of(request).loads.push({ route, params: given, resource });
      await new Promise((resolve) => setImmediate(resolve));
      return resource;
    };
    const handler = (request: Req, ...rest: unknown[]): unknown => {
      const probe = header(request, 'x-probe') ?? 'none';
      const token = header(request, 'authorization')?.replace('Bearer ', '');
      const allowed = rest.at(-1) as Ran['allowed'];
      witness.ran.push({
        ...{ probe, route, action, params: { ...params(request) }, token, request },
        allowed: action === undefined ? undefined : allowed,
      });
      return answer(request, rest, { 'x-ran': `${probe} ${token ?? 'nobody'} ${action ?? 'public'}` });
    };
    (registry[method] as Declare)(
      path,
      action === undefined ? { public: 'liveness probe' } : { action, load },
      handler,
    );
  }
}

function expressApp(witness: Witness, app: Express = express()): Express {
  const reader: Reader<Request> = {
    params: (request) => request.params as Params,
    header: (request, name) => request.get(name),
  };
  const routes = createExpressRoutes(optionsOf(witness, reader));
  routes.use('parses JSON bodies', express.json());
  declareAll(witness, routes, reader, (_request, [response], marks) =>
    (response as Response).set(marks).send('done'),
  );
  routes.use('answers errors', ((_error, _request, response, _next) => {
    response.status(400).end();
  }) as express.ErrorRequestHandler);
  return routes.install(app);
}

function fastifyApp(witness: Witness, app: FastifyInstance = Fastify()): FastifyInstance {
  const reader: Reader<FastifyRequest> = {
    params: (request) => request.params as Params,
    header: (request, name) => request.headers[name] as string | undefined,
  };
  const routes = createFastifyRoutes(optionsOf(witness, reader));
  declareAll(witness, routes, reader, (_request, [reply], marks) =>
    (reply as FastifyReply).headers(marks).send('done'),
  );
  return routes.install(app);
}

function honoApp(witness: Witness, app: Hono = new Hono()): Hono {
  const reader: Reader<Context> = {
    params: (c) => c.req.param() as Params,
    header: (c, name) => c.req.header(name),
  };
  const routes = createHonoRoutes(optionsOf(witness, reader));
  routes.use('looks at what comes and goes', async (_c, next) => await next());
  declareAll(witness, routes, reader, (c, _rest, marks) => c.text('done', 200, marks));
  return routes.install(app);
}

/** A server that listens. */
export interface Listening {
  readonly port: number;
  close(): Promise<void>;
}

/** Requests in a pipeline each listen to the socket: more than ten are meant here. */
function quiet(server: Server): void {
  server.on('connection', (socket) => socket.setMaxListeners(0));
}

async function listen(server: Server): Promise<Listening> {
  quiet(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { port: (server.address() as AddressInfo).port, close };
}

async function listenFastify(app: FastifyInstance): Promise<Listening> {
  quiet(app.server);
  await app.listen({ host: '127.0.0.1', port: 0 });
  return { port: (app.server.address() as AddressInfo).port, close: async () => await app.close() };
}

const listenExpress = (app: Express) => listen(createServer(app));
// What the mounted application's wrapper cannot read (`http://user@host/`), it throws.
const listenHono = (app: Hono) =>
  listen(createAdaptorServer(app.onError((_error, c) => c.text('', 400))) as Server);

const exactExpress = () => express().enable('strict routing').enable('case sensitive routing');
const lenientFastify = () =>
  Fastify({
    routerOptions: { caseSensitive: false, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    rewriteUrl: ({ url = '/' }) => url.replace(/^\/v1(?=\/)/, ''),
  });
const pluginFastify = (witness: Witness) => {
  const routerOptions = { caseSensitive: true, useSemicolonDelimiter: true }; // the types know the second one no longer
  const app = fastifyApp(witness, Fastify({ routerOptions }));
  app.register((child, _options, done) => {
    child.addHook('preHandler', async () => undefined);
    child.setNotFoundHandler(async (_request, reply) => await reply.code(404).send('lost'));
    done();
  });
  return app;
};

/** The servers, each with the prefix its routes are below. */
export const SERVERS: readonly (readonly [string, string, (witness: Witness) => Promise<Listening>])[] = [
  ['Express', '', (witness) => listenExpress(expressApp(witness))],
  [
    'Express with strict paths and letter case',
    '',
    (witness) => listenExpress(expressApp(witness, exactExpress())),
  ],
  ['Express below a prefix', '/v1', (witness) => listenExpress(express().use('/v1', expressApp(witness)))],
  ['Fastify', '', (witness) => listenFastify(fastifyApp(witness))],
  ['Fastify that takes all it can', '/v1', (witness) => listenFastify(fastifyApp(witness, lenientFastify()))],
  ['Fastify with plugins and semicolons', '', (witness) => listenFastify(pluginFastify(witness))],
  ['Hono', '', (witness) => listenHono(honoApp(witness))],
  ['Hono without strict paths', '', (witness) => listenHono(honoApp(witness, new Hono({ strict: false })))],
  ['Hono below a base path', '/v1', (witness) => listenHono(honoApp(witness, new Hono().basePath('/v1')))],
  ['Hono as a route', '/v1', (witness) => listenHono(new Hono().route('/v1', honoApp(witness)))],
  ['Hono mounted', '/v1', (witness) => listenHono(new Hono().mount('/v1', honoApp(witness).fetch))],
];
