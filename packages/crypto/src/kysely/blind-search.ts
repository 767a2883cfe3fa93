/**
 * Search by blind index: a condition that carries the plain value as an opaque object until the plugin of
 * `withEncryption` replaces it by index values. Without the plugin the driver refuses it.
 * Invariant: the plain value never reaches the compiled query, its parameters, a log or an error.
 */
import {
  BinaryOperationNode,
  type ExpressionBuilder,
  ExpressionWrapper,
  OperatorNode,
  type ReferenceNode,
  type SqlBool,
  ValueNode,
} from 'kysely';
import { isWellFormed } from '../length-prefix.ts';
import type { SearchableColumnsOf } from './column-types.ts';

/** References to searchable columns of the tables in scope: `column`, `alias.column` or `schema.table.column`. */
export type SearchableReference<DB, TB extends keyof DB> = {
  [T in TB & string]: SearchableColumnsOf<DB[T]> | `${T}.${SearchableColumnsOf<DB[T]>}`;
}[TB & string];

/** The searched value on its way to the plugin. */
export class BlindSearch {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** Lends the value to the plugin. */
  reveal(): string {
    return this.#value;
  }

  /** Called by the driver when no plugin has replaced this object. */
  toPostgres(): never {
    throw new TypeError('whereBlind works only through the database handle of withEncryption');
  }

  toJSON(): string {
    return '[BlindSearch]';
  }

  toString(): string {
    return this.toJSON();
  }
}

/**
 * Condition that a sealed column with a blind index equals `value`, under its normaliser. The plugin asks for the index
 * values of all versions and compares again after opening. A null never matches.
 *
 * @throws TypeError when the value is no well-formed string.
 * @throws RingfenceCryptoError `crypto.query_refused` (when the query is compiled) for a truncated index in a place where
 * its hits can't be compared again.
 * @example
 * ```ts
 * const entries = await db
 *   .selectFrom('ledger.entry as e')
 *   .select(['e.id', 'e.memo'])
 *   .where((eb) => whereBlind(eb, 'e.bank_reference', 'INV-2041'))
 *   .execute();
 * // select "e"."id", "e"."memo", … from "ledger"."entry" as "e" where "e"."bank_reference_idx" in ($1)
 * ```
 */
export function whereBlind<DB, TB extends keyof DB>(
  eb: ExpressionBuilder<DB, TB>,
  column: SearchableReference<DB, TB>,
  value: string,
): ExpressionWrapper<DB, TB, SqlBool> {
  if (typeof value !== 'string' || !isWellFormed(value))
    throw new TypeError('a blind index is searched for a well-formed string');
  const ref = eb.ref as unknown as (reference: string) => { toOperationNode(): ReferenceNode };
  return new ExpressionWrapper<DB, TB, SqlBool>(
    BinaryOperationNode.create(
      ref(column).toOperationNode(),
      OperatorNode.create('='),
      ValueNode.create(new BlindSearch(value)),
    ),
  );
}
