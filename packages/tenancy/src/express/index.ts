/**
 * An Express middleware and the handle it makes for each request. The handle is asked for, not read from `req`: nothing
 * augments the global `Express.Request`, no other middleware can replace it, and it is never `undefined`.
 *
 * @packageDocumentation
 */
import type { Request, RequestHandler } from 'express';
import { handleOfRequest, type RequestHandleOptions, RequestHandles } from '../request-handle.ts';

export type { Principal } from '../context.ts';
export { RingfenceTenancyError } from '../errors.ts';
export { type OrgId, parseOrgId } from '../org-id.ts';
export { type OrgSession, type RequestHandleOptions, UnauthenticatedError } from '../request-handle.ts';

/** A middleware and its handles. */
export interface ExpressOrgDb<Handle extends object> {
  /** Makes the handle from the verified session, or passes `UnauthenticatedError` on, which Express answers with 401. */
  readonly middleware: RequestHandler;
  /**
   * The handle of a request.
   *
   * @throws RingfenceTenancyError `tenancy.no_context` when the route is not behind the middleware.
   */
  readonly of: (request: Request) => Handle;
}

/**
 * Makes the middleware of one tenancy.
 *
 * @example
 * ```ts
 * const db = orgDb({ tenancy, resolve: (req) => sessions.verify(req.get('cookie')) });
 * app.use(db.middleware);
 * app.get('/notes', async (req, res) => {
 *   res.json(await db.of(req).selectFrom('app.note').selectAll().execute());
 * });
 * ```
 */
export function orgDb<Handle extends object>(
  options: RequestHandleOptions<Request, Handle>,
): ExpressOrgDb<Handle> {
  const handles = new RequestHandles<Request, Handle>();
  return {
    middleware: async (request, _response, next) => {
      try {
        handles.set(request, await handleOfRequest(request, options));
      } catch (error) {
        next(error); // Express 4 does not see a rejection
        return;
      }
      next();
    },
    of: (request) => handles.get(request),
  };
}
