/** Key Vault provider: official client against a loopback server that speaks the published protocol with real cryptography. */
import type { KeyClientOptions } from '@azure/keyvault-keys';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { azureKeyVault } from '../src/azure-key-vault/index.ts';
import { answeredVersion, parseKeyUrl } from '../src/azure-key-vault/key-url.ts';
import type { KmsProvider } from '../src/kms.ts';
import { type KmsHarness, kmsConformance } from '../src/testing/index.ts';
import { AzureKeyVaultServer, makeCertificate } from './servers/azure-key-vault-server.ts';
import { CONTEXT, expectNoBytes, failureOf, OTHER_ORG, wrapFresh } from './servers/kms-expectations.ts';
import { listenAndReset } from './servers/kms-faults.ts';
import { altered, headerEnd, splice } from './servers/wrap-surgery.ts';

const certificate = makeCertificate();
const openssl = certificate === undefined ? describe.skip : describe;
const credential = {
  getToken: () => Promise.resolve({ token: 'good-token', expiresOnTimestamp: Date.now() + 3_600_000 }),
};

let server: AzureKeyVaultServer;
let name = '';
let kekUri = '';
let kms: KmsProvider;

function providerWith(
  options: { timeoutMs?: number; maxRetries?: number; clientOptions?: KeyClientOptions } = {},
): KmsProvider {
  return azureKeyVault({
    credential,
    timeoutMs: options.timeoutMs ?? 5000,
    clientOptions: {
      disableChallengeResourceVerification: true,
      tlsOptions: { ca: certificate?.cert ?? '' },
      retryOptions: { maxRetries: options.maxRetries ?? 0 },
      ...options.clientOptions,
    },
  });
}

/** Operations that reached the vault with a token, without the 401 round. */
function operations(): string[] {
  return server.requests
    .filter(({ authorized }) => authorized)
    .map(({ method, path }) => (method === 'GET' ? 'get' : (path.split('/').at(-1) ?? '')));
}

beforeAll(async () => {
  if (certificate === undefined) return;
  server = new AzureKeyVaultServer(certificate);
  await server.listen();
  name = server.createKey();
  kms = providerWith();
});
afterAll(async () => {
  await server?.close();
});
beforeEach(() => {
  if (certificate === undefined) return;
  name = server.createKey();
  kekUri = `azure-key-vault:${server.url}/keys/${name}`;
});
afterEach(() => {
  if (certificate === undefined) return;
  server.fault = undefined;
  server.error = undefined;
  server.disabledStillWraps = true;
  server.challengeResource = 'https://vault.azure.net';
  server.requests.length = 0;
});

openssl(
  'Key Vault conformance (needs openssl): official client against a loopback server of the protocol',
  () => {
    for (const { name: sentence, run } of kmsConformance) {
      it(sentence, async () => {
        const harness: KmsHarness = {
          provider: providerWith({ timeoutMs: 1500 }),
          kekUri,
          otherKekUri: `azure-key-vault:${server.url}/keys/${server.createKey()}`,
          disable: () => server.setState(name, 'disabled'),
          enable: () => server.setState(name, 'enabled'),
          scheduleDeletion: () => server.setState(name, 'deleted'),
          destroy: () => server.setState(name, 'purged'),
          deny: () => {
            server.fault = 'denied';
          },
          inject: (fault) => {
            server.fault = fault;
          },
        };
        await run(harness);
      });
    }
  },
);

openssl('Key Vault (needs openssl): what goes to the vault', () => {
  it('wraps in the vault with RSA-OAEP-256, reads the wrap back, and never fetches the public key', async () => {
    const { key, wrapped } = await wrapFresh(kms, kekUri);
    await kms.unwrap(kekUri, wrapped, CONTEXT);
    expect(operations()).toEqual(['wrapkey', 'unwrapkey', 'unwrapkey']);
    for (const { body, authorized } of server.requests) {
      if (authorized) expect(body['alg']).toBe('RSA-OAEP-256');
      expect(JSON.stringify(body)).not.toContain(Buffer.from(key).toString('base64url'));
    }
  });

  it('sends no key material before the vault has shown its challenge', async () => {
    await wrapFresh(providerWith(), kekUri);
    const first = server.requests[0];
    expect(first?.authorized).toBe(false);
    expect(first?.body).toEqual({});
  });

  it('gives the request ids of the vault', async () => {
    const { wrapped, requestId } = await kms.wrap(kekUri, new Uint8Array(32), CONTEXT);
    expect(requestId).toMatch(/^ms-\d+$/);
    expect((await kms.unwrap(kekUri, wrapped, CONTEXT)).requestId).toMatch(/^ms-\d+$/);
  });
});

