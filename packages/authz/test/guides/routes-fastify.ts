/** The guide docs/authz-routes.md, for Fastify. */
// #region fastify
import { createRoutes } from '@ringfence/authz/fastify';
import Fastify, { type FastifyInstance } from 'fastify';
import { entries, policy, sessions } from './application.ts';

export function fastifyApp(): FastifyInstance {
  const routes = createRoutes({
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
