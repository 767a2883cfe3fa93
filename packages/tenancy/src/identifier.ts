/**
 * SQL identifiers that enter generated DDL. A strict grammar instead of escaping alone: generated SQL is read by people
 * before it runs, and a name that needs escaping does not read well.
 */
import { RingfenceTenancyError } from './errors.ts';

const NAME = /^[a-z_][a-z0-9_]{0,62}$/;

/**
 * Returns the name, quoted.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` unless it is lower-case letters, digits and `_`.
 */
export function identifier(name: string): string {
  if (!NAME.test(name)) {
    throw new RingfenceTenancyError(
      'tenancy.invalid_identifier',
      'an SQL name is not 1 to 63 characters of a-z 0-9 _, beginning with a letter or _',
    );
  }
  return `"${name}"`;
}

/**
 * Returns `schema.table`, both quoted.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` when it is not two plain names joined by a dot.
 */
export function qualifiedName(name: string): string {
  const parts = name.split('.');
  if (parts.length !== 2) {
    throw new RingfenceTenancyError('tenancy.invalid_identifier', 'a table is named as schema.table');
  }
  return parts.map(identifier).join('.');
}
