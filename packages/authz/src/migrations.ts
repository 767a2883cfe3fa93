/**
 * `@ringfence/authz/migrations`: the DDL of schema `authz`, plain SQL that a reviewer reads before the owner role runs it. A process
 * that only decides does not load it.
 *
 * @packageDocumentation
 */
export { type AuthzDeclaration, authzDeclaration, type Declared } from './postgres/declaration.ts';
export { authzKyselyMigrations } from './postgres/kysely-migrations.ts';
export { type AuthzMigrationOptions, authzMigrations, type SqlMigration } from './postgres/migrations.ts';