openssl('Key Vault (needs openssl): key versions', () => {
  it('opens what an older version wrapped, after rotation, by the version pinned in the wrap', async () => {
    const { key, wrapped } = await wrapFresh(kms, kekUri);
    const [old] = server.versionsOf(name);
    server.rotate(name);
    server.requests.length = 0;
    expect((await kms.unwrap(kekUri, wrapped, CONTEXT)).key).toEqual(key);
    expect(server.requests.at(-1)?.path).toBe(`/keys/${name}/${old}/unwrapkey`);
  });

  it('wraps with the newest version where the KEK URI names none, and with the named one where it does', async () => {
    const [old] = server.versionsOf(name);
    const newest = server.rotate(name);
    const { wrapped } = await wrapFresh(kms, kekUri);
    expect(Buffer.from(wrapped).toString('latin1')).toContain(newest);
    const pinned = await wrapFresh(kms, `${kekUri}/${old}`);
    expect(Buffer.from(pinned.wrapped).toString('latin1')).toContain(old);
  });

  it('refuses a wrap of another version than the KEK URI names, without asking the vault', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    const newest = server.rotate(name);
    server.requests.length = 0;
    const error = await failureOf(kms.unwrap(`${kekUri}/${newest}`, wrapped, CONTEXT));
    expect(error.code).toBe('crypto.wrap_tampered');
    expect(server.requests).toHaveLength(0);
  });
});

openssl('Key Vault (needs openssl): forged wraps', () => {
  it('refuses a vault ciphertext exchanged for one of another organisation, digest repaired', async () => {
    const mine = await wrapFresh(kms, kekUri);
    const theirs = await wrapFresh(kms, kekUri, OTHER_ORG);
    const forged = splice(mine.wrapped, theirs.wrapped);
    expect((await failureOf(kms.unwrap(kekUri, forged, CONTEXT))).code).toBe('crypto.wrap_tampered');
  });

  it('refuses a whole wrap under another context although the vault itself binds none', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    for (const other of [OTHER_ORG, { ...CONTEXT, version: 4 }, { ...CONTEXT, app: 'ledge' }]) {
      const error = await failureOf(kms.unwrap(kekUri, wrapped, other));
      expect(error.code).toBe('crypto.wrap_tampered');
      expect(error.details.requestId).toMatch(/^ms-/);
    }
  });

  it('refuses each flipped byte of the sealed key and of the version, digest repaired', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    const sealedAt = headerEnd(wrapped);
    for (const at of [sealedAt, sealedAt + 31, sealedAt + 32, wrapped.length - 9]) {
      const forged = altered(wrapped, (body) => {
        body[at] = (body[at] as number) ^ 1;
        return body;
      });
      expect((await failureOf(kms.unwrap(kekUri, forged, CONTEXT))).code).toBe('crypto.wrap_tampered');
    }
    const otherFormat = altered(wrapped, (body) => body.fill(2, 0, 1));
    expect((await failureOf(kms.unwrap(kekUri, otherFormat, CONTEXT))).code).toBe('crypto.wrap_tampered');
  });

  it('refuses a key version in the wrap that could change the request path', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    const forged = altered(wrapped, (body) => {
      body.write('/../../other/x'.padEnd(32, 'x'), 3, 'latin1');
      return body;
    });
    server.requests.length = 0;
    expect((await failureOf(kms.unwrap(kekUri, forged, CONTEXT))).code).toBe('crypto.wrap_tampered');
    expect(server.requests).toHaveLength(0);
  });
});

