/**
 * Reads the snapshot in one statement, so that it is consistent. Runs as the owner or an auditor; the system catalogs are
 * readable by everyone.
 *
 * Invariant: expressions are printed with `search_path = pg_catalog`, so that a name or operator of another schema of the
 * same look is printed with its schema.
 */
import { type Kysely, sql } from 'kysely';
import { assembleCatalog } from './assemble-catalog.ts';
import type { Catalog } from './catalog.ts';
import { CATALOG_STATEMENT, type CatalogRows } from './catalog-rows.ts';

/** Reads what isolation depends on, as one consistent snapshot. Inside a transaction its settings are put back. */
export function readCatalog(db: Kysely<unknown>): Promise<Catalog> {
  return asPrinted(db, async (trx) => {
    const { rows } = await sql.raw<{ catalog: string }>(CATALOG_STATEMENT).execute(trx);
    return assembleCatalog(JSON.parse(rows[0]?.catalog ?? '{}') as CatalogRows);
  });
}

/** Runs while expressions are printed with every name of another schema than pg_catalog qualified. */
export function asPrinted<T>(db: Kysely<unknown>, run: (trx: Kysely<unknown>) => Promise<T>): Promise<T> {
  const inside = async (trx: Kysely<unknown>): Promise<T> => {
    const { rows: before } = await sql<{ path: string; jit: string }>`
      select current_setting('search_path') as path, current_setting('jit') as jit`.execute(trx);
    const { path = '', jit = '' } = before[0] ?? {};
    await settings(trx, 'pg_catalog', 'off');
    const result = await run(trx);
    await settings(trx, path, jit);
    return result;
  };
  return db.isTransaction ? inside(db) : db.transaction().execute(inside);
}

/** Compiling the statement would take longer than running it. */
async function settings(trx: Kysely<unknown>, path: string, jit: string): Promise<void> {
  await sql`select set_config('search_path', ${path}, true), set_config('jit', ${jit}, true)`.execute(trx);
}
