// #region app
import { orgDb } from '@ringfence/tenancy/express';
import express, { type Express } from 'express';
import { tenancy, verifySession } from './application.ts';

const db = orgDb({
  tenancy,
  resolve: async (req) => {
    const session = await verifySession(req.get('authorization'));
    return session && { org: session.org, principal: { actor: `user:${session.user}` } };
  },
});

export const app: Express = express();
app.get('/health', (_req, res) => res.send('ok'));
app.use(db.middleware);
app.get('/notes', async (req, res) => {
  res.json(await db.of(req).selectFrom('app.note').select('id').execute());
});
// #endregion
