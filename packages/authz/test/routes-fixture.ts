/** One small application, declared the same way on three frameworks and asked over HTTP. */
import { createServer, request as httpRequest, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import Fastify, { type FastifyInstance } from 'fastify';
import { Hono } from 'hono';
import * as onExpress from '../src/express/index.ts';
import * as onFastify from '../src/fastify/index.ts';
import * as onHono from '../src/hono/index.ts';
import type { Decision, RequestContext } from '../src/index.ts';
import { unsafeSessionFacts } from '../src/testing/index.ts';
import { as, entry, NOW, OTHER_ORG, policy, type Role, type resources } from './model.ts';

export type Entry = Omit<typeof entry, 'id' | 'amountCents' | 'createdBy'> & {
  readonly id: string;
  readonly amountCents: number;
  readonly createdBy: string;
};

/** The data: entries of one organisation. */
export const entries: ReadonlyMap<string, Entry> = new Map<string, Entry>([
  ['1', { ...entry, id: '1' }],
  ['2', { ...entry, id: '2', createdBy: 'user:ada' }],
  ['3', { ...entry, id: '3', amountCents: 500_000 }],
  ['a/b', { ...entry, id: 'a/b' }],
]);

/** Who may sign in, by the token they send. */
export const people: Readonly<Record<string, RequestContext<Role>>> = {
  owner: as('owner'),
  bookkeeper: as('bookkeeper'),
  auditor: as('auditor'),
  controller: as('controller'),
  strong: { ...as('controller'), session: unsafeSessionFacts({ mfa: true, authenticatedAt: NOW }) },
  eve: { ...as('controller', 'owner'), principal: { ...as('owner').principal, org: OTHER_ORG } },
};

/** What the application did, to tell a refusal from a refusal that came too late. */
export class Log {
  readonly ran: string[] = [];
  readonly decisions: Decision[] = [];
}

export function personOf(authorization: string | null | undefined): RequestContext<Role> | undefined {
  const name = authorization?.replace('Bearer ', '') ?? '';
  return Object.hasOwn(people, name) ? people[name] : undefined;
}

export function honoRoutes(log: Log): ReturnType<typeof onHono.createRoutes<typeof resources, Role>> {
  const routes = onHono.createRoutes({
    policy,
    context: (c) => personOf(c.req.header('authorization')),
    record: (decision) => void log.decisions.push(decision),
  });
  routes.get('/health', { public: 'liveness probe' }, (c) => c.text('ok'));
  routes.get(
    '/entries/:id',
    { action: 'entry.read', load: (c) => entries.get(c.req.param('id')) },
    (c, { resource }) => {
      log.ran.push(`read ${resource.id}`);
      return c.json(resource);
    },
  );
  routes.post(
    '/entries/:id/approval',
    { action: 'entry.approve', load: (c) => entries.get(c.req.param('id')) },
    (c, { resource }) => {
      log.ran.push(`approve ${resource.id}`);
      return c.body(null, 204);
    },
  );
  routes.post(
    '/entries',
    {
      action: 'entry.post',
      load: (_c, { principal }) => ({ org: principal.org, status: 'draft', locked: false }) as const,
    },
    (c) => {
      log.ran.push('post');
      return c.body(null, 201);
    },
  );
  routes.delete(
    '/entries/:id',
    { action: 'entry.purge', load: (c) => entries.get(c.req.param('id')), conceal: true },
    (c) => c.body(null, 204),
  );
  return routes;
}

export function expressRoutes(log: Log): ReturnType<typeof onExpress.createRoutes<typeof resources, Role>> {
  const routes = onExpress.createRoutes({
    policy,
    context: (req) => personOf(req.get('authorization')),
    record: (decision) => void log.decisions.push(decision),
  });
  routes.get('/health', { public: 'liveness probe' }, (_req, res) => res.send('ok'));
  routes.get(
    '/entries/:id',
    { action: 'entry.read', load: (req) => entries.get(req.params.id) },
    (_req, res, { resource }) => {
      log.ran.push(`read ${resource.id}`);
      res.json(resource);
    },
  );
  routes.post(
    '/entries/:id/approval',
    { action: 'entry.approve', load: (req) => entries.get(req.params.id) },
    (_req, res, { resource }) => {
      log.ran.push(`approve ${resource.id}`);
      res.status(204).end();
    },
  );
  routes.post(
    '/entries',
    {
      action: 'entry.post',
      load: (_req, { principal }) => ({ org: principal.org, status: 'draft', locked: false }) as const,
    },
    (_req, res) => {
      log.ran.push('post');
      res.status(201).end();
    },
  );
  routes.delete(
    '/entries/:id',
    { action: 'entry.purge', load: (req) => entries.get(req.params.id), conceal: true },
    (_req, res) => res.status(204).end(),
  );
  return routes;
}

export function fastifyRoutes(log: Log): ReturnType<typeof onFastify.createRoutes<typeof resources, Role>> {
  const routes = onFastify.createRoutes({
    policy,
    context: (request) => personOf(request.headers.authorization),
    record: (decision) => void log.decisions.push(decision),
  });
  routes.get('/health', { public: 'liveness probe' }, () => 'ok');
  routes.get(
    '/entries/:id',
    { action: 'entry.read', load: (request) => entries.get(request.params.id) },
    (_request, _reply, { resource }) => {
      log.ran.push(`read ${resource.id}`);
      return resource;
    },
  );
  routes.post(
    '/entries/:id/approval',
    { action: 'entry.approve', load: (request) => entries.get(request.params.id) },
    (_request, reply, { resource }) => {
      log.ran.push(`approve ${resource.id}`);
      return reply.code(204).send();
    },
  );
  routes.post(
    '/entries',
    {
      action: 'entry.post',
      load: (_request, { principal }) => ({ org: principal.org, status: 'draft', locked: false }) as const,
    },
    (_request, reply) => {
      log.ran.push('post');
      return reply.code(201).send();
    },
  );
  routes.delete(
    '/entries/:id',
    { action: 'entry.purge', load: (request) => entries.get(request.params.id), conceal: true },
    (_request, reply) => reply.code(204).send(),
  );
  return routes;
}

/** An answer. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A listening application. */
export interface Running {
  readonly url: string;
  /** Sends exactly this path: no client normalises it. */
  send(method: string, path: string, token?: string, headers?: Record<string, string>): Promise<Answer>;
  close(): Promise<void>;
}

export async function serve(listener: RequestListener): Promise<Running> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return running(port, async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
}

function running(port: number, close: () => Promise<void>): Running {
  return {
    url: `http://127.0.0.1:${port}`,
    close,
    send: (method, path, token, more = {}) =>
      new Promise((resolve, reject) => {
        const headers = { ...more, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
        httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(parts).toString(),
            }),
          );
        })
          .on('error', reject)
          .end();
      }),
  };
}

