// #region app
import { orgDb } from '@ringfence/tenancy/fastify';
import fastify, { type FastifyInstance } from 'fastify';
import { tenancy, verifySession } from './application.ts';

const db = orgDb({
  tenancy,
  resolve: async (request) => {
    const session = await verifySession(request.headers.authorization);
    return session && { org: session.org, principal: { actor: `user:${session.user}` } };
  },
});

export const app: FastifyInstance = fastify();
app.get('/health', async () => 'ok');
app.register((guarded, _options, registered) => {
  guarded.addHook('onRequest', db.onRequest); // the routes of this scope only
  guarded.get(
    '/notes',
    async (request) => await db.of(request).selectFrom('app.note').select('id').execute(),
  );
  registered();
});
// #endregion
