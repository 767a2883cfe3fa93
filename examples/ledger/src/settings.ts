/**
 * What an organisation asks of every session. Whoever turns the second factor on has one in that very session, so that
 * nobody locks themselves out; a key that was made without one is refused from then on.
 */
import { guardedWithoutKeys } from './guarded.ts';
import type { Ledger } from './ledger.ts';
import type { Session } from './session.ts';

/**
 * Turns the second factor for everybody on or off.
 *
 * @throws AuthzAssuranceRefusedError `authz.assurance_refused` when the plan does not include it, or a job or key asks.
 */
export async function requireSecondFactor(
  ledger: Ledger,
  session: Session,
  requireMfa: 'on' | 'off',
): Promise<void> {
  const { org, verified } = session;
  await guardedWithoutKeys(ledger, session, async ({ db, authorize, record }) => {
    authorize('settings.change', { id: org });
    const row = await db
      .selectFrom('ledger.org')
      .select(['plan', 'require_mfa'])
      .forUpdate()
      .executeTakeFirstOrThrow();
    if (verified === undefined) throw new TypeError('only a person changes what is asked of people');
    const before = { requireMfa: row.require_mfa ? 'on' : 'off' } as const;
    const settings = { plan: row.plan, ssoProven: false, ...before };
    const after = await ledger.identity.guard.changeAssurance(verified, org, settings, { requireMfa });
    await db
      .updateTable('ledger.org')
      .set({ require_mfa: after.requireMfa === 'on' })
      .execute();
    await record('settings.changed', {
      target: org,
      outcome: 'success',
      before,
      after: { requireMfa },
    });
  });
}
