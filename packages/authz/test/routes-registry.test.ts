/** What the registry of routes refuses, whatever the framework. */
import { expect, test } from 'vitest';
import { checkPath } from '../src/routes/path.ts';
import { RouteRegistry } from '../src/routes/registry.ts';
import { policy } from './model.ts';
import { honoRoutes, Log } from './routes-fixture.ts';

const handler = () => undefined;
const load = () => undefined;
const registry = () => new RouteRegistry<unknown, unknown>(policy);

test('a registry that was installed takes no route and no middleware, and is not installed twice', () => {
  const closed = registry();
  closed.add('get', '/a', { public: 'why' }, handler);
  expect(closed.close()).toHaveLength(1);
  expect(() => closed.add('get', '/b', { public: 'why' }, handler)).toThrow('GET /b comes too late');
  expect(() => closed.use('why', handler)).toThrow('a middleware comes too late');
  expect(() => closed.close()).toThrow('the registry itself comes too late');
  expect(closed.declared).toHaveLength(1);
});

test('a public route has no part of a protected one, whichever it is', () => {
  for (const part of [{ action: 'entry.read' }, { load }, { conceal: true }, { conceal: false }]) {
    const declare = () => registry().add('get', '/a', { public: 'why', ...part }, handler);
    expect(declare, JSON.stringify(part)).toThrow('both public and protected');
  }
});

test('a middleware is a function', () => {
  for (const middleware of [undefined, null, {}, [handler], 'x']) {
    expect(() => registry().use('why', middleware)).toThrow('is no function');
  }
});

test('what was declared cannot be changed by who reads it', () => {
  const routes = registry();
  routes.add('get', '/a', { public: 'why' }, handler);
  routes.add('get', '/b', { action: 'entry.read', load }, handler);
  const { declared } = routes;
  expect(() => (declared as unknown[]).pop()).toThrow(TypeError);
  for (const route of declared)
    expect(() => Object.assign(route, { action: 'entry.read' })).toThrow(TypeError);
  expect(routes.declared).toEqual(declared);
});

test('a path is literal segments and parameters, nothing that means different things to different routers', () => {
  for (const path of ['/', '/a', '/a/:id', '/a/:id/b.c', '/.well-known/x'])
    expect(checkPath(path)).toBe(path);
  for (const path of [
    '',
    'a',
    '/a/',
    '//a',
    '/*',
    '/a*',
    '/*splat',
    '/:id?',
    '/:id{[0-9]+}',
    '/:id(\\d+)',
    '/a{/b}',
    '/a%2Fb',
    '/a b',
    '/a?b',
    '/a#b',
    '/..',
    '/a/./b',
    '/:__proto__',
    '/:constructor',
    '/:toString',
    '/:id/:id',
    '/a\n',
    undefined,
    null,
    1,
  ])
    expect(() => checkPath(path), String(path)).toThrow(TypeError);
});

test('a declaration that is wrong is refused where it stands, also without a compiler', () => {
  const declare =
    (path: string, access: unknown, handler: unknown = () => undefined) =>
    () =>
      honoRoutes(new Log()).get(path as '/x', access as never, handler as never);
  const load = () => undefined;
  expect(declare('/x', {})).toThrow('declares no action');
  expect(declare('/x', { action: 'entry.fly', load })).toThrow('declares no action');
  expect(declare('/x', { action: '__proto__', load })).toThrow('declares no action');
  expect(declare('/x', { action: 'entry.read' })).toThrow('how to load');
  expect(declare('/x', { public: '' })).toThrow('without a reason');
  expect(declare('/x', { public: '  ' })).toThrow('without a reason');
  expect(declare('/x', { public: true })).toThrow('without a reason');
  expect(declare('/x', { public: 'why', action: 'entry.read', load })).toThrow('both public and protected');
  expect(declare('/x', { action: 'entry.read', load, conceal: 'yes' })).toThrow('conceal');
  expect(declare('/x', { public: 'why' }, 'handler')).toThrow('no handler');
  expect(declare('/ENTRIES/:other', { public: 'why' })).toThrow('declared twice');
});
