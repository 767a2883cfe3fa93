/**
 * A Hono middleware: `c.var.db` is the handle of the session's organisation.
 *
 * @packageDocumentation
 */
import type { Context, MiddlewareHandler } from 'hono';
import { handleOfRequest, type RequestHandleOptions } from '../request-handle.ts';

export type { Principal } from '../context.ts';
export { type OrgId, parseOrgId } from '../org-id.ts';
export { type OrgSession, type RequestHandleOptions, UnauthenticatedError } from '../request-handle.ts';

/** What the middleware adds to the context's type. */
export interface OrgDbEnv<Handle extends object> {
  /** Values of `c.var`. */
  readonly Variables: {
    /** The handle of the session's organisation. */
    readonly db: Handle;
  };
}

/**
 * Sets `c.var.db` from the verified session, or throws `UnauthenticatedError`, which Hono answers with 401.
 *
 * @example
 * ```ts
 * const app = new Hono()
 *   .use(orgDb({ tenancy, resolve: (c) => sessions.verify(getCookie(c, 'session')) }))
 *   .get('/notes', async (c) => c.json(await c.var.db.selectFrom('app.note').selectAll().execute()));
 * ```
 */
export function orgDb<Handle extends object>(
  options: RequestHandleOptions<Context, Handle>,
): MiddlewareHandler<OrgDbEnv<Handle>> {
  return async (c, next) => {
    c.set('db', await handleOfRequest<Context, Handle>(c, options));
    await next();
  };
}
