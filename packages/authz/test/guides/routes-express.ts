/** The guide docs/authz-routes.md, for Express. */
// #region express
import { createRoutes } from '@ringfence/authz/express';
import express, { type Express } from 'express';
import { entries, policy, sessions } from './application.ts';

export function expressApp(): Express {
  const routes = createRoutes({
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
