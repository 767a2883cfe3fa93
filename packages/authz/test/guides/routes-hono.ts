/** The guide docs/authz-routes.md, for Hono. */
// #region hono
import { createRoutes } from '@ringfence/authz/hono';
import { Hono } from 'hono';
import { entries, policy, sessions } from './application.ts';

export function honoApp(): Hono {
  const routes = createRoutes({
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
