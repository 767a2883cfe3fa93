/**
 * For tests only: facts without a verifier. The names say so, and a production bundle has no reason to load this
 * subpath; a lint rule or a bundle check on `@ringfence/authz/testing` keeps it out.
 */
import { type Approval, type ApprovalInit, MintedApproval } from '../approval.ts';
import { MintedSessionFacts, type SessionFacts, type SessionFactsInit } from '../session-facts.ts';

export type { Approval, ApprovalInit } from '../approval.ts';
export type { DeclaredRoute } from '../routes/access.ts';
export type { SessionFacts, SessionFactsInit } from '../session-facts.ts';
export { type CredentialStoreCase, credentialStoreCases } from './credential-store-cases.ts';
export {
  DenialMatrixError,
  type DenialMatrixOptions,
  denialMatrix,
  type MatrixCell,
  type MatrixRequest,
  type MatrixResponse,
  type ProtectedCase,
  type PublicCase,
} from './denial-matrix.ts';
export { type KeyStoreCase, keyStoreCases } from './key-store-cases.ts';
export { memoryApiKeyStore, memoryCredentialStore } from './memory-key-store.ts';

/**
 * Mints session facts without any verification.
 *
 * @throws TypeError when a fact is of the wrong type.
 * @example
 * ```ts
 * const session = unsafeSessionFacts({ mfa: true, authenticatedAt: Date.now() });
 * ```
 */
export function unsafeSessionFacts(facts: SessionFactsInit = {}): SessionFacts {
  return new MintedSessionFacts(facts);
}

/**
 * Mints an approval without an approval flow.
 *
 * @throws TypeError when a part is of the wrong type.
 */
export function unsafeApproval(approval: ApprovalInit): Approval {
  return new MintedApproval(approval);
}
