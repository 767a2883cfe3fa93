/**
 * Tenant isolation for `pg` itself and the libraries on top of it: pools bound to one organisation, without Kysely.
 *
 * @packageDocumentation
 */
export type { ContextKey, Principal } from '../context.ts';
export { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
export { type OrgId, parseOrgId } from '../org-id.ts';
export type { PreparedStatementMode } from '../session-pool.ts';
export type { TenancyOptions } from '../tenancy.ts';
export type { OrgPool } from './org-pool.ts';
export { createPgTenancy, type PgTenancy } from './pg-tenancy.ts';
