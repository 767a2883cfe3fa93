/**
 * Generates the break-glass policies of every org-owned table: policies of their own for a role of its own, so that the
 * app role's policy stays as it is, without an alternative that one setting opens.
 *
 * The shape that is accepted beside the app role's policy, and no other:
 *
 *     ringfence_break_glass          select   using  org_id = (select tenancy.break_glass_org('read'))
 *     ringfence_break_glass_insert   insert   check  org_id = (select tenancy.break_glass_org('write'))
 *     ringfence_break_glass_update   update   using and check, as above
 *     ringfence_break_glass_delete   delete   using, as above
 *
 * each permissive, for exactly the break-glass role; the last three on declared tables only.
 */
import { identifier, qualifiedName } from '../identifier.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import { type BreakGlassCommand, breakGlassExpressions, breakGlassPolicyName } from './policy-shape.ts';

/** Settings of `breakGlassPolicies`. */
export interface BreakGlassPolicyOptions {
  /** The login role of break-glass sessions. */
  readonly role: string;
  /** Org-owned tables a `write` token may write, as far as the app role may. Default: none. */
  readonly write?: readonly string[];
}

const own = (wanted: string) => `org_id = (select tenancy.break_glass_org('${wanted}'))`;

/**
 * The SQL of the break-glass role's policies and grants on every org-owned table of a schema: select, and on the tables
 * named in `write` also what else the app role may do there. Run it as the owner, behind `orgTablePolicy`.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` when a name is not plain.
 * @throws TypeError when the role is the app role, or `write` names a table that is not org-owned.
 * @example
 * ```ts
 * const ddl = breakGlassPolicies(schema, { role: 'break_glass', write: ['ledger.entry'] });
 * ```
 */
export function breakGlassPolicies(schema: TenancySchema, options: BreakGlassPolicyOptions): string {
  const { role, write = [] } = options;
  if (role === schema.appRole) throw new TypeError('the break-glass role must not be the app role');
  // The job record is this package's own, and tells an operator nothing.
  const tables = [...schema.org].filter(([table]) => !table.startsWith('tenancy.'));
  for (const table of write) {
    if (!tables.some(([name]) => name === table)) throw new TypeError(`${table} is not an org-owned table`);
  }
  const to = identifier(role);
  const schemas = new Set(tables.map(([table]) => identifier(table.split('.')[0] ?? '')));
  const lines = [`grant usage on schema ${[...schemas].join(', ')} to ${to};`];
  for (const [table, { privileges }] of tables) {
    const on = qualifiedName(table);
    const commands: BreakGlassCommand[] = ['select'];
    if (write.includes(table)) commands.push(...privileges.filter((each) => each !== 'select'));
    lines.push(`revoke all on ${on} from ${to};`, `grant ${commands.join(', ')} on ${on} to ${to};`);
    for (const command of commands) {
      const { using, check } = breakGlassExpressions(command, own);
      const rows = `${using === null ? '' : ` using (${using})`}${check === null ? '' : ` with check (${check})`}`;
      const name = breakGlassPolicyName(command);
      lines.push(`create policy ${name} on ${on} as permissive for ${command} to ${to}${rows};`);
    }
  }
  return `${lines.join('\n')}\n`;
}
