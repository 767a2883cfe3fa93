/**
 * Boolean SQL expressions as data, their text for a policy definition, and their text with parameters for a query.
 * Only positive forms occur: no NOT, so that NULL (an absent attribute) can never turn into "visible". Names are quoted,
 * constants are quoted or bound; nothing of a request is ever part of a text.
 */

import type { Literal } from '../condition-node.ts';
import { RingfenceAuthzError } from '../errors.ts';

/** One side of a comparison. */
export type SqlOperand =
  | { readonly kind: 'column'; readonly name: string }
  | { readonly kind: 'value'; readonly value: Literal }
  | {
      /** SQL written by the developer, e.g. `(select tenancy.org_id())`. */
      readonly kind: 'trusted';
      readonly sql: string;
    };

/** A boolean expression. */
export type SqlExpression =
  | { readonly kind: 'constant'; readonly value: boolean }
  | { readonly kind: 'all' | 'any'; readonly of: readonly SqlExpression[] }
  | {
      readonly kind: 'compare';
      readonly left: SqlOperand;
      readonly sign: '=' | '<>' | '<' | '<=' | '>' | '>=';
      readonly right: SqlOperand;
    }
  | { readonly kind: 'in'; readonly left: SqlOperand; readonly values: readonly Literal[] }
  | { readonly kind: 'trusted'; readonly sql: string };

/** A statement text and its parameters `$1`, `$2` … */
export interface SqlText {
  /** The text. */
  readonly text: string;
  /** The parameters, in order. */
  readonly parameters: readonly Literal[];
}

/** True for every row. */
export const TRUE: SqlExpression = Object.freeze({ kind: 'constant', value: true });
/** True for no row. */
export const FALSE: SqlExpression = Object.freeze({ kind: 'constant', value: false });

/** Conjunction, folded. */
export function allOf(parts: readonly SqlExpression[]): SqlExpression {
  return fold('all', parts, FALSE, TRUE);
}

/** Disjunction, folded. */
export function anyOf(parts: readonly SqlExpression[]): SqlExpression {
  return fold('any', parts, TRUE, FALSE);
}

function fold(
  kind: 'all' | 'any',
  parts: readonly SqlExpression[],
  absorbing: SqlExpression,
  neutral: SqlExpression,
): SqlExpression {
  const rest: SqlExpression[] = [];
  for (const part of parts) {
    if (isConstant(part, absorbing)) return absorbing;
    if (isConstant(part, neutral)) continue;
    if (part.kind === kind) rest.push(...part.of);
    else rest.push(part);
  }
  const [only] = rest;
  if (only === undefined) return neutral;
  return rest.length === 1 ? only : { kind, of: rest };
}

/** The expression with its constants written out, for DDL. */
export function inlineSql(expression: SqlExpression): string {
  return render(expression, quoteLiteral);
}

/** The expression with its constants as parameters; `first` is the number of the first one. */
export function parameterSql(expression: SqlExpression, first = 1): SqlText {
  const parameters: Literal[] = [];
  const text = render(expression, (value) => {
    parameters.push(value);
    const name = `$${first + parameters.length - 1}`;
    return typeof value === 'number' ? `${name}::bigint` : name;
  });
  return { text, parameters };
}

function render(expression: SqlExpression, constant: (value: Literal) => string): string {
  switch (expression.kind) {
    case 'constant':
      return expression.value ? 'true' : 'false';
    case 'all':
    case 'any':
      return `(${expression.of.map((part) => render(part, constant)).join(expression.kind === 'all' ? ' and ' : ' or ')})`;
    case 'compare':
      return `${operand(expression.left, constant)} ${expression.sign} ${operand(expression.right, constant)}`;
    case 'in':
      return `${operand(expression.left, constant)} in (${expression.values.map(constant).join(', ')})`;
    case 'trusted':
      return expression.sql;
  }
}

function operand(side: SqlOperand, constant: (value: Literal) => string): string {
  if (side.kind === 'column') return quoteName(side.name);
  return side.kind === 'value' ? constant(side.value) : side.sql;
}

const COLUMN = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;

/**
 * A quoted name, `"entry"."org_id"` for `entry.org_id`.
 *
 * @throws RingfenceAuthzError `authz.invalid_columns` when it is not plain.
 */
export function quoteName(name: string): string {
  const parts = name.split('.');
  if (parts.length > 3 || !parts.every((part) => COLUMN.test(part))) {
    throw new RingfenceAuthzError('authz.invalid_columns', `"${name}" is not a plain column or table name`);
  }
  return parts.map((part) => `"${part}"`).join('.');
}

/** A constant as PostgreSQL reads it, whatever `standard_conforming_strings` says. */
export function quoteLiteral(value: Literal): string {
  if (typeof value === 'string') {
    const doubled = value.replaceAll("'", "''");
    return value.includes('\\') ? `E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
  }
  return typeof value === 'number' && value < 0 ? `(${value})` : String(value);
}

function isConstant(part: SqlExpression, constant: SqlExpression): boolean {
  return part.kind === 'constant' && constant.kind === 'constant' && part.value === constant.value;
}
