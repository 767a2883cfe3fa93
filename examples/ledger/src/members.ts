/**
 * Giving roles. Who gives them appoints: an owner can do nothing of what a controller does, and cannot appoint
 * themselves. Invariants: nobody changes their own roles (the policy), however they spell their id; nobody is given both
 * halves of a separated duty; an organisation keeps an owner, also when two owners take the role from each other at once.
 */
import { assertWithinCeiling } from '@ringfence/authz';
import { guardedWithoutKeys } from './guarded.ts';
import { actorOf } from './identity.ts';
import type { Ledger } from './ledger.ts';
import { NotFoundError } from './not-found.ts';
import { analysis, policy, type Role } from './policy.ts';
import type { Session } from './session.ts';

/** What an owner appoints. The role of integrations is for keys alone. */
const APPOINTED: readonly Role[] = ['owner', 'controller', 'bookkeeper', 'reviewer', 'auditor'];

/** Thrown when roles cannot be given; nothing was changed. */
export class RolesRefusedError extends Error {
  override readonly name: string = 'RolesRefusedError';
  /** Stable machine-readable code. */
  readonly code: 'ledger.role_not_appointed' | 'ledger.duty_conflict' | 'ledger.last_owner';

  constructor(code: RolesRefusedError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Gives a member these roles and no others.
 *
 * @throws NotFoundError `ledger.member_not_found`.
 * @throws RolesRefusedError `ledger.role_not_appointed`, `ledger.duty_conflict`, `ledger.last_owner`.
 * @throws AuthzCeilingExceededError `authz.ceiling_exceeded` for a role that the policy does not have.
 */
export async function giveRoles(
  ledger: Ledger,
  session: Session,
  userId: string,
  roles: readonly Role[],
): Promise<void> {
  await guardedWithoutKeys(ledger, session, async ({ db, authorize, record }) => {
    // Decided on the id as it is stored: PostgreSQL finds the same row for a uuid in capitals, in braces or without
    // hyphens, and the policy, which compares texts, would not see that it is the owner's own.
    const stored = await db
      .selectFrom('ledger.member')
      .select('user_id')
      .where('user_id', '=', userId)
      .executeTakeFirst();
    const id = stored?.user_id ?? userId;
    authorize('member.giveRoles', { id: actorOf(id) });
    // In order, so that two owners who do this at once wait for each other and the second sees what the first did.
    const owners = await db
      .selectFrom('ledger.member')
      .select('user_id')
      .where((eb) => eb(eb.val('owner'), '=', eb.fn.any('roles')))
      .orderBy('user_id')
      .forUpdate()
      .execute();
    const row = await db
      .selectFrom('ledger.member')
      .select('roles')
      .where('user_id', '=', id)
      .forUpdate()
      .executeTakeFirst();
    if (row === undefined) throw new NotFoundError('member', id, 'member.giveRoles');
    const { org } = session;
    assertWithinCeiling(policy, 'role_assignment', { org, roles: APPOINTED }, { org, roles });
    // Not a matter of the ceiling: a bookkeeper may import as well, so all that the role gives is within it.
    if (!roles.every((role) => APPOINTED.includes(role)))
      throw new RolesRefusedError('ledger.role_not_appointed', 'nobody is appointed to a role of keys');
    refuseConflict(roles);
    if (!roles.includes('owner') && owners.every(({ user_id }) => user_id === id))
      throw new RolesRefusedError('ledger.last_owner', 'the organisation would be left without an owner');
    await db
      .updateTable('ledger.member')
      .set({ roles: [...roles] })
      .where('user_id', '=', id)
      .execute();
    await record('member.roles_given', {
      target: id,
      outcome: 'success',
      before: { roles: row.roles },
      after: { roles: [...roles] },
    });
  });
}

/** `pnpm policy` proves that no role holds both halves of a duty; here nobody is given two roles that do together. */
function refuseConflict(roles: readonly Role[]): void {
  const { grants } = policy.toJSON();
  const can = (action: string) =>
    grants.some(
      (grant) => grant.actions.includes(action) && roles.some((role) => grant.roles.includes(role)),
    );
  for (const { actions } of analysis.duties ?? []) {
    if (actions.every(can))
      throw new RolesRefusedError('ledger.duty_conflict', `nobody is given both ${actions.join(' and ')}`);
  }
}
