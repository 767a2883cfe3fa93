// #region matrix_imports
import { type DeclaredRoute, denialMatrix } from '@ringfence/authz/testing';
import type { Hono } from 'hono';
// #endregion

import { expect, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { entries, people, policy } from './guides/application.ts';
import { expressApp } from './guides/routes-express.ts';
import { fastifyApp } from './guides/routes-fastify.ts';
import { honoApp } from './guides/routes-hono.ts';

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
    snippetDrift(new URL('../../../docs/authz-routes.md', import.meta.url), [
      new URL(import.meta.url),
      ...['hono', 'express', 'fastify'].map((name) => new URL(`./guides/routes-${name}.ts`, import.meta.url)),
    ]),
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
