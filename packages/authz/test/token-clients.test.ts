/** Access tokens of clients, and with scopes, that the configuration of their issuer does not accept. */
import { afterAll, describe, expect, test } from 'vitest';
import { type AuthzTokenRefusedError, createTokenVerifier, type IssuerConfig } from '../src/session/index.ts';
import { CLIENT, TestClock, TestIssuer } from './session-fixture.ts';

const issuer = await TestIssuer.start();
afterAll(async () => await issuer.close());
const sign = (part: object = {}) => issuer.sign(issuer.access(part));

describe('a verifier that names clients and scopes', () => {
  const verifying = (part: Partial<IssuerConfig>) =>
    createTokenVerifier({ issuers: [{ ...issuer.config, ...part }], ...new TestClock() });
  const ask = async (part: Partial<IssuerConfig>, claim: object) =>
    await verifying(part)
      .verifyAccessToken(await sign(claim))
      .then(
        () => 'accepted',
        (error: AuthzTokenRefusedError) => error.reason,
      );

  test('accepts their tokens, and refuses those of every other client of the issuer', async () => {
    const allowedClients = [CLIENT, 'client-2'];
    for (const [claim, outcome] of [
      [{}, 'accepted'],
      [{ client_id: 'client-2', azp: 'client-2' }, 'accepted'],
      [{ client_id: 'client-3' }, 'client'],
      [{ client_id: 'CLIENT-1' }, 'client'],
      [{ client_id: `${CLIENT} ` }, 'client'],
      [{ client_id: [CLIENT] }, 'claims'],
      [{ azp: 'client-3' }, 'client'],
      [{ client_id: 'client-3', azp: CLIENT }, 'client'],
      [{ azp: 1 }, 'claims'],
      [{ client_id: '' }, 'claims'],
    ] as const) {
      expect([claim, await ask({ allowedClients }, claim)]).toEqual([claim, outcome]);
    }
    expect(await ask({}, { client_id: 'client-3' })).toBe('accepted');
  });

  test('refuses a token that lacks one of the scopes, or has only something like it', async () => {
    const requiredScopes = ['ledger', 'ledger:read'];
    for (const [claim, outcome] of [
      [{ scope: 'ledger ledger:read' }, 'accepted'],
      [{ scope: 'openid ledger:read ledger' }, 'accepted'],
      [{ scope: 'ledger' }, 'scope'],
      [{ scope: 'ledger:read' }, 'scope'],
      [{ scope: 'ledgers ledger:read:all' }, 'scope'],
      [{ scope: 'LEDGER LEDGER:READ' }, 'scope'],
      [{ scope: 'ledger\tledger:read' }, 'scope'],
      [{ scope: '' }, 'scope'],
      [{}, 'scope'],
      [{ scope: ['ledger', 'ledger:read'] }, 'claims'],
      [{ scope: null }, 'claims'],
      [{ scp: ['ledger', 'ledger:read'] }, 'scope'],
    ] as const) {
      expect([claim, await ask({ requiredScopes }, claim)]).toEqual([claim, outcome]);
    }
    expect(await ask({}, { scope: 7 })).toBe('accepted');
  });

  test('answers a missing scope with 403 and insufficient_scope, everything else with 401', async () => {
    const refused = async (part: Partial<IssuerConfig>) =>
      (await verifying(part)
        .verifyAccessToken(await sign())
        .catch((error: unknown) => error)) as AuthzTokenRefusedError;
    const { status, challenge } = await refused({ requiredScopes: ['ledger'] });
    expect({ status, challenge }).toEqual({ status: 403, challenge: 'Bearer error="insufficient_scope"' });
    const client = await refused({ allowedClients: ['client-2'] });
    expect(client).toMatchObject({ status: 401, challenge: 'Bearer error="invalid_token"' });
  });
});
