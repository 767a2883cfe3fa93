/** Two processes of the app, as far as they can tell: what one revokes ends in the other, and so does what expires. */
import { randomUUID } from 'node:crypto';
import { localKms } from '@ringfence/crypto/local';
import { directoryStorage } from '@ringfence/tenancy/storage-directory';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import { BANK_FEED, createKey, revokeKey } from '../src/api-keys.ts';
import { postEntry, readEntry } from '../src/entries.ts';
import { createLedger, type Ledger } from '../src/ledger.ts';
import { NORTHWIND, newSecrets, PLATFORM_KEK } from '../src/provision.ts';
import { enterWithKey, signIn } from '../src/session.ts';
import { ENTRY, type Fixture, fixture } from './fixture.ts';

let f: Fixture;
let elsewhere: Ledger;
beforeAll(async () => {
  const secrets = newSecrets();
  f = await fixture(inject('databaseUrl'), { secrets });
  const { appUrl, keysUrl, queueUrl } = f.database;
  elsewhere = await createLedger({
    appUrl,
    keysUrl,
    queueUrl,
    contextKey: secrets.contextKey,
    jobKey: secrets.jobKey,
    kms: [localKms({ keks: { platform: secrets.platformKek } })],
    kekFor: () => PLATFORM_KEK,
    issuers: [f.provider.issuer],
    apiKeyPepper: secrets.apiKeyPepper,
    storage: directoryStorage({ root: f.objectsDir }),
    admissionMaxAgeMs: 3_600_000,
  });
});
afterAll(async () => {
  await elsewhere?.close();
  await f?.close();
});

/** The code a request of another process ends with, once it does not go through any more. */
const refusal = async (run: () => Promise<unknown>) => {
  const attempt = async () =>
    await run().then(
      () => 'went through',
      (error: { readonly code: string }) => error.code,
    );
  await expect.poll(attempt, { timeout: 20_000 }).not.toBe('went through');
  return await attempt();
};

test('a session that is held elsewhere ends with its revocation here', async () => {
  const sessionId = randomUUID();
  const token = await f.provider.tokenFor(NORTHWIND.bookkeeper.subject, { sessionId });
  const held = await signIn(elsewhere, NORTHWIND.id, token);
  const entry = await postEntry(elsewhere, held, ENTRY);
  await f.ledger.identity.revocations.revokeSession(f.provider.issuer.issuer, sessionId);
  expect(await refusal(() => readEntry(elsewhere, held, entry))).toBe('authz.session_refused');
});

test('a session that is held ends with its token, although it was admitted a moment ago', {
  timeout: 60_000,
}, async () => {
  const token = await f.provider.tokenFor(NORTHWIND.bookkeeper.subject, { lifeMs: 3_000 });
  const held = await signIn(elsewhere, NORTHWIND.id, token);
  const entry = await postEntry(elsewhere, held, ENTRY);
  const admit = vi.spyOn(elsewhere.identity.guard, 'admit');
  expect(await refusal(() => readEntry(elsewhere, held, entry))).toBe('authz.denied');
  expect(admit).not.toHaveBeenCalled(); // so that only the expiry can be what stopped it
  admit.mockRestore();
});

test('a key that was used elsewhere a moment ago ends with its revocation here', async () => {
  const { id, key } = await createKey(f.ledger, f.owner, BANK_FEED);
  const text = key.reveal();
  const use = async () =>
    (await (await enterWithKey(elsewhere, text)).admit()).require('bankLine.import', {
      org: NORTHWIND.id,
      id: 'x',
    });
  await use();
  await revokeKey(f.ledger, f.owner, id);
  expect(await refusal(use)).toBe('authz.key_refused');
});
