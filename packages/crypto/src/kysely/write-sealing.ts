/**
 * Seals the values of `insert` and `update` for the cell they go to, and writes blind indexes beside them.
 * Invariant: a value is sealed only under a row id that the statement itself fixes; whatever is not a plain value, or has
 * no fixed row, is refused. Nothing else can write a sealed, index or row-id column.
 */
import {
  BinaryOperationNode,
  ColumnNode,
  ColumnUpdateNode,
  type InsertQueryNode,
  type OnConflictNode,
  type OperationNode,
  OperatorNode,
  PrimitiveValueListNode,
  ReferenceNode,
  TableNode,
  ValueListNode,
  ValueNode,
  ValuesNode,
} from 'kysely';
import type { IndexValues } from './blind-index.ts';
import type { ColumnCipher } from './column-cipher.ts';
import { refused } from './column-errors.ts';
import type { DeclaredColumn, DeclaredTable } from './declaration.ts';
import { conjuncts } from './expression-guard.ts';
import { columnName, tableName } from './query-nodes.ts';
import type { QueryScope, Source } from './query-scope.ts';
import { canonicalRowId, rowIdText } from './row-identity.ts';

type RewriteExpression = (node: OperationNode) => OperationNode;
type RowOf = (column: DeclaredColumn) => string;

/** Seals the writes of one query. */
export class WriteSealer {
  readonly #cipher: ColumnCipher;
  readonly #index: IndexValues;

  constructor(cipher: ColumnCipher, index: IndexValues) {
    this.#cipher = cipher;
    this.#index = index;
  }

