// #region imports
import { type OrgId, type Policy, stepUpParameters } from '@ringfence/authz';
import {
  AuthzSessionInsufficientError,
  createSessionGuard,
  createTokenVerifier,
  type OrgAssurance,
  Revocations,
  type SessionDirectory,
} from '@ringfence/authz/session';
// #endregion

import { expect, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
// #region setup
export function sessions(directory: SessionDirectory<'owner'>) {
  const revocations = new Revocations();
  const verifier = createTokenVerifier({
    issuers: [
      {
        issuer: 'https://id.example.com',
        jwksUri: 'https://id.example.com/jwks',
        algorithms: ['ES256'],
        audience: 'https://api.example.com', // access tokens
        clientId: 'ledger-web', // ID tokens
        maxTokenAgeMs: 3_600_000,
        connection: { claim: 'sso_connection' },
      },
    ],
    revocations,
  });
  const guard = createSessionGuard({ directory, revocations, mfaAcrValues: ['urn:example:mfa'] });
  return { revocations, verifier, guard };
}
// #endregion

type Sessions = ReturnType<typeof sessions>;
type Ledger = Policy<{ readonly entry: { readonly actions: readonly ['read'] } }, 'owner'>;

// #region request
export async function readEntry(
  { verifier, guard }: Sessions,
  policy: Ledger,
  token: string,
  entry: { org: OrgId; id: string },
) {
  try {
    const context = await guard.admit(await verifier.verifyAccessToken(token), entry.org);
    return policy.authorize(context, 'entry.read', entry);
  } catch (error) {
    if (!(error instanceof AuthzSessionInsufficientError)) throw error;
    return { status: 401, challenge: error.challenge, signIn: stepUpParameters(error.stepUp) };
  }
}
// #endregion

// #region toggle
export async function requireSso(
  { verifier, guard }: Sessions,
  token: string,
  org: OrgId,
  stored: OrgAssurance,
): Promise<OrgAssurance> {
  const session = await verifier.verifyAccessToken(token);
  return await guard.changeAssurance(session, org, stored, { requireSso: 'on' });
}
// #endregion

// #region revoke
export async function leave({ revocations }: Sessions, subject: string): Promise<void> {
  await revocations.revokeSubject('https://id.example.com', subject);
}
// #endregion

test('the page shows code that compiles', () => {
  const page = new URL('../../../docs/authz-sessions.md', import.meta.url);
  expect(snippetDrift(page, [new URL(import.meta.url)])).toEqual([]);
});
