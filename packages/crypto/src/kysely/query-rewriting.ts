/**
 * Rewrites one query: seals what it writes, adds what is needed to open what it reads, refuses the rest.
 * Invariant: sealed columns leave a query only through its outermost `select` or `returning` list; a CTE that is a plain
 * `select` may pass them on to there, or to another CTE.
 */
import {
  AliasNode,
  type BinaryOperationNode,
  type CommonTableExpressionNode,
  type DeleteQueryNode,
  type FromNode,
  type InsertQueryNode,
  type JoinNode,
  ListNode,
  type MergeQueryNode,
  type OperationNode,
  type RawNode,
  ReferenceNode,
  type ReturningNode,
  type RootOperationNode,
  SelectAllNode,
  type SelectionNode,
  type SelectQueryNode,
  type UpdateQueryNode,
  type WhereNode,
} from 'kysely';
import { IndexValues } from './blind-index.ts';
import type { ColumnCipher } from './column-cipher.ts';
import { refused } from './column-errors.ts';
import { conjuncts, ExpressionGuard, type Recheck } from './expression-guard.ts';
import { refuseOrderByOutput } from './output-order.ts';
import { OutputPlanner } from './output-planning.ts';
import { mapChildren, plainTable, tableName } from './query-nodes.ts';
import { type DeclaredTables, hasSealed, type PassedColumn, QueryScope, sealedOf } from './query-scope.ts';
import { HIDDEN_PREFIX, ResultPlan } from './result-plan.ts';
import { rowFixedBy, WriteSealer } from './write-sealing.ts';

/** Gives back a query that this plugin has rewritten already, as it was before. */
export type Original = (node: OperationNode) => OperationNode;

/** Takes the sealed columns that a CTE passes on. */
type PassOn = (passed: ReadonlyMap<string, PassedColumn>) => void;

/** Rewrites one query and is thrown away. */
export class QueryRewriter {
  readonly #tables: DeclaredTables;
  readonly #original: Original;
  readonly #keep: (plan: ResultPlan) => void;
  readonly #index: IndexValues;
  readonly #guard: ExpressionGuard;
  readonly #sealer: WriteSealer;
  #passedRowIds = 0;

  constructor(
    tables: DeclaredTables,
    cipher: ColumnCipher,
    original: Original,
    keep: (plan: ResultPlan) => void,
  ) {
    this.#tables = tables;
    this.#original = original;
    this.#keep = keep;
    this.#index = new IndexValues(cipher.keys);
    this.#guard = new ExpressionGuard(this.#index, (node, scope) => this.#query(this.#original(node), scope));
    this.#sealer = new WriteSealer(cipher, this.#index);
  }

  /** Rewrites a query. */
  rewrite(node: RootOperationNode): RootOperationNode {
    try {
      return this.#query(node, undefined) as RootOperationNode;
    } finally {
      this.#index.wipe();
    }
  }

