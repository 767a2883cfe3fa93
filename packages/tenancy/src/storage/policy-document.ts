/**
 * Policy documents in the grammar of IAM (IAM User Guide, "Grammar of the IAM JSON policy language"), as far as the
 * generator writes and the evaluator reads it. Only version 2012-10-17 has policy variables.
 */

/** Operators to keys to values, e.g. `{ StringLike: { 's3:prefix': 'a/*' } }`. */
export type PolicyConditions = Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;

/** One statement. Elements the evaluator does not know make it throw. */
export interface PolicyStatement {
  /** Name of the statement, letters and digits. */
  readonly Sid?: string;
  /** Whether the statement grants or refuses. */
  readonly Effect: 'Allow' | 'Deny';
  /** Whom a resource policy is about: `*`, or ARNs and services. */
  readonly Principal?: '*' | Readonly<Partial<Record<'AWS' | 'Service', string | readonly string[]>>>;
  /** Actions the statement is about. */
  readonly Action?: string | readonly string[];
  /** Actions the statement is not about. */
  readonly NotAction?: string | readonly string[];
  /** ARNs the statement is about. */
  readonly Resource?: string | readonly string[];
  /** ARNs the statement is not about. */
  readonly NotResource?: string | readonly string[];
  /** When the statement applies; all must hold. */
  readonly Condition?: PolicyConditions;
}

/** A policy. */
export interface PolicyDocument {
  /** Version of the language. */
  readonly Version: '2012-10-17';
  /** The statements, in no order that matters. */
  readonly Statement: readonly PolicyStatement[];
}
