/**
 * From a request to the handle of its organisation: what the middlewares of the web frameworks share. Invariant: a handler
 * behind a middleware runs with a handle or not at all; no session is an error of the request, never an absent handle.
 */
import type { Principal } from './context.ts';
import { RingfenceTenancyError } from './errors.ts';
import type { OrgId } from './org-id.ts';

/** What a verified session says: whose data, and who asks. */
export interface OrgSession {
  /** The organisation the session was opened in, never one that the request names by itself. */
  readonly org: OrgId;
  /** Who acts. */
  readonly principal: Principal;
}

/** Settings of the middlewares. */
export interface RequestHandleOptions<Request, Handle extends object> {
  /** Makes the handles: of `createTenancy`, `createPgTenancy` or `prismaClients`. */
  readonly tenancy: {
    /** A handle for one organisation. */
    forOrg(org: OrgId, principal: Principal): Handle;
  };
  /** Verifies the session of a request; `undefined` refuses it with 401. */
  readonly resolve: (request: Request) => OrgSession | undefined | Promise<OrgSession | undefined>;
}

/** A request without a verified session. The frameworks answer it with 401 unless the application handles it. */
export class UnauthenticatedError extends RingfenceTenancyError {
  /** HTTP status, where Fastify reads it. */
  readonly statusCode = 401;
  /** HTTP status, where Express reads it. */
  readonly status = 401;

  constructor() {
    super('tenancy.unauthenticated', 'the request has no verified session: sign in');
  }

  /** The response, where Hono reads it. */
  getResponse(): Response {
    return Response.json({ code: this.code, message: this.message }, { status: this.status });
  }
}

/** Makes the handle of one request. */
export async function handleOfRequest<Request, Handle extends object>(
  request: Request,
  { tenancy, resolve }: RequestHandleOptions<Request, Handle>,
): Promise<Handle> {
  const session = await resolve(request);
  if (session === undefined) throw new UnauthenticatedError();
  return tenancy.forOrg(session.org, session.principal);
}

/** The handles of the requests under way, for frameworks whose request types cannot carry one. */
export class RequestHandles<Request extends object, Handle extends object> {
  readonly #handles = new WeakMap<Request, Handle>();

  /** Remembers the handle of a request. */
  set(request: Request, handle: Handle): void {
    this.#handles.set(request, handle);
  }

  /** The handle of a request. */
  get(request: Request): Handle {
    const handle = this.#handles.get(request);
    if (handle !== undefined) return handle;
    throw new RingfenceTenancyError(
      'tenancy.no_context',
      'the request has no handle: its route is not behind the middleware that makes one',
    );
  }
}
