/**
 * A sign-in at a certified provider by a certified client, then a step-up by a new authentication, as RFC 9470 describes
 * it.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  acrAtLeast,
  authenticatedWithin,
  definePolicy,
  mfa,
  stepUpChallenge,
  stepUpParameters,
} from '../src/index.ts';
import { createSessionGuard, createTokenVerifier, Revocations } from '../src/session/index.ts';
import { type OpenIdProvider, openIdProvider } from './openid-provider.ts';
import { API, CLIENT, ORG_A } from './session-fixture.ts';

const PASSWORD = 'urn:example:password';
const MFA = 'urn:example:mfa';
const policy = definePolicy({
  resources: { entry: { actions: ['read', 'approve', 'purge'] } },
  roles: ['owner'],
  acrLevels: [PASSWORD, MFA],
  mfaAcr: MFA,
  grants: [
    { id: 'reads', roles: ['owner'], actions: ['entry.read'] },
    { id: 'approves', roles: ['owner'], actions: ['entry.approve'], when: mfa() },
    { id: 'purges', roles: ['owner'], actions: ['entry.purge'], when: acrAtLeast(MFA) },
  ],
  forbids: [
    {
      id: 'fresh',
      actions: ['entry.approve'],
      unless: authenticatedWithin(300_000),
      reason: 'approvals need a recent authentication',
    },
  ],
});

let provider: OpenIdProvider;
beforeAll(async () => {
  const acr = { password: PASSWORD, mfa: MFA };
  provider = await openIdProvider({ audience: API, clientId: CLIENT, subject: 'ada', acr });
});
afterAll(() => provider.close());

test('a sign-in with PKCE gives facts; a step-up by a new authentication turns step_up into allow', async () => {
  const { issuer, jwksUri } = provider;
  const revocations = new Revocations();
  const verifier = createTokenVerifier({
    issuers: [
      {
        issuer,
        jwksUri,
        algorithms: ['ES256'],
        audience: API,
        clientId: CLIENT,
        maxTokenAgeMs: 3_600_000,
        connection: { id: 'conn-a' },
      },
    ],
    revocations,
  });
  const guard = createSessionGuard({
    directory: {
      connectionOrg: async () => ORG_A,
      assurance: async () => ({ plan: 'enterprise', ssoProven: true }),
      member: async () => ({ id: 'user:ada', roles: ['owner'] as const }),
    },
    revocations,
  });

  const weak = await provider.signIn();
  const context = await guard.admit(await verifier.verifyAccessToken(weak.accessToken), ORG_A);
  expect(context.session).toMatchObject({ mfa: false, acr: PASSWORD, ssoConnection: 'conn-a' });
  expect(policy.authorize(context, 'entry.read', { org: ORG_A }).effect).toBe('allow');
  const decision = policy.authorize(context, 'entry.approve', { org: ORG_A });
  if (decision.effect !== 'step_up') throw new Error(`not a step-up: ${decision.reason}`);
  expect(stepUpChallenge(decision)).toContain(`acr_values="${MFA}"`);

  expect(provider.prompts()).toBe(1);
  const strong = await provider.signIn({ ...stepUpParameters(decision.stepUp), prompt: 'login' });
  expect(provider.prompts()).toBe(2);
  const stepped = await guard.admit(await verifier.verifyAccessToken(strong.accessToken), ORG_A);
  expect(stepped.session).toMatchObject({ mfa: true, acr: MFA });
  expect(policy.authorize(stepped, 'entry.approve', { org: ORG_A }).effect).toBe('allow');
  expect(policy.authorize(stepped, 'entry.purge', { org: ORG_A }).effect).toBe('allow');

  const session = await verifier.verifyIdToken(strong.idToken, { nonce: strong.nonce });
  expect((await guard.admit(session, ORG_A)).session).toMatchObject({ mfa: true });
  await expect(verifier.verifyIdToken(strong.idToken, { nonce: weak.nonce })).rejects.toMatchObject({
    reason: 'nonce',
  });
  await expect(verifier.verifyAccessToken(strong.idToken)).rejects.toMatchObject({ reason: 'type' });
  await expect(verifier.verifyIdToken(strong.accessToken, strong)).rejects.toMatchObject({ reason: 'type' });

  await revocations.revokeSubject(issuer, 'ada');
  await expect(verifier.verifyAccessToken(strong.accessToken)).rejects.toMatchObject({ reason: 'revoked' });
});
