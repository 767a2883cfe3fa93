/** Ways around a decision that a review tried: each stays closed. */
import Fastify from 'fastify';
import { expect, test } from 'vitest';
import { createRoutes } from '../src/fastify/index.ts';
import { policy } from './model.ts';

test('an approval leads to no constructor that would make another', async () => {
  const { MintedApproval } = await import('../src/approval.ts');
  expect(Object.hasOwn(MintedApproval.prototype, 'constructor')).toBe(false);
  expect(Object.isFrozen(MintedApproval.prototype)).toBe(true);
});

test('routes are not installed inside a Fastify plugin, which could not see the routes beside it', async () => {
  const routes = createRoutes({ policy, context: () => undefined });
  const app = Fastify();
  app.register((child, _options, done) => {
    expect(() => routes.install(child)).toThrow(/on the application itself/);
    done();
  });
  await app.ready();
  await app.close();
});
