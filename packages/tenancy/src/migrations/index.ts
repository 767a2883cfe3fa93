/**
 * `@ringfence/tenancy/migrations`: what the owner role runs once: the DDL of schema `tenancy`, of jobs and of break-glass access, plain
 * SQL that a reviewer reads first, and the keys that the database verifies with. A process that only serves does not load it.
 *
 * @packageDocumentation
 */

export {
  type BreakGlassMigrationOptions,
  breakGlassMigrations,
  installBreakGlassKey,
  removeBreakGlassKey,
} from '../break-glass/migrations.ts';
export type { BreakGlassKey } from '../break-glass/token.ts';
export type { ContextKey } from '../context.ts';
export { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
export { type JobMigrationOptions, jobMigrations } from '../jobs/migrations.ts';
export {
  installContextKey,
  removeContextKey,
  type SqlMigration,
  type TenancyMigrationOptions,
  tenancyKyselyMigrations,
  tenancyMigrations,
} from './tenancy-migrations.ts';
