/**
 * Attributes the outputs of a top-level `select` or `returning` list, or of a CTE, to cells and adds the hidden row-id
 * columns.
 * Invariant: a sealed column is an output only by its plain or aliased name or by `*`; every such output has its row id
 * beside it and a name no other output has.
 */
import {
  AliasNode,
  ColumnNode,
  IdentifierNode,
  type OperationNode,
  ReferenceNode,
  SelectAllNode,
  SelectionNode,
  TableNode,
} from 'kysely';
import { refused } from './column-errors.ts';
import type { DeclaredColumn, DeclaredTable } from './declaration.ts';
import { aliasName, columnName, isStar, tableName } from './query-nodes.ts';
import { type PassedColumn, type QueryScope, type Source, sealedOf } from './query-scope.ts';
import { type BlindCheck, HIDDEN_PREFIX, lessTrusted, type OutputOrigin, ResultPlan } from './result-plan.ts';

/** Plans the outputs of one query. */
export class OutputPlanner {
  readonly plan: ResultPlan = new ResultPlan();
  readonly #scope: QueryScope;
  readonly #rewrite: (node: OperationNode) => OperationNode;
  readonly #added: { readonly reference: ReferenceNode; readonly output: string }[] = [];
  readonly #rowOutputs = new Map<Source, Map<string, string>>();
  readonly #named = new Map<string, number>();

  constructor(scope: QueryScope, rewrite: (node: OperationNode) => OperationNode) {
    this.#scope = scope;
    this.#rewrite = rewrite;
  }

  /** Plans the list and returns it with expressions rewritten. */
  selections(nodes: readonly SelectionNode[]): readonly SelectionNode[] {
    const rewritten = nodes.map((node) => this.#selection(node));
    for (const { output, table, column } of this.plan.opened) {
      if (this.#named.get(output) !== 1)
        throw refused(`two outputs are named "${output}" and one is sealed: give them different aliases`, {
          table: table.name,
          column: column.name,
        });
    }
    return rewritten;
  }

  /** Adds the sealed column behind a blind index as a hidden output, to compare it after opening. */
  recheck(source: Source, column: DeclaredColumn, check: Omit<BlindCheck, 'output'>): void {
    const output = this.plan.hiddenName();
    this.#add(source, column.name, output);
    this.#open(source, column.name, column, output);
    this.plan.checks.push({ ...check, output });
  }

  /** The hidden outputs, to be put behind the list, once the plan has its token. */
  added(): readonly SelectionNode[] {
    return this.#added.map(({ reference, output }) =>
      SelectionNode.create(AliasNode.create(reference, IdentifierNode.create(this.plan.sqlName(output)))),
    );
  }

  /**
   * The sealed outputs as a CTE passes them on, and the hidden outputs that go with them. `nextName` gives names that no
   * other CTE of the query has, since `*` may take them along.
   */
  passedOn(nextName: () => string): { passed: Map<string, PassedColumn>; added: readonly SelectionNode[] } {
    const names = new Map(this.#added.map(({ output }) => [output, nextName()]));
    const passed = new Map<string, PassedColumn>();
    for (const { output, table, column, rowOutputs } of this.plan.opened) {
      const rowColumns = rowOutputs.map((row) => names.get(row) as string);
      passed.set(output, { table, column: { ...column, index: undefined }, rowColumns });
    }
    const added = this.#added.map(({ reference, output }) =>
      SelectionNode.create(AliasNode.create(reference, IdentifierNode.create(names.get(output) as string))),
    );
    return { passed, added };
  }

  #selection(node: SelectionNode): SelectionNode {
    const { selection } = node;
    if (SelectAllNode.is(selection)) return this.#star(node, this.#scope.sources);
    if (ReferenceNode.is(selection)) {
      if (isStar(selection)) return this.#star(node, this.#starSource(selection));
      return this.#reference(node, selection, columnName(selection) as string);
    }
    if (!AliasNode.is(selection)) {
      this.plan.star = 'unknown'; // its output has a name only PostgreSQL knows
      return rebuilt(node, this.#rewrite(selection));
    }
    const alias = aliasName(selection);
    if (alias !== undefined && ReferenceNode.is(selection.node) && !isStar(selection.node))
      return this.#reference(node, selection.node, alias);
    if (alias === undefined) this.plan.star = 'unknown';
    else this.#name(alias, 'unknown');
    return rebuilt(node, this.#rewrite(selection));
  }

  #reference(node: SelectionNode, reference: ReferenceNode, output: string): SelectionNode {
    const sealed = this.#scope.sealedColumn(reference);
    if (sealed === undefined) {
      this.#rewrite(reference); // refuses whole rows
      this.#name(output, this.#originOf(reference));
      return node;
    }
    const { source, column } = sealed;
    if (source === undefined || !this.#scope.sources.includes(source))
      throw refused(
        `${column.table}.${column.name}: the row it belongs to is not clear: qualify it with its table or alias`,
        { table: column.table, column: column.name },
      );
    this.#name(output, 'stored');
    this.#open(source, columnName(reference) as string, column, output);
    return node;
  }

  #star(node: SelectionNode, sources: readonly Source[]): SelectionNode {
    let origin: OutputOrigin = 'stored';
    for (const source of sources) {
      origin = lessTrusted(origin, originOf(source));
      for (const [name, column] of sealedOf(source)) {
        this.#name(name, 'stored');
        this.#open(source, name, column, name);
      }
    }
    this.plan.star = lessTrusted(origin, this.plan.star ?? 'stored');
    return node;
  }

  #starSource(reference: ReferenceNode): readonly Source[] {
    const source = reference.table && this.#scope.find(tableName(reference.table));
    if (source !== undefined) return [source];
    return [{ table: undefined, alias: undefined, declared: undefined, passed: undefined, stored: false }];
  }

