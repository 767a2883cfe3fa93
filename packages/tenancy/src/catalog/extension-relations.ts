/**
 * Which relations of extensions are the extension's own affair. ALTER EXTENSION … ADD makes any table or view a member, and
 * membership takes no right away.
 *
 * Invariant: a relation the app role reaches is examined like any other, unless it is one that an extension is known to ship
 * readable, and a view among those reads no table.
 */
import type { Catalog, Grant, Relation } from './catalog.ts';
import { everyGrant } from './set-off.ts';

/** Relations that extensions grant to PUBLIC when they are created, and that hold no rows of the app. */
const SHIPPED: Readonly<Record<string, readonly string[]>> = {
  pg_stat_statements: ['pg_stat_statements', 'pg_stat_statements_info'],
  postgis: ['spatial_ref_sys', 'geometry_columns', 'geography_columns'],
  postgis_raster: ['raster_columns', 'raster_overviews'],
};

/** True for a relation as its extension ships it. */
export function isShipped({ viewReads }: Pick<Catalog, 'viewReads'>, relation: Relation): boolean {
  const { extension, name, schema } = relation;
  if (extension === null || SHIPPED[extension]?.includes(name.slice(schema.length + 1)) !== true)
    return false;
  return !viewReads.some(({ view }) => view === name);
}

/** Grants on a relation and on its columns, without those its owner holds by owning it. */
export function allGrants(relation: Relation): readonly Grant[] {
  return everyGrant(relation).filter(({ grantee }) => grantee !== relation.owner);
}
