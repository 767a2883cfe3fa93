/**
 * What the app role sets off without a right to execute it: triggers of what it writes and of what a write moves on to, the
 * functions of event triggers, and those that aggregates, operator classes and range types run.
 *
 * Invariant: a row that is routed to a partition, found in an inheriting table or changed by a referential action sets off the
 * triggers there, whatever the rights on that table.
 */
import type { Catalog, Grant, Relation } from './catalog.ts';
import { grouped } from './grouped.ts';

/** Rights on a relation and on its columns, those its owner holds by owning it included. */
export function everyGrant({ grants, columns }: Pick<Relation, 'grants' | 'columns'>): readonly Grant[] {
  return columns.some((column) => column.grants.length > 0)
    ? [...grants, ...columns.flatMap((column) => column.grants)]
    : grants;
}

/** Relations whose triggers a statement of the app role may set off. */
function setOffRelations(
  { relations, constraints }: Pick<Catalog, 'relations' | 'constraints'>,
  reaches: (grants: readonly Grant[]) => boolean,
): ReadonlySet<string> {
  const children = grouped(
    relations.flatMap(({ name, parents }) => parents.map((parent) => ({ name, parent }))),
    ({ parent }) => parent,
  );
  const acted = grouped(
    constraints.filter(({ onDelete, onUpdate }) => acts(onDelete) || acts(onUpdate)),
    ({ references }) => references ?? '',
  );
  const found = new Set<string>();
  const visit = (name: string): void => {
    if (found.has(name)) return;
    found.add(name);
    for (const child of children.get(name) ?? []) visit(child.name);
    for (const { relation } of acted.get(name) ?? []) visit(relation);
  };
  for (const relation of relations) if (reaches(everyGrant(relation))) visit(relation.name);
  return found;
}

const acts = (action: string) => action !== 'no action' && action !== 'restrict';

/** What is set off without a right to execute it. */
export interface SetOff {
  /** Relations whose triggers a statement of the app role may set off. */
  readonly relations: ReadonlySet<string>;
  /** Functions, and what runs each. */
  readonly functions: ReadonlyMap<string, string>;
  /** Functions that are SECURITY DEFINER, by the aggregate that runs them. */
  readonly aggregated: ReadonlyMap<string, string>;
}

/** What grants that reach the app role set off. */
export function setOffBy(catalog: Catalog, reaches: (grants: readonly Grant[]) => boolean): SetOff {
  const relations = setOffRelations(catalog, reaches);
  const open = new Set(catalog.functions.filter(({ grants }) => reaches(grants)).map(({ name }) => name));
  const aggregated = new Map(
    catalog.aggregateCalls
      .filter(({ aggregate }) => open.has(aggregate))
      .map(({ aggregate, uses }) => [uses, aggregate]),
  );
  const functions = new Map([
    ...[...aggregated].map(([fn, aggregate]) => [fn, `the aggregate ${aggregate}`] as const),
    ...catalog.supportFunctions.map((fn) => [fn, 'an operator class or range type'] as const),
    // Any DDL sets them off, that of a temporary table or one that is refused included; those for logins every login.
    ...catalog.eventTriggers.map(({ name, function: fn }) => [fn, `the event trigger ${name}`] as const),
    ...catalog.triggers
      .filter(({ relation }) => relations.has(relation))
      .map(({ relation, name, function: fn }) => [fn, `the trigger ${name} on ${relation}`] as const),
  ]);
  return { relations, functions, aggregated };
}