  #originOf(reference: ReferenceNode): OutputOrigin {
    if (reference.table !== undefined) {
      const source = this.#scope.find(tableName(reference.table));
      return source === undefined ? 'unknown' : originOf(source);
    }
    return this.#scope.sources.reduce<OutputOrigin>(
      (least, one) => lessTrusted(least, originOf(one)),
      'stored',
    );
  }

  #name(output: string, origin: OutputOrigin): void {
    if (output.startsWith(HIDDEN_PREFIX)) throw refused(`outputs must not begin with "${HIDDEN_PREFIX}"`);
    this.#named.set(output, (this.#named.get(output) ?? 0) + 1);
    this.plan.origins.set(output, lessTrusted(origin, this.plan.origins.get(output) ?? 'stored'));
  }

  #open(source: Source, name: string, column: DeclaredColumn, output: string): void {
    if (output.startsWith(HIDDEN_PREFIX)) this.#named.set(output, 1);
    const passed = source.passed?.get(name);
    const table = passed?.table ?? (source.declared as DeclaredTable);
    const rowColumns = passed?.rowColumns ?? table.row.map(([one]) => one);
    const rowOutputs = rowColumns.map((one) => this.#rowOutput(source, one));
    this.plan.opened.push({ output, table, column, rowOutputs });
  }

  #rowOutput(source: Source, column: string): string {
    const outputs = this.#rowOutputs.get(source) ?? new Map<string, string>();
    this.#rowOutputs.set(source, outputs);
    const output = outputs.get(column) ?? this.plan.hiddenName();
    if (!outputs.has(column)) this.#add(source, column, output);
    outputs.set(column, output);
    return output;
  }

  #add({ alias, table }: Source, column: string, output: string): void {
    const qualifier =
      alias === undefined && table?.schema !== undefined
        ? TableNode.createWithSchema(table.schema, table.name)
        : TableNode.create(alias ?? (table?.name as string));
    const reference = ReferenceNode.create(ColumnNode.create(column), qualifier);
    this.#added.push({ reference, output });
  }
}

function originOf({ stored }: Source): OutputOrigin {
  return stored ? 'stored' : 'unknown';
}

function rebuilt(node: SelectionNode, selection: OperationNode): SelectionNode {
  return selection === node.selection
    ? node
    : { ...node, selection: selection as SelectionNode['selection'] };
}
