/** The guides in docs/adapters, run: each of their marked snippets is a region of a module in the folder `guides`. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { snippetDrift } from '../../../../tools/doc-snippets.ts';
import { codeOf, type Fixture, fixture, ORG_A, ORG_B } from '../fixture.ts';

let f: Fixture;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  process.env['APP_URL'] = f.database.appUrl;
  process.env['CONTEXT_SECRET'] = Buffer.from(f.contextKey.secret).toString('base64');
});
afterAll(async () => {
  const { pool } = await import('./guides/application.ts');
  await pool.end();
  await f.close();
});

const SESSION = { org: ORG_A, user: 'alice' };
const FOREIGN = { org: ORG_B, user: 'bob' };

test('pg', async () => {
  const { notes, rename, close } = await import('./guides/pg.ts');
  expect(await notes(SESSION)).toEqual([`note of ${ORG_A}`]);
  expect(await rename(SESSION, `note of ${ORG_A}`, 'renamed')).toBe(1);
  expect(await notes(SESSION)).toEqual(['renamed']);
  expect(await rename(SESSION, `note of ${ORG_B}`, 'stolen')).toBe(0);
  expect(await codeOf(rename(SESSION, 'renamed', 'stolen'))).toBe('23505');
  expect(await notes(FOREIGN)).toEqual([`note of ${ORG_B}`]);
  await close();
});

test('drizzle', async () => {
  const { addTwo, drizzleOf } = await import('./guides/drizzle.ts');
  expect(await addTwo(SESSION)).toBe(3);
  expect(await drizzleOf(FOREIGN).query.note.findMany()).toHaveLength(1);
});

test('context', async () => {
  const { handle } = await import('./guides/context.ts');
  expect(await handle(SESSION)).toBe(3);
  expect(await handle(FOREIGN)).toBe(1);
});

test('hono, express and fastify answer alike', async () => {
  const { app: hono } = await import('./guides/hono.ts');
  const { app: express } = await import('./guides/express.ts');
  const { app: fastify } = await import('./guides/fastify.ts');
  const server = createServer(express);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const url = await fastify.listen({ port: 0, host: '127.0.0.1' });
  const headers = { authorization: 'session-of-acme' };
  for (const get of [
    async (path: string, init?: RequestInit) => await hono.request(path, init),
    (path: string, init?: RequestInit) => fetch(origin + path, init),
    (path: string, init?: RequestInit) => fetch(url + path, init),
  ]) {
    expect(await (await get('/health')).text()).toBe('ok');
    expect(await (await get('/notes', { headers })).json()).toHaveLength(3);
    expect((await get('/notes')).status).toBe(401);
  }
  server.close();
  await fastify.close();
});

test.each(['pg', 'drizzle', 'hono', 'express', 'fastify', 'context'])(
  'every snippet of docs/adapters/%s.md is a region of its module',
  (name) => {
    const page = new URL(`../../../../docs/adapters/${name}.md`, import.meta.url);
    expect(snippetDrift(page, [new URL(`./guides/${name}.ts`, import.meta.url)])).toEqual([]);
  },
);
