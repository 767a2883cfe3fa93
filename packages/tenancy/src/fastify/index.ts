/**
 * A Fastify hook and the handle it makes for each request. The handle is asked for, not read from the request: the type of
 * a decorator is declared for all of an application, this one's follows from its tenancy, and it is never `undefined`.
 *
 * @packageDocumentation
 */
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify';
import { handleOfRequest, type RequestHandleOptions, RequestHandles } from '../request-handle.ts';

export type { Principal } from '../context.ts';
export { RingfenceTenancyError } from '../errors.ts';
export { type OrgId, parseOrgId } from '../org-id.ts';
export { type OrgSession, type RequestHandleOptions, UnauthenticatedError } from '../request-handle.ts';

/** A hook and its handles. */
export interface FastifyOrgDb<Handle extends object> {
  /** Makes the handle from the verified session, or throws `UnauthenticatedError`, which Fastify answers with 401. */
  readonly onRequest: onRequestAsyncHookHandler;
  /**
   * The handle of a request.
   *
   * @throws RingfenceTenancyError `tenancy.no_context` when the route is not behind the hook.
   */
  readonly of: (request: FastifyRequest) => Handle;
}

/**
 * Makes the hook of one tenancy.
 *
 * @example
 * ```ts
 * const db = orgDb({ tenancy, resolve: (request) => sessions.verify(request.headers.cookie) });
 * app.addHook('onRequest', db.onRequest);
 * app.get('/notes', async (request) => await db.of(request).selectFrom('app.note').selectAll().execute());
 * ```
 */
export function orgDb<Handle extends object>(
  options: RequestHandleOptions<FastifyRequest, Handle>,
): FastifyOrgDb<Handle> {
  const handles = new RequestHandles<FastifyRequest, Handle>();
  return {
    onRequest: async (request) => {
      handles.set(request, await handleOfRequest(request, options));
    },
    of: (request) => handles.get(request),
  };
}
