/** A certified OpenID provider in front of the ledger: sign-in, and the step-up that a refusal asks for. */
import { AuthzStepUpRequiredError, stepUpParameters } from '@ringfence/authz';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type OpenIdProvider, openIdProvider } from '../../../packages/authz/test/openid-provider.ts';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { AUDIENCE } from '../src/demo/identity-provider.ts';
import { approveEntry, postEntry, readEntry } from '../src/entries.ts';
import { MFA_ACR, PASSWORD_ACR } from '../src/policy.ts';
import { IRONBRIDGE, NORTHWIND, type Provisioned, provision } from '../src/provision.ts';
import { signIn } from '../src/session.ts';
import { ENTRY } from './fixture.ts';

let provider: OpenIdProvider;
let database: TestDatabase;
let app: Provisioned;
beforeAll(async () => {
  provider = await openIdProvider({
    audience: AUDIENCE,
    clientId: 'ledger-web',
    subject: NORTHWIND.controller.subject,
    acr: { password: PASSWORD_ACR, mfa: MFA_ACR },
  });
  database = await createTestDatabase(inject('databaseUrl'), 'ledger');
  const { issuer, jwksUri } = provider;
  app = await provision(database, {
    issuer: { issuer, jwksUri, algorithms: ['ES256'], audience: AUDIENCE, maxTokenAgeMs: 300_000 },
  });
});
afterAll(async () => {
  await app?.close();
  await database?.drop();
  provider?.close();
});

test('a member signs in at a certified provider, is asked to step up, does, and approves', async () => {
  const { ledger } = app;
  const hint = { login_hint: NORTHWIND.bookkeeper.subject };
  const bea = await signIn(ledger, NORTHWIND.id, (await provider.signIn(hint)).accessToken);
  const entry = await postEntry(ledger, bea, ENTRY);

  const weak = await provider.signIn({ prompt: 'login' });
  const carlos = await signIn(ledger, NORTHWIND.id, weak.accessToken);
  expect(carlos.actor).toBe(`user:${NORTHWIND.controller.userId}`);
  const refusal: unknown = await approveEntry(ledger, carlos, entry, 'fine').catch((error: unknown) => error);
  if (!(refusal instanceof AuthzStepUpRequiredError)) throw refusal;
  expect(refusal.decision.stepUp).toEqual({ acrValues: [MFA_ACR], mfa: true, sso: false });

  const parameters = stepUpParameters(refusal.decision.stepUp);
  const strong = await provider.signIn({ ...parameters, prompt: 'login' });
  expect(provider.prompts()).toBe(3);
  const stepped = await signIn(ledger, NORTHWIND.id, strong.accessToken);
  await approveEntry(ledger, stepped, entry, 'matches the contract');
  expect(await readEntry(ledger, carlos, entry)).toMatchObject({ approvedBy: stepped.actor });
});

test('an ID token opens nothing, and an access token only the organisation of its subject', async () => {
  const { idToken, accessToken } = await provider.signIn({ prompt: 'login' });
  const withIdToken = signIn(app.ledger, NORTHWIND.id, idToken);
  await expect(withIdToken).rejects.toMatchObject({ code: 'authz.token_refused', reason: 'type' });
  const elsewhere = signIn(app.ledger, IRONBRIDGE.id, accessToken);
  await expect(elsewhere).rejects.toMatchObject({ code: 'authz.session_refused', reason: 'member' });
});
