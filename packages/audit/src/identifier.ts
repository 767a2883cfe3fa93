/**
 * SQL names that enter generated DDL. A strict grammar instead of escaping alone: people read the DDL before it runs.
 */
import { RingfenceAuditError } from './errors.ts';

const NAME = /^[a-z_][a-z0-9_]{0,62}$/;
const CALL = /^([a-z_][a-z0-9_]{0,62})\.([a-z_][a-z0-9_]{0,62})\(\)$/;

/**
 * Returns the name, quoted.
 *
 * @throws RingfenceAuditError `audit.invalid_identifier` unless it is lower-case letters, digits and `_`.
 */
export function identifier(name: string): string {
  if (!NAME.test(name)) {
    throw new RingfenceAuditError(
      'audit.invalid_identifier',
      'an SQL name is not 1 to 63 characters of a-z 0-9 _, beginning with a letter or _',
    );
  }
  return `"${name}"`;
}

/**
 * Returns `schema.function()`, both names quoted.
 *
 * @throws RingfenceAuditError `audit.invalid_identifier` for anything but a call without arguments.
 */
export function functionCall(expression: string): string {
  const match = CALL.exec(expression);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new RingfenceAuditError(
      'audit.invalid_identifier',
      'a context expression is not schema.function()',
    );
  }
  return `${identifier(match[1])}.${identifier(match[2])}()`;
}
