/**
 * The one engine: what the catalog would have to be under a declaration against what it is.
 *
 * Invariant: no difference means that every relation that PostgreSQL did not come with is declared, is an extension's and
 * out of reach, or is one that an extension ships readable, and that what isolates it is, character by character, what this
 * package generates. docs/policies.md says what that proves and what it leaves to others.
 */
import type { Catalog, Relation } from '../catalog/catalog.ts';
import { allGrants, isShipped } from '../catalog/extension-relations.ts';
import type { Backfill } from './backfill.ts';
import { type CatalogView, reaching, rootOf, viewOf } from './catalog-view.ts';
import type { TenancySchema } from './declaration.ts';
import type { Difference } from './difference.ts';
import { foreignKeyDifferences } from './foreign-keys.ts';
import { orgTableDifferences } from './org-table.ts';
import {
  globalTableDifferences,
  guardOf,
  materializedViewDifferences,
  PACKAGE_SCHEMA,
  partitionDifferences,
  ruleDifferences,
  sequenceDifferences,
  systemDifferences,
  viewDifferences,
} from './other-relations.ts';
import {
  defaultPrivilegeDifferences,
  functionDifferences,
  publicationDifferences,
  roleDifferences,
  schemaDifferences,
} from './surroundings.ts';

/** What the steps of a difference need to know beyond the declaration. */
export interface DifferenceOptions {
  /** Where the rows of a table without a filled `org_id` belong, by `schema.table`: an SQL expression over the row. */
  readonly backfill?: Backfill;
}

/**
 * The differences between a declaration and a database, each with the steps that mend it. None is the proof of coverage.
 *
 * @throws TypeError when `backfill` names a table that is not org-owned.
 * @example
 * ```ts
 * const found = differences(schema, await readCatalog(owner));
 * if (found.length > 0) throw new Error(found.map(({ relation, kind }) => `${relation}: ${kind}`).join('\n'));
 * ```
 */
export function differences(
  schema: TenancySchema,
  catalog: Catalog,
  options: DifferenceOptions = {},
): Difference[] {
  const view = viewOf(schema, catalog);
  const backfill = options.backfill ?? {};
  for (const table of Object.keys(backfill)) {
    if (!schema.org.has(table))
      throw new TypeError(`backfill names ${table}, which is not an org-owned table`);
  }
  return [
    ...missingDifferences(view),
    ...catalog.relations.flatMap((relation) => relationDifferences(view, relation, backfill)),
    ...roleDifferences(view),
    ...schemaDifferences(view),
    ...functionDifferences(view),
    ...publicationDifferences(view),
    ...defaultPrivilegeDifferences(view),
  ];
}

function relationDifferences(view: CatalogView, relation: Relation, backfill: Backfill): Difference[] {
  const { schema } = view;
  const { name } = relation;
  if (isExtensionsOwn(view, relation)) return [];
  const [org, global] = [schema.org.get(name), schema.global.get(name)];
  // A partition holds rows of its table, whatever else it is declared as.
  if (org === undefined && relation.isPartition && schema.org.has(rootOf(view, relation).name))
    return partitionOf(view, relation);
  if (org !== undefined || global !== undefined) {
    if (relation.kind !== 'table' && relation.kind !== 'partitioned table')
      return [difference('relation_kind', name, 'a table', relation.kind)];
    return [
      ...inheritanceDifferences(relation),
      ...(org === undefined
        ? globalTableDifferences(view, relation, global?.key ?? [])
        : [
            ...orgTableDifferences(view, relation, org, backfill),
            ...foreignKeyDifferences(view, relation, org),
          ]),
      ...ruleDifferences(view, relation),
    ];
  }
  const asView = schema.views.get(name);
  if (asView !== undefined) {
    if (relation.kind === 'materialized view') {
      const found = materializedViewDifferences(view, relation);
      return [difference('relation_kind', name, 'a view', relation.kind), ...found];
    }
    if (relation.kind !== 'view') return [difference('relation_kind', name, 'a view', relation.kind)];
    return [...viewDifferences(view, relation, asView), ...ruleDifferences(view, relation)];
  }
  if (relation.kind === 'materialized view' && isSystem(view, relation))
    return materializedViewDifferences(view, relation);
  if (isSystem(view, relation)) {
    const { privileges = [] } = schema.system.get(name) ?? {};
    const rules = privileges.length > 0 ? ruleDifferences(view, relation) : [];
    return [...systemDifferences(view, relation, { privileges }), ...rules];
  }
  if (relation.kind === 'sequence') return sequenceDifferences(view, relation);
  return relation.isPartition ? partitionOf(view, relation) : unclassified(relation);
}

function partitionOf(view: CatalogView, relation: Relation): Difference[] {
  const guard = guardOf(view, rootOf(view, relation).name);
  if (guard === undefined) return unclassified(relation);
  const foreign =
    relation.kind === 'foreign table'
      ? [difference('relation_kind', relation.name, 'a table', relation.kind)]
      : [];
  return [...foreign, ...partitionDifferences(view, relation, guard), ...ruleDifferences(view, relation)];
}

function unclassified(relation: Relation): Difference[] {
  const expected = 'a declaration as org, global, system or view';
  return [
    ...inheritanceDifferences(relation),
    difference('unclassified', relation.name, expected, relation.kind),
  ];
}

/** True for a relation of an extension that nobody declared, and that is as shipped or out of reach of the app role. */
function isExtensionsOwn({ schema, catalog }: CatalogView, relation: Relation): boolean {
  if (relation.extension === null) return false;
  const declared = [schema.org, schema.global, schema.system, schema.views];
  if (declared.some((relations) => relations.has(relation.name))) return false;
  return isShipped(catalog, relation) || reaching(allGrants(relation), schema.appRole).length === 0;
}

function isSystem({ schema }: CatalogView, { name, schema: within }: Relation): boolean {
  return schema.system.has(name) || schema.systemSchemas.has(within) || within === PACKAGE_SCHEMA;
}

/** Inheritance outside partitioning: a statement on the parent reads rows whose keys and policies are not the parent's. */
function inheritanceDifferences({ name, parents, isPartition }: Relation): Difference[] {
  if (isPartition || parents.length === 0) return [];
  return [difference('inheritance', name, 'no parent', `inherits from ${parents.join(', ')}`)];
}

function missingDifferences({ schema, relations }: CatalogView): Difference[] {
  return [...schema.org.keys(), ...schema.global.keys(), ...schema.views.keys()]
    .filter((name) => !relations.has(name))
    .map((name) => difference('missing_relation', name, 'a relation of this name', 'no such relation'));
}

function difference(kind: Difference['kind'], relation: string, expected: string, found: string): Difference {
  return { kind, relation, expected, found, mend: [] };
}
