/**
 * The guard around every handler: session, resource, decision, in this order, and only then the handler. The decision
 * belongs to the route the framework matched, and is made on the instance that was loaded: no second reading of the path
 * can disagree with the router about case, slashes or encoding.
 * Invariant: the handler of a protected route runs only after an allow of this very request.
 */

import type { OrgId } from '../org-id.ts';
import type { Policy } from '../policy.ts';
import type { RequestContext, Resources } from '../policy-types.ts';
import type { Allowed, Awaitable, DeclaredRoute, RoutesOptions } from './access.ts';
import { type Refusal, refusal, refusalOf, refusalOfError, unauthenticated } from './refusal.ts';

/** Finds the resource of a request. */
export type Load = (request: never, context: RequestContext) => Awaitable<object | null | undefined>;

/** What a handler gets: nothing on a public route. */
export type AnyAllowed = Allowed<unknown, string> | undefined;

/** What became of a request. */
export type Outcome<Result> =
  | { readonly refused: Refusal; readonly result?: never }
  | { readonly result: Result; readonly refused?: never };

/** Guards the handlers of one registry. */
export class Admission<Req> {
  readonly #options: RoutesOptions<Req, Resources, string>;

  constructor(options: RoutesOptions<Req, never, never>) {
    const { policy, context, record } = options;
    if (typeof context !== 'function') throw new TypeError('context is no function');
    this.#options = { policy: policy as unknown as Policy, context, ...(record && { record }) };
  }

  /** Runs the handler if the request is allowed. Errors that are not refusals of this package are thrown on. */
  async run<Result>(
    route: DeclaredRoute,
    load: Load | undefined,
    request: Req,
    handler: (allowed: AnyAllowed) => Awaitable<Result>,
  ): Promise<Outcome<Result>> {
    try {
      if (route.public !== undefined) return { result: await handler(undefined) };
      const admitted = await this.#admit(route, load, request);
      return 'refused' in admitted ? admitted : { result: await handler(admitted) };
    } catch (error) {
      const refused = refusalOfError(error, route.conceal);
      if (refused === undefined) throw error;
      return { refused };
    }
  }

  async #admit(
    { action, conceal }: DeclaredRoute,
    load: Load | undefined,
    request: Req,
  ): Promise<Allowed<unknown, string> | { readonly refused: Refusal }> {
    const { policy, context: contextOf, record } = this.#options;
    const context = await contextOf(request);
    if (context === undefined || context === null) return { refused: unauthenticated() };
    const resource = load === undefined ? undefined : await Promise.resolve(load(request as never, context));
    if (resource === undefined || resource === null) return { refused: refusal('not_found') };
    const instance = resource as { readonly org: OrgId };
    const decision = policy.authorize(context, action as `${string}.${string}`, instance as never);
    await record?.(decision, request);
    if (decision.effect === 'allow') return { resource, context, decision };
    // Told apart from a resource that does not exist, one of another organisation would be an oracle for its ids.
    const foreign = instance.org !== context.principal.org;
    return { refused: refusalOf(decision, conceal || foreign) ?? refusal('denied') };
  }
}
