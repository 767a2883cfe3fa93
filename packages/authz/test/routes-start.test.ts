/** Applications that hold a route the start-time check has to look for in a second place. */
import Fastify, { type FastifyInstance, type FastifyPluginCallback } from 'fastify';
import { describe, expect, test } from 'vitest';
import { AuthzUndeclaredRoutesError } from '../src/index.ts';
import { fastifyRoutes, Log } from './routes-fixture.ts';

const leak = () => 'createdBy';

function refusedNames(app: FastifyInstance): readonly string[] {
  try {
    fastifyRoutes(new Log()).install(app);
  } catch (error) {
    if (!(error instanceof AuthzUndeclaredRoutesError)) throw error;
    return error.routes.map(({ method, path }) => `${method} ${path}`);
  }
  throw new Error('it was installed');
}

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
