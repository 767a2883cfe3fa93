/**
 * API keys of integrations: made by an owner, within what the owner may do, and recorded before they are handed out.
 * A crash between the making of a key and its record leaves a key whose secret nobody has.
 */
import type { IssuedKey } from '@ringfence/authz/keys';
import { v7 as uuidv7 } from 'uuid';
import { decide, guardedWithoutKeys } from './guarded.ts';
import type { Ledger } from './ledger.ts';
import { NotFoundError } from './not-found.ts';
import type { LedgerAction, Role } from './policy.ts';
import { recordingRefusals } from './refusals.ts';
import type { Session } from './session.ts';

/** A key to be made. */
export interface NewKey {
  /** What it is used for. */
  readonly name: string;
  /** Roles whose grants it gets. */
  readonly roles: readonly Role[];
  /** The only actions of theirs that it gets. */
  readonly actions: readonly LedgerAction[];
  /** Its life, ms, whole seconds. */
  readonly lifetimeMs: number;
}

/** What the key of a bank feed may do: hand in bank lines, and nothing else; not even read them. */
export const BANK_FEED: NewKey = {
  name: 'bank feed',
  roles: ['integration'],
  actions: ['bankLine.import'],
  lifetimeMs: 90 * 86_400_000,
};

/**
 * Makes a key.
 *
 * @throws AuthzCeilingExceededError `authz.ceiling_exceeded` when it may do what its creator may not.
 */
export async function createKey(ledger: Ledger, session: Session, wanted: NewKey): Promise<IssuedKey> {
  const requestId = uuidv7();
  await decide(ledger, session, 'apiKey.create', { id: requestId });
  const { org, verified } = session;
  if (verified === undefined) throw new TypeError('only a person makes keys');
  const { name, roles, actions, lifetimeMs } = wanted;
  // The store has connections of its own: no transaction is open while it works.
  const issued = await recordingRefusals(ledger, session, () =>
    ledger.apiKeys.create({
      session: verified,
      org,
      requestId,
      name,
      scope: { roles, actions },
      lifetimeMs,
    }),
  );
  await guardedWithoutKeys(ledger, session, async ({ authorize, record }) => {
    authorize('apiKey.create', { id: requestId });
    const expiresAt = new Date(issued.expiresAt).toISOString();
    const data = { name, roles: [...roles], actions: [...actions], expiresAt };
    await record('api_key.created', { target: issued.id, outcome: 'success', data });
  });
  return issued;
}

/**
 * Ends a key, in one transaction with its event; then the processes that used it a moment ago are told. Whoever could not
 * tell them ends it again; untold, they hear of it when they read its record anew, within seconds.
 *
 * @throws NotFoundError `ledger.key_not_found` when the organisation has no such key, or it has expired.
 */
export async function revokeKey(ledger: Ledger, session: Session, id: string): Promise<void> {
  const selection = { kind: 'key', org: session.org, id } as const;
  await guardedWithoutKeys(ledger, session, async ({ db, authorize, record }) => {
    authorize('apiKey.revoke', { id });
    const ended = await ledger.apiKeyStoreIn(db).revoke(selection, Date.now());
    if (ended.length === 0) throw new NotFoundError('key', id, 'apiKey.revoke');
    await record('api_key.revoked', { target: id, outcome: 'success' });
  });
  await ledger.apiKeys.revoke(selection);
}
