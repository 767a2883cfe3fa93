/** What the catalog says of the rights of the app role. */
import type { Catalog, Grant, Relation } from '../catalog/catalog.ts';
import type { TenancySchema } from '../policies/declaration.ts';

/** The app role, and every role whose rights it has. */
export function rolesOf({ roles }: Catalog, { appRole }: TenancySchema): ReadonlySet<string> {
  return new Set(['public', appRole, ...(roles.find(({ name }) => name === appRole)?.memberOf ?? [])]);
}

/** Whether the catalog grants it to one of the roles, on the whole relation or on a column. */
export function holds(
  { grants, columns }: Relation,
  privilege: string,
  holders: ReadonlySet<string>,
): boolean {
  const mine = (grant: Grant) => grant.privilege === privilege && holders.has(grant.grantee);
  return grants.some(mine) || columns.some((each) => each.grants.some(mine));
}

/** Columns on which one of the roles has the right: all, when it has it on the relation. */
export function grantedTo(
  { grants, columns }: Pick<Relation, 'grants' | 'columns'>,
  privilege: string,
  holders: ReadonlySet<string>,
): ReadonlySet<string> {
  const mine = (grant: Grant) => grant.privilege === privilege && holders.has(grant.grantee);
  const granted = grants.some(mine) ? columns : columns.filter((each) => each.grants.some(mine));
  return new Set(granted.map(({ name }) => name));
}

/** A materialized view is no view here: nobody's rights bind its rows, so the app role must not reach it. */
export function isView({ name, kind }: Relation, schema: TenancySchema): boolean {
  return kind === 'view' && schema.views.has(name);
}

/** A view that is read, and written through, with the rights of its reader. */
export function isInvoker({ options }: Relation): boolean {
  return options.some((option) => /^security_invoker=(?:true|on|yes|1)$/.test(option));
}