  /** Columns and values of an insert into a declared table. */
  insert(
    node: InsertQueryNode,
    table: DeclaredTable,
    rewrite: RewriteExpression,
  ): Pick<InsertQueryNode, 'columns' | 'values'> {
    const names = node.columns?.map(({ column }) => column.name);
    if (node.values === undefined) return {};
    if (!ValuesNode.is(node.values)) {
      if (names === undefined)
        throw refused(`insert into ${table.name} from a query must name its columns`, { table: table.name });
      for (const name of names) refuseFromQuery(table, name);
      return { values: rewrite(node.values) };
    }
    if (names === undefined)
      throw refused(`insert into ${table.name} must name its columns`, { table: table.name });
    for (const name of names) refuseManaged(table, name);
    const indexed = names.flatMap((name) => table.sealed.get(name)?.index?.column ?? []);
    const rows = node.values.values.map((item) => this.#row(table, names, cellsOf(item), rewrite));
    return {
      columns: [...names, ...indexed].map((name) => ColumnNode.create(name)),
      values: ValuesNode.create(rows),
    };
  }

  /** Updates of a statement on a declared table whose row is fixed by `where`. */
  updates(
    updates: readonly ColumnUpdateNode[],
    table: DeclaredTable,
    row: string | undefined,
    rewrite: RewriteExpression,
  ): readonly ColumnUpdateNode[] {
    const rowOf: RowOf = (column) => {
      if (row !== undefined) return row;
      const id = table.row.map(([name]) => `${name} = …`).join(' and ');
      throw refused(
        `${column.table}.${column.name}: an update of a sealed column must fix one row: add where ${id} with a plain value`,
        { table: column.table, column: column.name },
      );
    };
    return updates.flatMap((update) => this.#update(update, table, rowOf, rewrite));
  }

  /** `on conflict` of an insert into a declared table. */
  conflict(
    node: OnConflictNode,
    insert: InsertQueryNode,
    table: DeclaredTable,
    rewrite: RewriteExpression,
  ): OnConflictNode {
    // Only a conflict on the row id itself makes sure that the existing row has the id of the proposed one.
    const target = node.columns?.map(({ column }) => column.name) ?? [];
    const onRowId =
      target.every((name) => name === table.org || table.row.some(([column]) => column === name)) &&
      table.row.every(([column]) => target.includes(column));
    const rowOf: RowOf = (column) => {
      const [only, ...others] =
        insert.values !== undefined && ValuesNode.is(insert.values) ? insert.values.values : [];
      const names = insert.columns?.map((one) => one.column.name) ?? [];
      const row =
        onRowId && only !== undefined && others.length === 0
          ? insertedRow(table, names, cellsOf(only))
          : undefined;
      if (row === undefined) throw refusedUpsert(column);
      return row;
    };
    const updates = node.updates?.flatMap((update) => {
      const column = table.sealed.get(updatedColumn(update, table));
      if (column === undefined || !isExcluded(update.value, column.name))
        return this.#update(update, table, rowOf, rewrite);
      if (!onRowId) throw refusedUpsert(column);
      return column.index === undefined ? [update] : [update, excluded(column.index.column)];
    });
    return {
      ...node,
      ...(updates && { updates }),
      ...(node.indexExpression && { indexExpression: rewrite(node.indexExpression) }),
      ...(node.indexWhere && { indexWhere: { ...node.indexWhere, where: rewrite(node.indexWhere.where) } }),
      ...(node.updateWhere && {
        updateWhere: { ...node.updateWhere, where: rewrite(node.updateWhere.where) },
      }),
    };
  }

  #row(
    table: DeclaredTable,
    names: readonly string[],
    cells: readonly OperationNode[],
    rewrite: RewriteExpression,
  ): ValueListNode | PrimitiveValueListNode {
    this.#checkOrg(table, names, cells);
    let row: string | undefined;
    const rowOf: RowOf = (column) => {
      row ??= insertedRow(table, names, cells);
      if (row !== undefined) return row;
      throw refused(`${column.table}.${column.name}: the insert must give the row id as a plain value`, {
        table: column.table,
        column: column.name,
      });
    };
    const indexes: OperationNode[] = [];
    const values = cells.map((cell, at) => {
      const column = table.sealed.get(names[at] as string);
      if (column === undefined) return rewrite(cell);
      if (cell.kind === 'DefaultInsertValueNode') {
        if (column.index !== undefined) indexes.push(cell);
        return cell;
      }
      const sealed = this.#seal(column, cell, rowOf);
      if (sealed.index !== undefined) indexes.push(sealed.index);
      return sealed.value;
    });
    const all = [...values, ...indexes];
    return all.every(isPlainValue)
      ? PrimitiveValueListNode.create(all.map(({ value }) => value))
      : ValueListNode.create(all);
  }

  #update(
    update: ColumnUpdateNode,
    table: DeclaredTable,
    rowOf: RowOf,
    rewrite: RewriteExpression,
  ): ColumnUpdateNode[] {
    const name = updatedColumn(update, table);
    refuseManaged(table, name);
    if (name === table.org || table.row.some(([column]) => column === name))
      throw refused(
        `${table.name}.${name} is part of what the row's values are sealed for: it cannot be updated`,
        { table: table.name },
      );
    const column = table.sealed.get(name);
    if (column === undefined) return [{ ...update, value: rewrite(update.value) }];
    const { value, index } = this.#seal(column, update.value, rowOf);
    const sealed = ColumnUpdateNode.create(ColumnNode.create(name), value);
    if (column.index === undefined || index === undefined) return [sealed];
    return [sealed, ColumnUpdateNode.create(ColumnNode.create(column.index.column), index)];
  }

