/**
 * An organisation whose key is off, by its own hand or for good: nothing sealed is opened, and whoever answers for the
 * organisation can still read and verify the log, take rights, and end the keys of integrations.
 */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { BANK_FEED, createKey, revokeKey } from '../src/api-keys.ts';
import { type CustomerKey, customerKey } from '../src/demo/key-life.ts';
import { postEntry, readEntry } from '../src/entries.ts';
import { readLog, verifyLog } from '../src/log-access.ts';
import { giveRoles } from '../src/members.ts';
import { IRONBRIDGE, NORTHWIND, PLATFORM_KEK } from '../src/provision.ts';
import { enterWithKey, type Session } from '../src/session.ts';
import { requireSecondFactor } from '../src/settings.ts';
import { ENTRY, type Fixture, fixture } from './fixture.ts';

let f: Fixture;
let customer: CustomerKey;
beforeAll(async () => {
  customer = await customerKey();
  f = await fixture(inject('databaseUrl'), { admissionMaxAgeMs: 0, customerKms: [customer.kms] });
});
afterAll(async () => {
  await f?.close();
  await customer?.close();
});

/** All that needs no key, in an order that leaves the organisation as it was. */
async function govern(owner: Session, auditor: Session, reviewer: string): Promise<void> {
  const { id, key } = await createKey(f.ledger, owner, BANK_FEED);
  await revokeKey(f.ledger, owner, id);
  await expect(enterWithKey(f.ledger, key.reveal())).rejects.toMatchObject({ reason: 'revoked' });
  await giveRoles(f.ledger, owner, reviewer, ['auditor']);
  await giveRoles(f.ledger, owner, reviewer, ['reviewer']);
  await requireSecondFactor(f.ledger, owner, 'on');
  await requireSecondFactor(f.ledger, owner, 'off');
  expect(await verifyLog(f.ledger, auditor)).toMatchObject({ ok: true });
  const { events } = await readLog(f.ledger, auditor, {});
  const done = events.map(({ action }) => action).filter((action) => action !== 'api_key.refused');
  expect(done.slice(0, 7)).toEqual([
    'audit_log.verified',
    'settings.changed',
    'settings.changed',
    'member.roles_given',
    'member.roles_given',
    'api_key.revoked',
    'api_key.created',
  ]);
}

describe('an organisation', () => {
  test('that disabled its own key is governed, and its log read', async () => {
    const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    await f.operations.moveKek(NORTHWIND.id, { from: PLATFORM_KEK, to: customer.kekUri });
    customer.setEnabled(false);
    f.ledger.keyring.revoke(NORTHWIND.id); // as when its lease has ended
    const read = readEntry(f.ledger, f.controller, entry);
    await expect(read).rejects.toMatchObject({ code: 'crypto.key_revoked' });
    await govern(f.owner, f.auditor, NORTHWIND.reviewer.userId);
  });

  test('that was shredded is governed, and its log read', async () => {
    const enter = (who: 'owner' | 'auditor' | 'bookkeeper') =>
      f.enter(IRONBRIDGE[who], { mfa: true }, IRONBRIDGE);
    const bookkeeper = await enter('bookkeeper');
    const entry = await postEntry(f.ledger, bookkeeper, ENTRY);
    await f.operations.shred(IRONBRIDGE.id, { reason: 'contract ended' });
    f.ledger.keyring.revoke(IRONBRIDGE.id);
    const read = readEntry(f.ledger, bookkeeper, entry);
    await expect(read).rejects.toMatchObject({ code: 'crypto.key_shredded' });
    await govern(await enter('owner'), await enter('auditor'), IRONBRIDGE.reviewer.userId);
  });
});
