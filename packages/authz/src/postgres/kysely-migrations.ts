/** The migrations of schema `authz` for Kysely's migrator; apart from the SQL, which needs no Kysely to be printed. */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { type AuthzMigrationOptions, authzMigrations } from './migrations.ts';

/**
 * The same migrations for Kysely's migrator, by name.
 *
 * @throws TypeError as `authzMigrations`.
 */
export function authzKyselyMigrations(options: AuthzMigrationOptions): Record<string, Migration> {
  return Object.fromEntries(
    authzMigrations(options).map(({ name, up }) => [
      name,
      {
        up: async (db: Kysely<unknown>): Promise<void> => {
          await sql.raw(up).execute(db);
        },
      },
    ]),
  );
}
