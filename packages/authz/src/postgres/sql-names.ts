/** The SQL names that enter generated DDL. A strict grammar instead of escaping alone: people read the DDL before it runs. */

const NAME = /^[a-z_][a-z0-9_]{0,62}$/;

/** Quoted names of one deployment. */
export interface SchemaNames {
  /** The application's login role. */
  readonly app: string;
  /** The login role of what belongs to no organisation, when there is one. */
  readonly system: string | undefined;
  /** Call of type uuid: the organisation of the transaction. */
  readonly org: string;
}

/** Settings of every function that runs with its owner's rights: no object of the caller takes the place of one meant. */
export const DEFINER = 'security definer set search_path = pg_catalog, pg_temp';

/**
 * Returns the role's name, quoted.
 *
 * @throws TypeError unless it is 1 to 63 of `a-z 0-9 _` and does not begin with a digit.
 */
export function roleName(name: string): string {
  if (typeof name !== 'string' || !NAME.test(name))
    throw new TypeError('a role name is 1 to 63 of a-z 0-9 _ and does not begin with a digit');
  return `"${name}"`;
}

/**
 * Returns `schema.function()`, both names quoted.
 *
 * @throws TypeError for anything but a call without arguments.
 */
export function functionCall(expression: string): string {
  const [schema = '', name = '', ...rest] = String(expression).replace(/\(\)$/, '').split('.');
  if (!String(expression).endsWith('()') || rest.length > 0 || !NAME.test(schema) || !NAME.test(name))
    throw new TypeError('the organisation of the transaction is not a call schema.function()');
  return `"${schema}"."${name}"()`;
}
