// #region app
import { orgDb } from '@ringfence/tenancy/hono';
import { Hono } from 'hono';
import { tenancy, verifySession } from './application.ts';

const guarded = orgDb({
  tenancy,
  resolve: async (c) => {
    const session = await verifySession(c.req.header('authorization'));
    return session && { org: session.org, principal: { actor: `user:${session.user}` } };
  },
});

export const app = new Hono()
  .get('/health', (c) => c.text('ok'))
  .use(guarded)
  .get('/notes', async (c) => c.json(await c.var.db.selectFrom('app.note').select('id').execute()));
// #endregion
