/**
 * A certified provider and a certified client, on loopback: authorization code flow with PKCE. A person authenticates as
 * strongly as they are asked to. The provider puts `auth_time` into an ID token only for `max_age`, `acr` only when asked
 * for, and `amr` only through the claims parameter.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';
import * as client from 'openid-client';

const CALLBACK = 'http://127.0.0.1/callback';

/** Whom the provider serves. */
export interface OpenIdOptions {
  /** Audience of access tokens. */
  readonly audience: string;
  readonly clientId: string;
  /** Who signs in, unless `login_hint` names somebody. */
  readonly subject: string;
  /** Context class of a password, and of more than one factor. */
  readonly acr: { readonly password: string; readonly mfa: string };
}

/** What a sign-in ends with. */
export interface OpenIdTokens {
  readonly idToken: string;
  readonly accessToken: string;
  readonly nonce: string;
}

/** A provider and its client. */
export interface OpenIdProvider {
  readonly issuer: string;
  readonly jwksUri: string;
  /** How many times the person was asked to authenticate. */
  prompts(): number;
  /** Signs the person in, with parameters of the authentication request. */
  signIn(parameters?: { readonly login_hint?: string; readonly prompt?: string }): Promise<OpenIdTokens>;
  close(): void;
}

/** Starts a provider. */
export async function openIdProvider(options: OpenIdOptions): Promise<OpenIdProvider> {
  const { audience, clientId, subject, acr } = options;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: 'op-1' }] },
    cookies: { keys: ['a key of the test'] },
    clients: [
      {
        client_id: clientId,
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        id_token_signed_response_alg: 'ES256',
        redirect_uris: [CALLBACK],
      },
    ],
    acrValues: [acr.password, acr.mfa],
    claims: { openid: ['sub'], acr: null, amr: null, auth_time: null },
    interactions: { url: () => '/interaction' },
    features: {
      devInteractions: { enabled: false },
      claimsParameter: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'ledger',
          audience,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    ttl: { Session: 3_600, Interaction: 600, Grant: 3_600, IdToken: 300, AccessToken: 300 },
    findAccount: (_: unknown, sub: string) => ({ accountId: sub, claims: () => ({ sub }) }),
    extraTokenClaims: (context: {
      oidc: { entities: { AuthorizationCode: { acr?: string; amr?: string[]; authTime?: number } } };
    }) => {
      const { acr, amr, authTime } = context.oidc.entities.AuthorizationCode;
      return { acr, amr, auth_time: authTime };
    },
    loadExistingGrant: async (context: { oidc: { session: { accountId: string } } }) => {
      const { accountId } = context.oidc.session;
      const grant = new provider.Grant({ accountId, clientId });
      grant.addOIDCScope('openid');
      grant.addResourceScope(audience, 'ledger');
      await grant.save();
      return grant;
    },
  });
  let prompts = 0;
  /** The person and the provider's pages: authenticates as strongly as asked for, and consents. */
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { params, prompt } = await provider.interactionDetails(request, response);
    if (prompt.name === 'consent')
      return await provider.interactionFinished(request, response, { consent: {} });
    prompts += 1;
    const strong = params.acr_values?.split(' ').includes(acr.mfa) === true;
    const login = {
      accountId: params.login_hint ?? subject,
      acr: strong ? acr.mfa : acr.password,
      amr: strong ? ['pwd', 'otp', 'mfa'] : ['pwd'],
    };
    await provider.interactionFinished(request, response, { login });
  };
  const handle = provider.callback();
  server.on('request', (request, response) => {
    if (!request.url?.startsWith('/interaction')) return void handle(request, response);
    answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  const config = await client.discovery(new URL(issuer), clientId, undefined, client.None(), {
    execute: [client.allowInsecureRequests],
  });
  /** Everybody has a browser of their own. */
  const jars = new Map<string, Map<string, string>>();
  return {
    issuer,
    jwksUri: `${issuer}/jwks`,
    prompts: () => prompts,
    signIn: async (parameters = {}) => {
      const { login_hint = subject } = parameters;
      const jar = jars.get(login_hint) ?? new Map<string, string>();
      jars.set(login_hint, jar);
      return await signIn(config, jar, parameters);
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function signIn(
  config: client.Configuration,
  jar: Map<string, string>,
  parameters: object,
): Promise<OpenIdTokens> {
  const verifier = client.randomPKCECodeVerifier();
  const nonce = client.randomNonce();
  const state = client.randomState();
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK,
    scope: 'openid ledger',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    claims: JSON.stringify({ id_token: { amr: null, auth_time: null } }),
    nonce,
    state,
    ...parameters,
  });
  const tokens = await client.authorizationCodeGrant(config, await browse(url, jar), {
    pkceCodeVerifier: verifier,
    expectedNonce: nonce,
    expectedState: state,
  });
  return { idToken: tokens.id_token ?? '', accessToken: tokens.access_token, nonce };
}

/** A browser with a cookie jar, as far as the redirect to the client. */
async function browse(start: URL, jar: Map<string, string>): Promise<URL> {
  let url = start;
  for (let hop = 0; !url.href.startsWith(CALLBACK); hop += 1) {
    if (hop === 20) throw new Error(`redirected in circles, last to ${url}`);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '') jar.delete(name);
      else jar.set(name, value);
    }
    const location = response.headers.get('location');
    if (location === null) throw new Error(`${response.status}: ${await response.text()}`);
    url = new URL(location, url);
  }
  return url;
}
