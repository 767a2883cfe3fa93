import { describe, expectTypeOf, test } from 'vitest';
import { createRoutes as onExpress } from '../src/express/index.ts';
import { createRoutes as onFastify } from '../src/fastify/index.ts';
import { createRoutes as onHono } from '../src/hono/index.ts';
import type { ProtectedCase } from '../src/testing/index.ts';
import { as, entry, policy, type Role, type resources } from './model.ts';

const hono = onHono({ policy, context: () => as('owner') });
const express = onExpress({ policy, context: () => as('owner') });
const fastify = onFastify({ policy, context: () => as('owner') });
const load = () => entry;

describe('a route that compiles', () => {
  test('gives its handler the instance as it was loaded, and the parameters of its path', () => {
    hono.get('/a/:id', { action: 'entry.read', load }, (c, { resource, context }) => {
      expectTypeOf(resource).toEqualTypeOf<typeof entry>();
      expectTypeOf(context.principal.roles).toEqualTypeOf<readonly Role[]>();
      expectTypeOf(c.req.param('id')).toEqualTypeOf<string>();
      return c.json(resource);
    });
    express.get('/a/:id', { action: 'entry.read', load }, (req, _res, { resource }) => {
      expectTypeOf(resource).toEqualTypeOf<typeof entry>();
      expectTypeOf(req.params).toEqualTypeOf<{ readonly id: string }>();
    });
    fastify.get('/a/:id', { action: 'entry.read', load }, (req, _reply, { resource }) => {
      expectTypeOf(resource).toEqualTypeOf<typeof entry>();
      expectTypeOf(req.params.id).toEqualTypeOf<string>();
    });
  });
});

describe('what does not compile', () => {
  test('a route without a permission', () => {
    // @ts-expect-error
    hono.get('/a', (c) => c.text(''));
    // @ts-expect-error
    hono.get('/a', {}, (c) => c.text(''));
    // @ts-expect-error
    express.get('/a', (_req, res) => res.end());
    // @ts-expect-error
    express.get('/a', {}, (_req, res) => res.end());
    // @ts-expect-error
    fastify.get('/a', () => '');
    // @ts-expect-error
    fastify.get('/a', {}, () => '');
  });
  test('public without a reason, or beside a permission', () => {
    // @ts-expect-error
    hono.get('/a', { public: '' }, (c) => c.text(''));
    // @ts-expect-error
    express.get('/a', { public: true }, (_req, res) => res.end());
    // @ts-expect-error
    fastify.get('/a', { public: undefined }, () => '');
    // @ts-expect-error
    fastify.get('/a', { public: 'why', action: 'entry.read', load }, () => '');
  });
  test('an unknown action, resource, or role', () => {
    // @ts-expect-error
    hono.get('/a', { action: 'entry.fly', load }, (c) => c.text(''));
    // @ts-expect-error
    express.get('/a', { action: 'invoice.read', load }, (_req, res) => res.end());
    // @ts-expect-error
    fastify.get('/a', { action: 'entry.import', load }, () => '');
    // @ts-expect-error
    onHono({ policy, context: () => ({ principal: { ...as('owner').principal, roles: ['boss'] } }) });
  });
  test('a permission that does not say how to load, or loads something else', () => {
    // @ts-expect-error
    hono.get('/a', { action: 'entry.read' }, (c) => c.text(''));
    // @ts-expect-error
    express.get('/a', { action: 'entry.read', load: () => ({ id: 'x' }) }, (_req, res) => res.end());
    // @ts-expect-error
    fastify.get('/a', { action: 'entry.read', load: () => ({ ...entry, status: 'pasted' }) }, () => '');
    // @ts-expect-error
    fastify.get('/a', { action: 'entry.read', load: () => ({ ...entry, org: 'acme' }) }, () => '');
  });
  test('a case of the matrix with an unknown action', () => {
    // @ts-expect-error
    const wrong: ProtectedCase<typeof resources> = { action: 'entry.fly', path: '/a', resource: entry };
    expectTypeOf(wrong).toEqualTypeOf<ProtectedCase<typeof resources>>();
  });
  test('a parameter that the path does not have', () => {
    // @ts-expect-error
    express.get('/a/:id', { public: 'why' }, (req) => req.params.ID);
    // @ts-expect-error
    fastify.get('/a/:id', { public: 'why' }, (req) => req.params.ID);
  });
});
