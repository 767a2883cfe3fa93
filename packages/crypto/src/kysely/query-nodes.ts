/**
 * The few operations on Kysely's operation nodes that the plugin needs.
 * Invariant: values of the application are never walked as nodes, even when they look like one.
 */
import {
  AliasNode,
  ColumnNode,
  IdentifierNode,
  type OperationNode,
  type ReferenceNode,
  SelectAllNode,
  TableNode,
} from 'kysely';

/** Name of a table as a query spells it. */
export interface TableName {
  /** Schema, if spelled. */
  readonly schema: string | undefined;
  /** Table or alias. */
  readonly name: string;
}

/** Rebuilds a node with its child nodes mapped; returns the same node when nothing changed. */
export function mapChildren<N extends OperationNode>(
  node: N,
  map: (child: OperationNode) => OperationNode,
): N {
  if (node.kind === 'ValueNode' || node.kind === 'PrimitiveValueListNode') return node;
  const entries = Object.entries(node);
  let changed = false;
  const mapped = entries.map(([key, value]) => {
    const one = mapValue(value, map);
    changed ||= one !== value;
    return [key, one];
  });
  return changed ? (Object.freeze(Object.fromEntries(mapped)) as N) : node;
}

function mapValue(value: unknown, map: (child: OperationNode) => OperationNode): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item: unknown) => mapValue(item, map));
    return items.some((item, at) => item !== value[at]) ? Object.freeze(items) : value;
  }
  return isNode(value) ? map(value) : value;
}

function isNode(value: unknown): value is OperationNode {
  return typeof value === 'object' && value !== null && 'kind' in value && typeof value.kind === 'string';
}

/** Schema and name of a table node. */
export function tableName(node: TableNode): TableName {
  return { schema: node.table.schema?.name, name: node.table.identifier.name };
}

/** Column a reference names, or undefined for `table.*`. */
export function columnName(node: ReferenceNode): string | undefined {
  return ColumnNode.is(node.column) ? node.column.column.name : undefined;
}

/** True for `table.*`. */
export function isStar(node: ReferenceNode): boolean {
  return SelectAllNode.is(node.column);
}

/** Name of an alias, or undefined when it is an expression. */
export function aliasName(node: AliasNode): string | undefined {
  return IdentifierNode.is(node.alias) ? node.alias.name : undefined;
}

/** Table node and alias of a table expression; undefined when it is no plain table. */
export function plainTable(
  node: OperationNode,
): { readonly table: TableName; readonly alias: string | undefined } | undefined {
  if (TableNode.is(node)) return { table: tableName(node), alias: undefined };
  if (!AliasNode.is(node) || !TableNode.is(node.node)) return undefined;
  const alias = aliasName(node);
  return alias === undefined ? undefined : { table: tableName(node.node), alias };
}
