/**
 * The snapshot by relation, for rules that ask about one relation at a time, and names of live objects as SQL.
 * Invariant: a live name is quoted whatever its characters; only declared names are held to the plain grammar.
 */

import { isDeclaredBreakGlass } from '../break-glass/policy-shape.ts';
import type {
  Catalog,
  CatalogFunction,
  Constraint,
  Grant,
  Index,
  Policy,
  Relation,
  Rule,
  Trigger,
} from '../catalog/catalog.ts';
import { grouped } from '../catalog/grouped.ts';
import type { TenancySchema } from './declaration.ts';

/** A catalog and a declaration, looked up by relation. */
export interface CatalogView {
  readonly schema: TenancySchema;
  readonly catalog: Catalog;
  readonly relations: ReadonlyMap<string, Relation>;
  policiesOf(relation: string): readonly Policy[];
  constraintsOf(relation: string): readonly Constraint[];
  indexesOf(relation: string): readonly Index[];
  triggersOf(relation: string): readonly Trigger[];
  rulesOf(relation: string): readonly Rule[];
}

/** Indexes the lists of a snapshot. */
export function viewOf(schema: TenancySchema, catalog: Catalog): CatalogView {
  const by = <T extends { readonly relation: string }>(list: readonly T[]) => {
    const map = grouped(list, ({ relation }) => relation);
    return (relation: string): readonly T[] => map.get(relation) ?? [];
  };
  return {
    schema,
    catalog,
    relations: new Map(catalog.relations.map((relation) => [relation.name, relation])),
    // Break-glass policies are generated too, and stand beside the app role's.
    policiesOf: by(catalog.policies.filter((policy) => !isDeclaredBreakGlass(schema, policy))),
    constraintsOf: by(catalog.constraints),
    indexesOf: by(catalog.indexes),
    triggersOf: by(catalog.triggers),
    rulesOf: by(catalog.rules),
  };
}

/** The topmost partitioned table a partition belongs to, or the relation itself. */
export function rootOf(view: CatalogView, relation: Relation): Relation {
  let root = relation;
  while (root.isPartition) {
    const parent = view.relations.get(root.parents[0] ?? '');
    if (parent === undefined) break;
    root = parent;
  }
  return root;
}

/** Grants that reach the app role: to it, or to everyone. */
export function reaching(grants: readonly Grant[], appRole: string): readonly Grant[] {
  return grants.filter(({ grantee }) => grantee === appRole || grantee === 'public');
}

/** Grants for a reader: `select, insert with grant option to app; select to public`. */
export function grantsText(grants: readonly Grant[]): string {
  const byGrantee = grouped(grants, ({ grantee }) => grantee);
  const texts = [...byGrantee].map(([grantee, of]) => {
    const names = of.map(({ privilege, grantable }) =>
      grantable ? `${privilege} with grant option` : privilege,
    );
    return `${names.sort().join(', ')} to ${grantee}`;
  });
  return texts.join('; ') || 'nothing';
}

/** A live name, quoted. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A live relation, quoted; its schema is known, so that a dot in a name does not mislead. */
export function quotedRelation({ name, schema }: { readonly name: string; readonly schema: string }): string {
  return `${quoted(schema)}.${quoted(name.slice(schema.length + 1))}`;
}

/** A live function with its argument types as PostgreSQL prints them, its name quoted. */
export function quotedFunction({ name, schema }: CatalogFunction): string {
  const rest = name.slice(schema.length + 1);
  const open = rest.indexOf('(');
  return `${quoted(schema)}.${quoted(rest.slice(0, open))}${rest.slice(open)}`;
}