  #query(node: OperationNode, parent: QueryScope | undefined): OperationNode {
    const scope = new QueryScope(this.#tables, parent);
    switch (node.kind) {
      case 'SelectQueryNode':
        return this.#select(node as SelectQueryNode, scope);
      case 'InsertQueryNode':
        return this.#insert(node as InsertQueryNode, scope);
      case 'UpdateQueryNode':
        return this.#update(node as UpdateQueryNode, scope);
      case 'DeleteQueryNode':
        return this.#delete(node as DeleteQueryNode, scope);
      case 'MergeQueryNode':
        return this.#merge(node as MergeQueryNode, scope);
      case 'RawNode':
        return this.#guard.rewrite(node as RawNode, scope);
      default: // data definition: nothing to seal or open, but subqueries must not keep hidden columns
        return mapChildren(node, (child) => this.#restored(child));
    }
  }

  #select(node: SelectQueryNode, scope: QueryScope, passOn?: PassOn): SelectQueryNode {
    const { with: ctes, from, joins, selections = [], where, ...rest } = node;
    const parts = { ...this.#sources(scope, { with: ctes, from, joins }) };
    const outputs = this.#outputs(scope, selections, scope.parent === undefined || passOn !== undefined);
    const rechecked = where === undefined || scope.parent !== undefined ? new Set() : recheckable(node);
    const recheck: Recheck = (search, source, column, value) => {
      const index = column.index;
      const inLimits =
        index !== undefined && (!hasLimit(node) || index.versions.every(({ bits }) => bits === 256));
      if (index === undefined || !inLimits || !rechecked.has(search) || !scope.sources.includes(source))
        return false;
      const { normalise } = index.current;
      outputs.planner.recheck(source, column, { normalise, wanted: normalise(value) });
      return true;
    };
    const guarded = mapChildren(rest as SelectQueryNode, (child) => this.#guard.rewrite(child, scope));
    const condition = where && { where: this.#where(where, scope, recheck) };
    const { plan } = outputs.planner;
    refuseSealedIn(plan, node.setOperations !== undefined, 'a set operation');
    refuseSealedIn(plan, isDistinct(node), 'select distinct');
    refuseOrderByOutput(node, plan);
    if (scope.parent === undefined) this.#keep(plan);
    if (node.explain !== undefined) this.#keep(new ResultPlan());
    const list = [...outputs.selections, ...this.#hidden(outputs.planner, passOn)];
    return { ...guarded, ...parts, ...condition, ...(list.length > 0 && { selections: list }) };
  }

  #insert(node: InsertQueryNode, scope: QueryScope): InsertQueryNode {
    const { with: ctes, into, columns, values, onConflict, returning, ...rest } = node;
    const parts = this.#sources(scope, { with: ctes });
    const source = into === undefined ? undefined : scope.add(namedTable(into));
    const rewrite = (child: OperationNode): OperationNode => this.#guard.rewrite(child, scope);
    const table = source?.declared;
    const written =
      table === undefined
        ? { ...(columns && { columns }), ...(values && { values: rewrite(values) }) }
        : { ...(columns && { columns }), ...this.#sealer.insert(node, table, rewrite) };
    const conflict =
      onConflict &&
      (table === undefined
        ? mapChildren(onConflict, (child) => (child.kind === 'ColumnNode' ? child : rewrite(child)))
        : this.#sealer.conflict(onConflict, node, table, rewrite));
    const returned = this.#returning(scope, returning);
    return {
      ...mapChildren(rest as InsertQueryNode, rewrite),
      ...parts,
      ...(into && { into }),
      ...written,
      ...(conflict && { onConflict: conflict }),
      ...returned,
    };
  }

  #update(node: UpdateQueryNode, scope: QueryScope): UpdateQueryNode {
    const { with: ctes, table, from, joins, updates, where, returning, ...rest } = node;
    if (table !== undefined && ListNode.is(table))
      throw refused('an update of several tables is not supported');
    const ctePart = this.#sources(scope, { with: ctes });
    const target = table === undefined ? undefined : scope.add(namedTable(table));
    const parts = { ...ctePart, ...this.#sources(scope, { from, joins }) };
    const rewrite = (child: OperationNode): OperationNode => this.#guard.rewrite(child, scope);
    const declared = target?.declared;
    const row =
      target === undefined || declared === undefined
        ? undefined
        : rowFixedBy(where?.where, target, declared, scope);
    const set =
      declared === undefined
        ? updates?.map((update) => ({ ...update, value: rewrite(update.value) }))
        : updates && this.#sealer.updates(updates, declared, row, rewrite);
    const returned = this.#returning(scope, returning);
    return {
      ...mapChildren(rest as UpdateQueryNode, rewrite),
      ...parts,
      ...(table && { table }),
      ...(set && { updates: set }),
      ...(where && { where: this.#where(where, scope) }),
      ...returned,
    };
  }

  #delete(node: DeleteQueryNode, scope: QueryScope): DeleteQueryNode {
    const { with: ctes, from, using, joins, where, returning, ...rest } = node;
    const parts = this.#sources(scope, { with: ctes, from, joins });
    const tables = using?.tables.map((table) => this.#tableExpression(table, scope));
    const returned = this.#returning(scope, returning);
    return {
      ...mapChildren(rest as DeleteQueryNode, (child) => this.#guard.rewrite(child, scope)),
      from,
      ...parts,
      ...(using && tables && { using: { ...using, tables } }),
      ...(where && { where: this.#where(where, scope) }),
      ...returned,
    };
  }

  #merge(node: MergeQueryNode, scope: QueryScope): MergeQueryNode {
    const { with: ctes, into, using, returning, ...rest } = node;
    const parts = this.#sources(scope, { with: ctes });
    namedTable(into);
    for (const table of [into, using?.table]) if (table !== undefined) scope.add(table);
    for (const [, { table }] of scope.sealed())
      throw refused(`merge with the encrypted table ${table} is not supported: use insert and update`, {
        table,
      });
    const returned = this.#returning(scope, returning);
    const rewrite = (child: OperationNode): OperationNode =>
      plainTable(child) ? child : this.#guard.rewrite(child, scope);
    return {
      ...mapChildren(rest as MergeQueryNode, rewrite),
      into,
      ...parts,
      ...(using && { using: mapChildren(using, rewrite) }),
      ...returned,
    };
  }

  #outputs(
    scope: QueryScope,
    selections: readonly SelectionNode[],
    planned: boolean,
  ): { planner: OutputPlanner; selections: readonly SelectionNode[] } {
    const rewrite = (child: OperationNode): OperationNode => this.#guard.rewrite(child, scope);
    const planner = new OutputPlanner(scope, rewrite);
    if (planned) return { planner, selections: planner.selections(selections) };
    for (const { selection } of selections) refuseNestedStar(selection, scope);
    return {
      planner,
      selections: selections.map((node) =>
        SelectAllNode.is(node.selection) ? node : mapChildren(node, rewrite),
      ),
    };
  }

  #returning(scope: QueryScope, returning: ReturningNode | undefined): { returning?: ReturningNode } {
    if (returning === undefined) return {};
    const { planner, selections } = this.#outputs(scope, returning.selections, scope.parent === undefined);
    if (scope.parent === undefined) this.#keep(planner.plan);
    return { returning: { ...returning, selections: [...selections, ...planner.added()] } };
  }

  #hidden(planner: OutputPlanner, passOn: PassOn | undefined): readonly SelectionNode[] {
    if (passOn === undefined) return planner.added();
    const { passed, added } = planner.passedOn(() => {
      this.#passedRowIds += 1;
      return `${HIDDEN_PREFIX}cte${this.#passedRowIds}`;
    });
    passOn(passed);
    return added;
  }

  #where(where: WhereNode, scope: QueryScope, recheck?: Recheck): WhereNode {
    return { ...where, where: this.#guard.rewrite(where.where, scope, recheck) };
  }

  /** Makes CTEs and tables visible, then rewrites what is inside them. */
  #sources<
    P extends {
      with?: SelectQueryNode['with'] | undefined;
      from?: FromNode | undefined;
      joins?: readonly JoinNode[] | undefined;
    },
  >(
    scope: QueryScope,
    { with: ctes, from, joins }: P,
  ): { with?: NonNullable<SelectQueryNode['with']>; from?: FromNode; joins?: readonly JoinNode[] } {
    for (const { name } of ctes?.expressions ?? []) scope.addWith(tableName(name.table).name);
    const expressions = ctes?.expressions.map((cte) => ({
      ...cte,
      expression: this.#withExpression(cte, ctes.recursive === true, scope),
    }));
    for (const table of from?.froms ?? []) scope.add(table);
    for (const { table } of joins ?? []) scope.add(table);
    const froms = from?.froms.map((table) => this.#inTable(table, scope));
    const joined = joins?.map((join) => ({
      ...join,
      table: this.#inTable(join.table, scope),
      ...(join.on && { on: mapChildren(join.on, (child) => this.#guard.rewrite(child, scope)) }),
    }));
    return {
      ...(ctes && expressions && { with: { ...ctes, expressions } }),
      ...(from && froms && { from: { ...from, froms } }),
      ...(joined && { joins: joined }),
    };
  }

  /**
   * Recursive queries and renamed columns pass nothing sealed on: their outputs would have to be told by position, and a
   * recursive query may use a CTE before it is known.
   */
  #withExpression(
    { name, expression }: CommonTableExpressionNode,
    recursive: boolean,
    scope: QueryScope,
  ): OperationNode {
    const body = this.#original(expression);
    const passes = !recursive && name.columns === undefined;
    if (!passes || body.kind !== 'SelectQueryNode') return this.#guard.rewrite(expression, scope);
    return this.#select(body as SelectQueryNode, new QueryScope(this.#tables, scope), (passed) =>
      scope.passWith(tableName(name.table).name, passed),
    );
  }

  #tableExpression(node: OperationNode, scope: QueryScope): OperationNode {
    scope.add(node);
    return this.#inTable(node, scope);
  }

  #inTable(node: OperationNode, scope: QueryScope): OperationNode {
    return plainTable(node) === undefined ? this.#guard.rewrite(node, scope) : node;
  }

  #restored(node: OperationNode): OperationNode {
    const original = this.#original(node);
    return original === node ? mapChildren(node, (child) => this.#restored(child)) : original;
  }
}

/** The table a statement writes to. Behind an expression (`sql.table(…)`) it could be an encrypted one unnoticed. */
function namedTable(table: OperationNode): OperationNode {
  if (plainTable(table) !== undefined) return table;
  throw refused('the table that is written to must be named as it is declared, not given as an expression');
}

/** Top-level conditions of a plain select, whose hits can be compared again row by row. */
function recheckable(node: SelectQueryNode): ReadonlySet<unknown> {
  const plain =
    node.groupBy === undefined &&
    node.having === undefined &&
    node.setOperations === undefined &&
    node.distinctOn === undefined &&
    !isDistinct(node) &&
    node.explain === undefined &&
    node.selections?.some(({ selection }) => mayAggregate(selection)) !== true;
  if (!plain || node.where === undefined) return new Set();
  return new Set(
    conjuncts(node.where.where).filter(
      (one): one is BinaryOperationNode => one.kind === 'BinaryOperationNode',
    ),
  );
}

function mayAggregate(node: OperationNode): boolean {
  if (SelectAllNode.is(node) || ReferenceNode.is(node)) return false;
  if (AliasNode.is(node)) return mayAggregate(node.node);
  return node.kind !== 'ValueNode';
}

function hasLimit(node: SelectQueryNode): boolean {
  return (
    node.limit !== undefined ||
    node.offset !== undefined ||
    node.fetch !== undefined ||
    node.top !== undefined
  );
}

function isDistinct(node: SelectQueryNode): boolean {
  return node.frontModifiers?.some(({ modifier }) => modifier === 'Distinct') === true;
}

function refuseSealedIn(plan: ResultPlan, applies: boolean, where: string): void {
  const [sealed] = plan.opened;
  if (applies && sealed !== undefined)
    throw refused(
      `${sealed.table.name}.${sealed.column.name} is sealed and cannot be an output of ${where}`,
      {
        table: sealed.table.name,
        column: sealed.column.name,
      },
    );
}

function refuseNestedStar(selection: OperationNode, scope: QueryScope): void {
  const isOwnAlias = AliasNode.is(selection) && selection.alias.kind === 'IdentifierNode';
  if (isOwnAlias && (selection.alias as OperationNode & { name: string }).name.startsWith(HIDDEN_PREFIX))
    throw refused(
      'a subquery was rewritten before another plugin copied it: build it with the expression builder',
    );
  if (!SelectAllNode.is(selection)) return;
  for (const source of scope.sources.filter(hasSealed))
    for (const [, { table }] of sealedOf(source))
      throw refused(`select * in a subquery would take sealed columns of ${table} along: name the columns`, {
        table,
      });
}
