/**
 * Who is who: access tokens of the configured issuers, and the members they belong to. A token says who authenticated
 * and how; whether that opens an organisation is asked of the organisation's own tables, under its own policy, so that a
 * member of another organisation is nobody here.
 */
import {
  createSessionGuard,
  createTokenVerifier,
  type IssuerConfig,
  type Revocations,
  type SessionDirectory,
  type SessionGuard,
  type TokenVerifier,
} from '@ringfence/authz/session';
import type { OrgId, Tenancy } from '@ringfence/tenancy';
import { MFA_ACR, type Role } from './policy.ts';
import type { Database } from './schema.ts';

/** Verifies tokens and admits sessions. */
export interface Identity {
  /** Verifies access tokens of the configured issuers. */
  readonly verifier: TokenVerifier;
  /** Admits sessions to organisations. */
  readonly guard: SessionGuard<Role>;
  /** Members and settings, from the database. */
  readonly directory: SessionDirectory<Role>;
  /** What was revoked; tokens, sessions and keys are held against it in each decision. */
  readonly revocations: Revocations;
}

/** Connects verifier and guard to the tables of members. */
export function createIdentity(
  tenancy: Tenancy<Database>,
  issuers: readonly IssuerConfig[],
  revocations: Revocations,
): Identity {
  const directory = memberDirectory(tenancy);
  return {
    verifier: createTokenVerifier({ issuers, revocations }),
    guard: createSessionGuard({ directory, revocations, mfaAcrValues: [MFA_ACR] }),
    directory,
    revocations,
  };
}

/** Id of a member as the policy and the audit log know it. */
export function actorOf(userId: string): string {
  return `user:${userId}`;
}

/** The roles are handed on as they are stored: one that the policy does not know denies. */
function memberDirectory(tenancy: Tenancy<Database>): SessionDirectory<Role> {
  const rows = (org: OrgId) => tenancy.forOrg(org, { actor: 'system:sign-in', kind: 'system' });
  return {
    assurance: async (org) => {
      const row = await rows(org).selectFrom('ledger.org').select(['plan', 'require_mfa']).executeTakeFirst();
      if (row === undefined) return undefined;
      return { plan: row.plan, ssoProven: false, requireMfa: row.require_mfa ? 'on' : 'off' };
    },
    // No issuer of the ledger is an SSO connection of one organisation: a session that claims one belongs nowhere.
    connectionOrg: async () => undefined,
    member: async (org, { issuer, subject }) => {
      const row = await rows(org)
        .selectFrom('ledger.member')
        .select(['user_id', 'roles'])
        .where('issuer', '=', issuer)
        .where('subject', '=', subject)
        .executeTakeFirst();
      return row && { id: actorOf(row.user_id), roles: row.roles as readonly Role[] };
    },
  };
}
