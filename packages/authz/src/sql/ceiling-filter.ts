/**
 * Lists under a ceiling: the rows that somebody may see whose rights were given by somebody else. A row passes when it
 * passes for both, with the same principal, session and instant; `authorizeWithinCeiling` says allow for exactly these.
 */
import { contextsWithin, type Rights } from '../ceiling.ts';
import type { Policy } from '../policy.ts';
import type { ActionOf, RequestContext, Resources } from '../policy-types.ts';
import { allOf, FALSE } from './expression.ts';
import { type ColumnsOf, CompiledRowFilter, compileRowFilter, type RowFilter } from './row-filter.ts';

/**
 * The rows an action is allowed on for the principal of the context and for the giver of its rights.
 *
 * @param giver the giver's rights as they are now; undefined when they are a member no more, and then no row passes.
 * @throws RingfenceAuthzError `authz.invalid_request`, `authz.invalid_columns`, as `rowFilter`.
 * @example
 * ```ts
 * const filter = rowFilterWithinCeiling(policy, context, { org, roles: giver.roles }, 'entry.read', columns);
 * ```
 */
export function rowFilterWithinCeiling<R extends Resources, Role extends string, A extends ActionOf<R>>(
  policy: Policy<R, Role>,
  context: RequestContext<Role>,
  giver: Rights | undefined,
  action: A,
  columns: ColumnsOf<R, A>,
): RowFilter {
  const contexts = contextsWithin(context, giver, action);
  const own = compileRowFilter(policy, contexts.own, action, columns);
  const ceiling = compileRowFilter(policy, contexts.ceiling, action, columns);
  const hopeless = [ceiling, own].some(
    ({ expression, stepUp }) => expression === FALSE && stepUp === undefined,
  );
  return new CompiledRowFilter(
    allOf([ceiling.expression, own.expression]),
    hopeless ? undefined : (ceiling.stepUp ?? own.stepUp),
  );
}
