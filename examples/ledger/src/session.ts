/**
 * Who is asking. The roles of a member come from the organisation's own table, under its own policy, so that a user id of
 * another organisation finds no member here.
 */
import type { OrgId } from '@ringfence/tenancy';
import type { Ledger } from './ledger.ts';
import { policy, type Role } from './policy.ts';

/** A signed-in member of one organisation. */
export interface Session {
  /** The organisation the session entered. */
  readonly org: OrgId;
  /** `user:<uuid>`. */
  readonly actor: string;
  /** Name to show. */
  readonly name: string;
  /** Roles of the member. */
  readonly roles: readonly Role[];
}

/** Thrown when a user is not a member of the organisation. */
export class NotAMemberError extends Error {
  override readonly name: string = 'NotAMemberError';
  /** Stable machine-readable code. */
  readonly code: string = 'ledger.not_a_member';
}

/**
 * Opens a session.
 *
 * @throws NotAMemberError when the user is not a member of the organisation.
 */
export async function signIn(ledger: Ledger, org: OrgId, userId: string): Promise<Session> {
  const actor = `user:${userId}`;
  const member = await ledger.tenancy
    .forOrg(org, { actor })
    .selectFrom('ledger.member')
    .select(['name', 'roles'])
    .where('user_id', '=', userId)
    .executeTakeFirst();
  if (member === undefined)
    throw new NotAMemberError(`user ${userId} is not a member of organisation ${org}`);
  return { org, actor, name: member.name, roles: member.roles.filter((role) => policy.isRole(role)) };
}