openssl('Key Vault (needs openssl): answers that must not be believed', () => {
  it.each([
    ['wrong_key_named', 'crypto.kms_malformed_answer'],
    ['short_key', 'crypto.kms_malformed_answer'],
    ['missing_fields', 'crypto.kms_malformed_answer'],
    ['malformed', 'crypto.kms_malformed_answer'],
    ['other_org_key', 'crypto.wrap_tampered'],
    ['truncated', 'crypto.kms_unavailable'],
    ['gateway_page', 'crypto.kms_unavailable'],
  ] as const)('unwrap rejects %s as %s', async (fault, code) => {
    const { key, wrapped } = await wrapFresh(kms, kekUri);
    server.fault = fault;
    const error = await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT));
    expect(error.code).toBe(code);
    expectNoBytes(error, key);
    expectNoBytes(error, wrapped.subarray(40));
  });

  it.each(['wrong_key_named', 'missing_fields', 'malformed', 'other_org_key'] as const)(
    'wrap rejects %s as a malformed answer: what does not read back is not stored',
    async (fault) => {
      server.fault = fault;
      expect((await failureOf(wrapFresh(kms, kekUri))).code).toBe('crypto.kms_malformed_answer');
    },
  );

  it('describe rejects the answer for another key', async () => {
    server.fault = 'wrong_key_named';
    expect((await failureOf(kms.describe(kekUri))).code).toBe('crypto.kms_malformed_answer');
  });

  it('sends no token to a vault whose challenge names a foreign resource', async () => {
    server.challengeResource = 'https://vault.attacker.example';
    const strict = providerWith({ clientOptions: { disableChallengeResourceVerification: false } });
    const error = await failureOf(wrapFresh(strict, kekUri));
    expect(error.code).toBe('crypto.kms_malformed_answer');
    expect(server.requests.some(({ authorized }) => authorized)).toBe(false);
  });

  it('does not speak to a vault with an untrusted certificate', async () => {
    const untrusting = providerWith({ clientOptions: { tlsOptions: {} } });
    expect((await failureOf(wrapFresh(untrusting, kekUri))).code).toBe('crypto.kms_unavailable');
    expect(server.requests).toHaveLength(0);
  });
});

openssl('Key Vault (needs openssl): failures by name', () => {
  it.each([
    [403, 'Forbidden', 'KeyDisabled', 'crypto.key_revoked'],
    [403, 'Forbidden', 'KeyExpired', 'crypto.key_revoked'],
    [403, 'Forbidden', 'ForbiddenByRbac', 'crypto.key_denied'],
    [403, 'Forbidden', 'ForbiddenByFirewall', 'crypto.key_denied'],
    [403, 'Forbidden', undefined, 'crypto.key_denied'],
    [404, 'KeyNotFound', undefined, 'crypto.key_destroyed'],
    [409, 'Conflict', 'ObjectIsDeletedButRecoverable', 'crypto.key_destroyed'],
    [409, 'Conflict', undefined, 'crypto.kms_unavailable'],
    [400, 'BadParameter', undefined, 'crypto.wrap_tampered'],
    [408, 'RequestTimeout', undefined, 'crypto.kms_unavailable'],
    [418, 'SomethingNew', undefined, 'crypto.key_denied'],
    [429, 'Throttled', undefined, 'crypto.kms_unavailable'],
    [500, 'InternalServerError', undefined, 'crypto.kms_unavailable'],
    [503, 'ServiceUnavailable', undefined, 'crypto.kms_unavailable'],
  ] as const)('HTTP %i %s (%s) is %s, with its request id', async (status, code, inner, expected) => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.error = inner === undefined ? { status, code } : { status, code, inner };
    const error = await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT));
    expect(error.code).toBe(expected);
    expect(error.details.requestId).toMatch(/^ms-\d+$/);
    expect(error.message).not.toContain('as injected');
  });

  it.each([true, false])(
    'a disabled key makes no wrap, whether the vault still wraps (%s) or not',
    async (still) => {
      server.disabledStillWraps = still;
      server.setState(name, 'disabled');
      expect((await failureOf(wrapFresh(kms, kekUri))).code).toBe('crypto.key_revoked');
      expect(await kms.describe(kekUri)).toBe('disabled');
    },
  );

  it('a credential the vault does not take is a denial', async () => {
    const stranger = azureKeyVault({
      credential: {
        getToken: () => Promise.resolve({ token: 'bad', expiresOnTimestamp: Date.now() + 60_000 }),
      },
      clientOptions: {
        disableChallengeResourceVerification: true,
        tlsOptions: { ca: certificate?.cert ?? '' },
      },
    });
    expect((await failureOf(wrapFresh(stranger, kekUri))).code).toBe('crypto.key_denied');
  });

  it('a connection reset and a closed port are unavailable', async () => {
    const listener = await listenAndReset();
    const uri = `azure-key-vault:https://127.0.0.1:${listener.port}/keys/k`;
    expect((await failureOf(wrapFresh(kms, uri))).code).toBe('crypto.kms_unavailable');
    expect(listener.connections()).toBeGreaterThan(0);
    await listener.close();
    expect((await failureOf(wrapFresh(kms, uri))).code).toBe('crypto.kms_unavailable');
  });
});

