/**
 * What the app role sets off without a right to execute it: triggers of what it writes and of what a write moves on to, the
 * functions of event triggers, and those that aggregates, operator classes and range types run.
 *
 * Invariant: a row that is routed to a partition, found in an inheriting table or changed by a referential action sets off the
 * triggers there, whatever the rights on that table.
 */
import type { Catalog, Constraint, Grant, Relation, Trigger } from './catalog.ts';
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

/** A trigger that a referential action runs as the owner of its table. */
export interface OwnersTrigger {
  /** The trigger. */
  readonly trigger: Trigger;
  /** The foreign key that acts. */
  readonly by: Constraint;
}

/**
 * Triggers that run before the change a referential action makes: inside of its query, as the owner of the table and, as
 * PostgreSQL's checks of foreign keys do, without forced row-level security. Those after it run as whoever asked.
 */
export function ownersTriggers(
  { relations, constraints, triggers }: Catalog,
  setOff: SetOff,
): readonly OwnersTrigger[] {
  const acting = grouped(
    constraints.filter(
      ({ type, references }) => type === 'foreign key' && setOff.relations.has(references ?? ''),
    ),
    ({ relation }) => relation,
  );
  const parents = new Map(relations.map((relation) => [relation.name, relation.parents]));
  const keysOf = (name: string): readonly Constraint[] => [
    ...(acting.get(name) ?? []),
    ...(parents.get(name) ?? []).flatMap(keysOf),
  ];
  return triggers.flatMap((trigger) => {
    if (!trigger.before.some((event) => event !== 'insert')) return [];
    const by = keysOf(trigger.relation).find((key) =>
      changes(key).some((event) => trigger.before.includes(event)),
    );
    return by === undefined ? [] : [{ trigger, by }];
  });
}

/** What a foreign key does to the rows that reference. */
function changes({ onDelete, onUpdate }: Constraint): readonly ('delete' | 'update')[] {
  const deletes = onDelete === 'cascade' ? (['delete'] as const) : [];
  return acts(onUpdate) || (acts(onDelete) && onDelete !== 'cascade') ? [...deletes, 'update'] : deletes;
}

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