  #seal(column: DeclaredColumn, node: OperationNode, rowOf: RowOf): { value: ValueNode; index?: ValueNode } {
    if (!isPlainValue(node)) {
      throw refused(`${column.table}.${column.name}: a sealed column takes a plain value, no expression`, {
        table: column.table,
        column: column.name,
      });
    }
    const { value } = node;
    if (value === null)
      return column.index === undefined ? { value: node } : { value: node, index: ValueNode.create(null) };
    const sealed = ValueNode.create(this.#cipher.seal(column, rowOf(column), value));
    if (column.index === undefined) return { value: sealed };
    return {
      value: sealed,
      index: ValueNode.create(this.#index.stored(column, column.index, value as string)),
    };
  }

  #checkOrg(table: DeclaredTable, names: readonly string[], cells: readonly OperationNode[]): void {
    const cell = table.org === undefined ? undefined : cells[names.indexOf(table.org)];
    if (cell !== undefined && isPlainValue(cell) && cell.value !== this.#cipher.keys.org)
      throw refused(`insert into ${table.name}: ${table.org} is not the organisation of the keys`, {
        table: table.name,
        org: this.#cipher.keys.org,
      });
  }
}

/** Row that `where` fixes by `row id = plain value`, or undefined. */
export function rowFixedBy(
  where: OperationNode | undefined,
  target: Source,
  table: DeclaredTable,
  scope: QueryScope,
): string | undefined {
  const conditions = where === undefined ? [] : conjuncts(where);
  const values: string[] = [];
  for (const [column, type] of table.row) {
    const value = conditions
      .map((node) => equalTo(node, column, target, scope))
      .find((one) => one !== undefined);
    if (value === undefined) return undefined;
    values.push(canonicalRowId(table.name, column, type, value));
  }
  return rowIdText(values);
}

function equalTo(node: OperationNode, column: string, target: Source, scope: QueryScope): unknown {
  if (
    !BinaryOperationNode.is(node) ||
    !ReferenceNode.is(node.leftOperand) ||
    !isPlainValue(node.rightOperand)
  )
    return undefined;
  const { leftOperand: left, operator, rightOperand: right } = node;
  if (!OperatorNode.is(operator) || operator.operator !== '=' || columnName(left) !== column)
    return undefined;
  if (left.table !== undefined && scope.find(tableName(left.table)) !== target) return undefined;
  return right.value === null ? undefined : right.value;
}

function insertedRow(
  table: DeclaredTable,
  names: readonly string[],
  cells: readonly OperationNode[],
): string | undefined {
  const values: string[] = [];
  for (const [column, type] of table.row) {
    const cell = cells[names.indexOf(column)];
    if (cell === undefined || !isPlainValue(cell) || cell.value === null) return undefined;
    values.push(canonicalRowId(table.name, column, type, cell.value));
  }
  return rowIdText(values);
}

function cellsOf(item: OperationNode): readonly OperationNode[] {
  if (PrimitiveValueListNode.is(item)) return item.values.map((value) => ValueNode.create(value));
  if (ValueListNode.is(item)) return item.values;
  throw refused('the values of an insert into an encrypted table must be given as plain objects');
}

function isPlainValue(node: OperationNode): node is ValueNode {
  return ValueNode.is(node);
}

function updatedColumn({ column }: ColumnUpdateNode, table: DeclaredTable): string {
  const name = ColumnNode.is(column)
    ? column.column.name
    : ReferenceNode.is(column)
      ? columnName(column)
      : undefined;
  if (name === undefined)
    throw refused(`update of ${table.name}: name the columns, not expressions`, { table: table.name });
  return name;
}

function isExcluded(node: OperationNode, column: string): boolean {
  return (
    ReferenceNode.is(node) &&
    node.table !== undefined &&
    tableName(node.table).name === 'excluded' &&
    columnName(node) === column
  );
}

function excluded(column: string): ColumnUpdateNode {
  const value = ReferenceNode.create(ColumnNode.create(column), TableNode.create('excluded'));
  return ColumnUpdateNode.create(ColumnNode.create(column), value);
}

function refusedUpsert({ table, name }: DeclaredColumn): Error {
  return refused(
    `${table}.${name}: an upsert can set a sealed column only when the conflict is on the row id: to a plain value for a single row, or to excluded.${name}`,
    { table, column: name },
  );
}

function refuseManaged(table: DeclaredTable, name: string): void {
  const column = table.indexes.get(name);
  if (column === undefined) return;
  throw refused(
    `${table.name}.${name} is the blind index of ${column.name} and is written with it, not by hand`,
    { table: table.name, column: name },
  );
}

function refuseFromQuery(table: DeclaredTable, name: string): void {
  if (!table.sealed.has(name) && !table.indexes.has(name)) return;
  throw refused(
    `${table.name}.${name}: an insert from a query cannot fill a sealed column: read the rows and insert their values`,
    { table: table.name, column: name },
  );
}
