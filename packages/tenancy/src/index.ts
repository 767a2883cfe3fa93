/**
 * Tenant isolation for PostgreSQL through Kysely: the organisation's context rides with each statement.
 *
 * @packageDocumentation
 */
export type { ContextKey, Principal } from './context.ts';
export { RingfenceTenancyError, type TenancyErrorCode } from './errors.ts';
export { type OrgId, parseOrgId } from './org-id.ts';
export type { PreparedStatementMode } from './session-pool.ts';
export {
  atCommit,
  type BatchResults,
  createTenancy,
  type OrgDb,
  type OrgTransaction,
  type QueuedStatement,
  type Tenancy,
  type TenancyOptions,
} from './tenancy.ts';
