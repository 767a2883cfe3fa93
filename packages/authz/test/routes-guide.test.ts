import express, { type Express } from 'express';
import Fastify, { type FastifyInstance } from 'fastify';
import { Hono } from 'hono';
import { expect, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import * as onExpress from '../src/express/index.ts';
import * as onFastify from '../src/fastify/index.ts';
import * as onHono from '../src/hono/index.ts';
import { type DeclaredRoute, denialMatrix } from '../src/testing/index.ts';
import { entries, people, policy, sessions } from './routes-guide.ts';

// #region hono
export function honoApp(): Hono {
  const routes = onHono.createRoutes({
    policy,
    context: (c) => sessions.context(c.req.header('authorization')),
  });
  routes.get('/health', { public: 'liveness probe, holds no data' }, (c) => c.text('ok'));
  routes.get(
    '/entries/:id',
    { action: 'entry.read', load: (c) => entries.find(c.req.param('id')) },
    (c, { resource }) => c.json(resource),
  );
  return routes.install(new Hono());
}
// #endregion

// #region express
export function expressApp(): Express {
  const routes = onExpress.createRoutes({
    policy,
    context: (req) => sessions.context(req.get('authorization')),
  });
  routes.use('parses JSON bodies', express.json());
  routes.get(
    '/entries/:id',
    { action: 'entry.read', load: (req) => entries.find(req.params.id) },
    (_req, res, { resource }) => res.json(resource),
  );
  return routes.install(express());
}
// #endregion

// #region fastify
export function fastifyApp(): FastifyInstance {
  const routes = onFastify.createRoutes({
    policy,
    context: (request) => sessions.context(request.headers.authorization),
  });
  routes.get(
    '/entries/:id',
    { action: 'entry.read', load: (request) => entries.find(request.params.id) },
    (_request, _reply, { resource }) => resource,
  );
  return routes.install(Fastify()); // before plugins and other routes
}
// #endregion

// #region matrix
export async function deniesWhatThePolicyDenies(app: Hono, routes: readonly DeclaredRoute[]): Promise<void> {
  const entry = await entries.find('1');
  if (entry === undefined) throw new Error('the test data has no entry 1');
  await denialMatrix({
    routes,
    policy,
    principals: people,
    cases: {
      'GET /health': [{ public: 'liveness probe, holds no data', path: '/health' }],
      'GET /entries/:id': [{ action: 'entry.read', path: '/entries/1', resource: entry }],
    },
    request: async ({ principal, method, path }) =>
      await app.request(path, {
        method,
        headers: principal === undefined ? {} : { authorization: principal },
      }),
  });
}
// #endregion

test('the snippets of the page are this code', () => {
  expect(
    snippetDrift(new URL('../../../docs/authz-routes.md', import.meta.url), [new URL(import.meta.url)]),
  ).toEqual([]);
});

test('they answer as the page says', async () => {
  const hono = honoApp();
  expect((await hono.request('/health')).status).toBe(200);
  expect((await hono.request('/entries/1')).status).toBe(401);
  const answer = await fastifyApp().inject({
    url: '/entries/1',
    headers: { authorization: 'Bearer bookkeeper' },
  });
  expect(answer.statusCode).toBe(200);
  expect(expressApp().router.stack.length).toBeGreaterThan(1);
  const declared = { conceal: false, method: 'GET' } as const;
  await deniesWhatThePolicyDenies(hono, [
    { ...declared, path: '/health', action: undefined, public: 'liveness probe, holds no data' },
    { ...declared, path: '/entries/:id', action: 'entry.read', public: undefined },
  ]);
});
