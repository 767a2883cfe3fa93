/**
 * Break-glass access: an operator reads one organisation's data in an emergency, and it cannot happen unrecorded.
 *
 * @packageDocumentation
 */
export { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
export { type OrgId, parseOrgId } from '../org-id.ts';
export type {
  Exception,
  GlobalTableDeclaration,
  OrgTableDeclaration,
  Reference,
  SystemTableDeclaration,
  TenancySchema,
  ViewDeclaration,
} from '../policies/declaration.ts';
export type { TablePrivilege } from '../policies/table-policy.ts';
export type {
  BreakGlassAudit,
  BreakGlassClosed,
  BreakGlassGrant,
  BreakGlassOpened,
} from './audit-port.ts';
export { revokeBreakGlass } from './migrations.ts';
export { type BreakGlassPolicyOptions, breakGlassPolicies } from './policies.ts';
export { type BreakGlass, type BreakGlassOptions, breakGlass } from './session.ts';
export {
  type BreakGlassIssuer,
  type BreakGlassIssuerOptions,
  type BreakGlassKey,
  type BreakGlassMode,
  type BreakGlassRequest,
  createBreakGlassIssuer,
  type IssuedBreakGlass,
} from './token.ts';
