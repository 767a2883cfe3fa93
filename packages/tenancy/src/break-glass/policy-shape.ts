/**
 * The one shape of policy that may stand beside the app role's policy on an org-owned table, as `breakGlassPolicies`
 * generates it and as PostgreSQL prints it back. Invariant: compared by equality, so nothing wider passes for it.
 */
import type { Policy } from '../catalog/catalog.ts';
import type { TenancySchema } from '../policies/declaration.ts';

/** Commands a break-glass policy is made for. */
export type BreakGlassCommand = 'select' | 'insert' | 'update' | 'delete';

/** Name of the policy of a command. */
export function breakGlassPolicyName(command: BreakGlassCommand): string {
  return command === 'select' ? 'ringfence_break_glass' : `ringfence_break_glass_${command}`;
}

/** Expressions of a policy: null where the command has none. */
interface Expressions {
  readonly using: string | null;
  readonly check: string | null;
}

/** Which expressions the policy of a command has, made of one that names the organisation's rows. */
export function breakGlassExpressions(
  command: BreakGlassCommand,
  own: (wanted: 'read' | 'write') => string,
): Expressions {
  const rows = own(command === 'select' ? 'read' : 'write');
  return {
    using: command === 'insert' ? null : rows,
    check: command === 'insert' || command === 'update' ? rows : null,
  };
}

const deparsed = (wanted: string) =>
  `(org_id = ( SELECT tenancy.break_glass_org('${wanted}'::text) AS break_glass_org))`;

/** Whether a policy of the catalog is a generated break-glass policy of `role`. */
export function isBreakGlassPolicy(policy: Policy, role: string): boolean {
  const { name, permissive, command, roles, using, check } = policy;
  if (command === 'all' || !permissive || roles.length !== 1 || roles[0] !== role) return false;
  const expected = breakGlassExpressions(command, deparsed);
  return name === breakGlassPolicyName(command) && using === expected.using && check === expected.check;
}

/** Whether a policy is a generated one of the role that the declaration names for break-glass access. */
export function isDeclaredBreakGlass(schema: TenancySchema, policy: Policy): boolean {
  const { breakGlassRole, org } = schema;
  return (
    breakGlassRole !== undefined && org.has(policy.relation) && isBreakGlassPolicy(policy, breakGlassRole)
  );
}
