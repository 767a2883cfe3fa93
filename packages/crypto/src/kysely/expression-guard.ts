/**
 * Walks the expressions of a query: replaces blind searches by index values and refuses every use of a sealed column that
 * would compute with ciphertext (compare, sort, group, aggregate, pass to a function or a subquery).
 * Invariant: the only things allowed on a sealed column outside an output list are `is null` and `is not null`.
 */
import {
  BinaryOperationNode,
  ColumnNode,
  IdentifierNode,
  type OperationNode,
  OperatorNode,
  ParensNode,
  PrimitiveValueListNode,
  type RawNode,
  ReferenceNode,
  TableNode,
  ValueNode,
} from 'kysely';
import type { IndexValues } from './blind-index.ts';
import { BlindSearch } from './blind-search.ts';
import { refused } from './column-errors.ts';
import type { DeclaredColumn, DeclaredIndex } from './declaration.ts';
import { columnName, isStar, mapChildren, tableName } from './query-nodes.ts';
import { hasSealed, type QueryScope, type Source } from './query-scope.ts';

/** Called for a blind search; says whether its hits will be compared again. */
export type Recheck = (
  node: BinaryOperationNode,
  source: Source,
  column: DeclaredColumn,
  value: string,
) => boolean;

/** Rewrites a query nested in an expression. */
export type NestedQuery = (node: OperationNode, scope: QueryScope) => OperationNode;

const NEVER_RECHECKED: Recheck = () => false;

/** Walks expressions of one query. */
export class ExpressionGuard {
  readonly #index: IndexValues;
  readonly #nested: NestedQuery;

  constructor(index: IndexValues, nested: NestedQuery) {
    this.#index = index;
    this.#nested = nested;
  }

  /** Rewrites an expression, or refuses it. */
  rewrite(node: OperationNode, scope: QueryScope, recheck: Recheck = NEVER_RECHECKED): OperationNode {
    switch (node.kind) {
      case 'SelectQueryNode':
      case 'InsertQueryNode':
      case 'UpdateQueryNode':
      case 'DeleteQueryNode':
      case 'MergeQueryNode':
        return this.#nested(node, scope);
      case 'ValueNode':
        if ((node as ValueNode).value instanceof BlindSearch) throw misplacedSearch();
        return node;
      case 'PrimitiveValueListNode':
        if ((node as PrimitiveValueListNode).values.some((value) => value instanceof BlindSearch))
          throw misplacedSearch();
        return node;
      case 'ReferenceNode':
        return guardReference(node as ReferenceNode, scope);
      case 'ColumnNode':
        guardReference(ReferenceNode.create(node as ColumnNode), scope);
        return node;
      case 'TableNode':
        guardRow(scope.find(tableName(node as TableNode)));
        return node;
      case 'SelectModifierNode': // `for update of` names tables, not rows
        return mapChildren(node, (child) => (TableNode.is(child) ? child : this.rewrite(child, scope)));
      case 'RawNode':
        guardRaw(node as RawNode, scope);
        break;
      case 'BinaryOperationNode':
        return this.#binary(node as BinaryOperationNode, scope, recheck);
      default:
    }
    return mapChildren(node, (child) => this.rewrite(child, scope, recheck));
  }

  #binary(node: BinaryOperationNode, scope: QueryScope, recheck: Recheck): OperationNode {
    const { leftOperand: left, rightOperand: right, operator } = node;
    if (ValueNode.is(right) && right.value instanceof BlindSearch)
      return this.#search(node, right.value.reveal(), scope, recheck);
    const isTest =
      OperatorNode.is(operator) && (operator.operator === 'is' || operator.operator === 'is not');
    if (isTest && ReferenceNode.is(left) && !isStar(left) && ValueNode.is(right) && right.value === null)
      return node; // whether a sealed column is null is visible anyway
    return mapChildren(node, (child) => this.rewrite(child, scope));
  }

  #search(node: BinaryOperationNode, value: string, scope: QueryScope, recheck: Recheck): OperationNode {
    const reference = node.leftOperand;
    const sealed = ReferenceNode.is(reference) ? scope.sealedColumn(reference) : undefined;
    const index: DeclaredIndex | undefined = sealed?.column.index;
    if (sealed?.source === undefined || index === undefined || !ReferenceNode.is(reference))
      throw refused(
        'whereBlind: the reference is no sealed column with a blind index, or its table is not clear',
      );
    const { source, column } = sealed;
    if (!recheck(node, source, column, value) && index.versions.some(({ bits }) => bits < 256)) {
      throw refused(
        `${column.table}.${column.name}: a truncated blind index has false hits, which can be left out only in the outer where of a plain select without limit, aggregate, group or set operation`,
        { table: column.table, column: column.name },
      );
    }
    const indexColumn = ColumnNode.create(index.column);
    return BinaryOperationNode.create(
      reference.table === undefined
        ? ReferenceNode.create(indexColumn)
        : ReferenceNode.create(indexColumn, reference.table),
      OperatorNode.create('in'),
      PrimitiveValueListNode.create(this.#index.searched(column, index, value)),
    );
  }
}

/** The conditions that must all hold: a `where` without its top-level `and` and parentheses. */
export function conjuncts(node: OperationNode): OperationNode[] {
  if (ParensNode.is(node)) return conjuncts(node.node);
  if (node.kind !== 'AndNode') return [node];
  const { left, right } = node as OperationNode & {
    readonly left: OperationNode;
    readonly right: OperationNode;
  };
  return [...conjuncts(left), ...conjuncts(right)];
}

/** Refusal of computing with a sealed column. */
export function computed({ table, name }: DeclaredColumn): Error {
  return refused(
    `${table}.${name} is sealed: it can be selected and written by name, tested for null and searched with whereBlind, nothing else`,
    { table, column: name },
  );
}

function guardReference(node: ReferenceNode, scope: QueryScope): OperationNode {
  const name = columnName(node);
  if (isStar(node)) {
    const source = node.table && scope.find(tableName(node.table));
    if (source === undefined) throw wholeRow();
    guardRow(source);
  } else if (name !== undefined) {
    const sealed = scope.sealedColumn(node);
    if (sealed !== undefined) throw computed(sealed.column);
    if (node.table === undefined && scope.isWholeRow(name)) throw wholeRow();
  }
  return node;
}

function guardRaw({ sqlFragments, parameters }: RawNode, scope: QueryScope): void {
  for (const [name, column] of scope.sealed()) {
    const named = parameters.some((node) => IdentifierNode.is(node) && node.name === name);
    if (named || sqlFragments.some((sql) => namesWord(sql, name))) throw computed(column);
  }
}

/** True when SQL text has a name as a word of its own. */
export function namesWord(sql: string, name: string): boolean {
  return new RegExp(`(?<![\\p{L}\\p{N}_$])${escaped(name)}(?![\\p{L}\\p{N}_$])`, 'iu').test(sql);
}

function guardRow(source: Source | undefined): void {
  if (source !== undefined && hasSealed(source)) throw wholeRow();
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function wholeRow(): Error {
  return refused('a whole row of an encrypted table cannot be used as a value: name the columns');
}

function misplacedSearch(): Error {
  return refused('whereBlind must be used as a condition of its own');
}
