export * from './errors.ts';
export type { KekState, KmsCallOptions, KmsProvider, UnwrapResult, WrapContext, WrapResult } from './kms.ts';
export { type OrgId, parseOrgId } from './org-id.ts';
