/**
 * Sorting, grouping and `distinct on` by an output. PostgreSQL takes a bare name there for an output before it looks at
 * the columns of the tables, and a bare integer for the position of one; so `select memo as m … order by m` computes with
 * ciphertext although no expression names a sealed column.
 * Invariant: when a bare name or a position could mean a sealed output it is taken to mean it.
 */
import {
  ColumnNode,
  GroupByItemNode,
  IdentifierNode,
  type OperationNode,
  OrderByItemNode,
  ParensNode,
  RawNode,
  ReferenceNode,
  type SelectQueryNode,
  ValueNode,
} from 'kysely';
import { computed, namesWord } from './expression-guard.ts';
import { columnName } from './query-nodes.ts';
import type { OpenedOutput, ResultPlan } from './result-plan.ts';

/** An integer that stands alone: the position of an output. */
const POSITION = /(?:^|\bby\b|,)\s*\d+\s*(?:$|,|\basc\b|\bdesc\b|\bnulls\b)/i;

/** Refuses to sort or group by a sealed output. */
export function refuseOrderByOutput(node: SelectQueryNode, { opened }: ResultPlan): void {
  if (opened.length === 0) return;
  const items = [
    ...(node.orderBy?.items ?? []),
    ...(node.groupBy?.items ?? []),
    ...(node.distinctOn ?? []),
    ...(node.endModifiers ?? []).flatMap(({ rawModifier }) => rawModifier ?? []),
  ];
  for (const item of items) {
    const named = sealedOutputOf(item, opened);
    if (named !== undefined) throw computed(named.column);
  }
}

function sealedOutputOf(item: OperationNode, opened: readonly OpenedOutput[]): OpenedOutput | undefined {
  if (OrderByItemNode.is(item)) return sealedOutputOf(item.orderBy, opened);
  if (GroupByItemNode.is(item)) return sealedOutputOf(item.groupBy, opened);
  if (ParensNode.is(item)) return sealedOutputOf(item.node, opened);
  // Which output stands at a position is not known where a star is among them.
  if (ValueNode.is(item)) return item.immediate === true && isPosition(item.value) ? opened[0] : undefined;
  const name = bareName(item);
  if (name !== undefined) return opened.find(({ output }) => output === name);
  if (!RawNode.is(item)) return undefined;
  const { sqlFragments, parameters } = item;
  if (sqlFragments.some((sql) => POSITION.test(sql))) return opened[0];
  return (
    opened.find(({ output }) => sqlFragments.some((sql) => namesWord(sql, output))) ??
    parameters.map((each) => sealedOutputOf(each, opened)).find((each) => each !== undefined)
  );
}

function isPosition(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'bigint';
}

function bareName(node: OperationNode): string | undefined {
  if (ReferenceNode.is(node)) return node.table === undefined ? columnName(node) : undefined;
  if (ColumnNode.is(node)) return node.column.name;
  return IdentifierNode.is(node) ? node.name : undefined;
}