openssl('Key Vault (needs openssl): the deadline', () => {
  it('holds over all retries of the SDK', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.fault = 'server_error';
    const patient = providerWith({
      timeoutMs: 400,
      clientOptions: { retryOptions: { maxRetries: 50, retryDelayInMs: 60_000 } },
    });
    const error = await failureOf(patient.unwrap(kekUri, wrapped, CONTEXT));
    expect(error.message).toContain('no answer within 400 ms');
  });

  it('holds when the token never arrives', async () => {
    const stuck = azureKeyVault({
      credential: { getToken: () => new Promise(() => undefined) },
      clientOptions: {
        disableChallengeResourceVerification: true,
        tlsOptions: { ca: certificate?.cert ?? '' },
      },
      timeoutMs: 200,
    });
    expect((await failureOf(wrapFresh(stuck, kekUri))).code).toBe('crypto.kms_unavailable');
  });

  it('releases a caller who aborts while the vault is silent', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.fault = 'timeout';
    server.requests.length = 0;
    const abort = new AbortController();
    const call = failureOf(kms.unwrap(kekUri, wrapped, CONTEXT, { signal: abort.signal }));
    await expect.poll(() => server.requests.length).toBeGreaterThan(0);
    abort.abort();
    expect((await call).message).toContain('aborted by the caller');
  });
});

describe('Key Vault: key identifiers', () => {
  const version = '0123456789abcdef0123456789abcdef';

  it.each([
    'azure-key-vault:http://acme.vault.azure.net/keys/k',
    'azure-key-vault:https://acme.vault.azure.net/keys/k/1',
    'azure-key-vault:https://acme.vault.azure.net/keys/k/',
    `azure-key-vault:https://acme.vault.azure.net/keys/k/${version}/x`,
    'azure-key-vault:https://acme.vault.azure.net/secrets/k',
    'azure-key-vault:https://user:pw@acme.vault.azure.net/keys/k',
    'azure-key-vault:https://acme.vault.azure.net/keys/k?x=1',
    'azure-key-vault:k',
  ])('refuses %s as a KEK URI', async (uri) => {
    await expect(azureKeyVault({ credential }).describe(uri)).rejects.toThrow(TypeError);
  });

  it('takes an answer only for the asked vault, key and version', () => {
    const asked = parseKeyUrl(`https://acme.vault.azure.net/keys/Main/${version}`);
    if (asked === undefined) throw new Error('not parsed');
    expect(answeredVersion(asked, `https://acme.vault.azure.net/keys/main/${version}`)).toBe(version);
    expect(answeredVersion(asked, `https://other.vault.azure.net/keys/main/${version}`)).toBeUndefined();
    expect(answeredVersion(asked, `https://acme.vault.azure.net/keys/other/${version}`)).toBeUndefined();
    expect(
      answeredVersion(asked, `https://acme.vault.azure.net/keys/main/${'0'.repeat(32)}`),
    ).toBeUndefined();
    expect(answeredVersion(asked, 'https://acme.vault.azure.net/keys/main')).toBeUndefined();
    expect(answeredVersion(asked, undefined)).toBeUndefined();
  });
});