/** Serves a Hono application with Node's server. */
export async function serveHono(app: Hono): Promise<Running> {
  return await serve((incoming, outgoing) => {
    const { method = 'GET', url = '/', headers } = incoming;
    const given = Object.entries(headers).flatMap(([name, value]) =>
      typeof value === 'string' ? [[name, value] as [string, string]] : [],
    );
    void Promise.resolve(app.fetch(new Request(`http://127.0.0.1${url}`, { method, headers: given }))).then(
      async (response) => {
        outgoing.writeHead(response.status, Object.fromEntries(response.headers));
        outgoing.end(Buffer.from(await response.arrayBuffer()));
      },
    );
  });
}

export async function serveExpress(app: Express): Promise<Running> {
  return await serve(app);
}

export async function serveFastify(app: FastifyInstance): Promise<Running> {
  await app.listen({ host: '127.0.0.1', port: 0 });
  return running((app.server.address() as AddressInfo).port, async () => await app.close());
}

/** The application of the fixture on a framework. */
export const start: Readonly<Record<'hono' | 'express' | 'fastify', (log: Log) => Promise<Running>>> = {
  hono: async (log) => await serveHono(honoRoutes(log).install(new Hono())),
  express: async (log) => await serveExpress(expressRoutes(log).install(express())),
  fastify: async (log) => await serveFastify(fastifyRoutes(log).install(Fastify())),
};
