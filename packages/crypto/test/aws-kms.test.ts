/** AWS KMS provider: official client against a loopback server that speaks the published protocol with real cryptography. */
import { KMSClient } from '@aws-sdk/client-kms';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { awsKms } from '../src/aws-kms/index.ts';
import { isSameKey, parseKeyArn } from '../src/aws-kms/key-arn.ts';
import type { KmsProvider } from '../src/kms.ts';
import { type KmsHarness, kmsConformance } from '../src/testing/index.ts';
import { AwsKmsServer } from './servers/aws-kms-server.ts';
import { CONTEXT, expectNoBytes, failureOf, OTHER_ORG, wrapFresh } from './servers/kms-expectations.ts';
import { listenAndReset } from './servers/kms-faults.ts';
import { splice } from './servers/wrap-surgery.ts';

const server = new AwsKmsServer();
const clients = new Map<string, KMSClient>();
let endpoint = '';
let arn = '';
let kekUri = '';
let kms: KmsProvider;

function clientOf(region: string, to = endpoint): KMSClient {
  const id = `${region} ${to}`;
  const client =
    clients.get(id) ??
    new KMSClient({
      region,
      endpoint: to,
      maxAttempts: 1,
      credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
    });
  clients.set(id, client);
  return client;
}

beforeAll(async () => {
  endpoint = await server.listen();
});
afterAll(async () => {
  for (const client of clients.values()) client.destroy();
  await server.close();
});
beforeEach(() => {
  arn = server.createKey('eu-central-1');
  kekUri = `aws-kms:${arn}`;
  kms = awsKms({ client: clientOf('eu-central-1'), timeoutMs: 5000 });
});
afterEach(() => {
  server.fault = undefined;
  server.exception = undefined;
  server.requests.length = 0;
});

describe('AWS KMS conformance: official client against a loopback server of the published protocol', () => {
  for (const { name, run } of kmsConformance) {
    it(name, async () => {
      const harness: KmsHarness = {
        provider: awsKms({ client: clientOf('eu-central-1'), timeoutMs: 1000 }),
        kekUri,
        otherKekUri: `aws-kms:${server.createKey('eu-central-1')}`,
        disable: () => server.setState(arn, 'Disabled'),
        enable: () => server.setState(arn, 'Enabled'),
        scheduleDeletion: () => server.setState(arn, 'PendingDeletion'),
        destroy: () => server.destroy(arn),
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
});

describe('AWS KMS: what goes to the service', () => {
  it('sends the whole wrap context as encryption context and names the key on Decrypt too', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    await kms.unwrap(kekUri, wrapped, CONTEXT);
    const [encrypt, decrypt] = server.requests;
    for (const request of [encrypt, decrypt]) {
      expect(request?.body['KeyId']).toBe(arn);
      expect(request?.body['EncryptionContext']).toEqual({
        app: CONTEXT.app,
        org: CONTEXT.org,
        key_id: CONTEXT.keyId,
        version: '3',
        purpose: 'dek',
      });
    }
    expect([encrypt?.operation, decrypt?.operation]).toEqual(['Encrypt', 'Decrypt']);
  });

  it('never shows the data key to the service', async () => {
    const { key } = await wrapFresh(kms, kekUri);
    expect(JSON.stringify(server.requests)).not.toContain(Buffer.from(key).toString('base64'));
  });

  it('gives the request ids of both calls', async () => {
    const { wrapped, requestId } = await kms.wrap(kekUri, new Uint8Array(32), CONTEXT);
    expect(requestId).toBe('req-1');
    expect((await kms.unwrap(kekUri, wrapped, CONTEXT)).requestId).toBe('req-2');
  });

  it('makes one request per call when all is well', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    await kms.unwrap(kekUri, wrapped, CONTEXT);
    await kms.describe(kekUri);
    expect(server.requests.map(({ operation }) => operation)).toEqual(['Encrypt', 'Decrypt', 'DescribeKey']);
  });
});

describe('AWS KMS: answers that must not be believed', () => {
  it.each([
    ['wrong_key_named', 'crypto.kms_malformed_answer'],
    ['short_key', 'crypto.kms_malformed_answer'],
    ['missing_fields', 'crypto.kms_malformed_answer'],
    ['malformed', 'crypto.kms_malformed_answer'],
    ['other_org_key', 'crypto.wrap_tampered'],
  ] as const)('unwrap rejects %s as %s', async (fault, code) => {
    const { key, wrapped } = await wrapFresh(kms, kekUri);
    server.fault = fault;
    const error = await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT));
    expect(error.code).toBe(code);
    expectNoBytes(error, key);
    expectNoBytes(error, wrapped.subarray(3));
  });

  it.each(['wrong_key_named', 'missing_fields', 'malformed'] as const)(
    'wrap rejects %s as a malformed answer',
    async (fault) => {
      server.fault = fault;
      expect((await failureOf(wrapFresh(kms, kekUri))).code).toBe('crypto.kms_malformed_answer');
    },
  );

  it('reports a page of a gateway in between as unavailable', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.fault = 'gateway_page';
    expect((await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.kms_unavailable');
  });

  it('reports an answer cut in the middle as unavailable, since the connection broke', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.fault = 'truncated';
    expect((await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.kms_unavailable');
  });

  it('refuses a wrap whose KMS blob was exchanged for one of another organisation, digest repaired', async () => {
    const mine = await wrapFresh(kms, kekUri);
    const theirs = await wrapFresh(kms, kekUri, OTHER_ORG);
    const forged = splice(mine.wrapped, theirs.wrapped);
    expect((await failureOf(kms.unwrap(kekUri, forged, CONTEXT))).code).toBe('crypto.wrap_tampered');
  });
});

describe('AWS KMS: failures by name', () => {
  it.each([
    ['DisabledException', 400, 'crypto.key_revoked'],
    ['NotFoundException', 400, 'crypto.key_destroyed'],
    ['AccessDeniedException', 400, 'crypto.key_denied'],
    ['UnrecognizedClientException', 400, 'crypto.key_denied'],
    ['InvalidKeyUsageException', 400, 'crypto.key_denied'],
    ['InvalidGrantTokenException', 400, 'crypto.key_denied'],
    ['SomethingNewException', 400, 'crypto.key_denied'],
    ['InvalidCiphertextException', 400, 'crypto.wrap_tampered'],
    ['IncorrectKeyException', 400, 'crypto.wrap_tampered'],
    ['ThrottlingException', 400, 'crypto.kms_unavailable'],
    ['LimitExceededException', 400, 'crypto.kms_unavailable'],
    ['ExpiredTokenException', 400, 'crypto.kms_unavailable'],
    ['DependencyTimeoutException', 503, 'crypto.kms_unavailable'],
    ['KeyUnavailableException', 500, 'crypto.kms_unavailable'],
    ['KMSInternalException', 500, 'crypto.kms_unavailable'],
    ['SomethingNewException', 502, 'crypto.kms_unavailable'],
    ['constructor', 400, 'crypto.key_denied'],
  ] as const)('%s with HTTP %i is %s, with its request id', async (type, status, code) => {
    const { key, wrapped } = await wrapFresh(kms, kekUri);
    server.exception = { type, status, message: `for ${Buffer.from(key).toString('base64')}` };
    const error = await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT));
    expect(error.code).toBe(code);
    expect(error.details).toEqual({ org: CONTEXT.org, keyId: CONTEXT.keyId, kekUri, requestId: 'req-2' });
    expectNoBytes(error, key);
  });

  it.each([
    ['PendingDeletion', 'crypto.key_destroyed', 'pending_deletion'],
    ['PendingImport', 'crypto.key_revoked', 'disabled'],
    ['Unavailable', 'crypto.kms_unavailable', undefined],
  ] as const)('a key in state %s is %s', async (state, code, described) => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.setState(arn, state);
    expect((await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT))).code).toBe(code);
    expect((await failureOf(wrapFresh(kms, kekUri))).code).toBe(code);
    if (described === undefined) expect((await failureOf(kms.describe(kekUri))).code).toBe(code);
    else expect(await kms.describe(kekUri)).toBe(described);
  });

  it('a connection reset and a closed port are unavailable', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    const listener = await listenAndReset();
    const cut = awsKms({ client: clientOf('eu-central-1', `http://127.0.0.1:${listener.port}`) });
    expect((await failureOf(cut.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.kms_unavailable');
    expect(listener.connections()).toBeGreaterThan(0);
    await listener.close();
    expect((await failureOf(cut.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.kms_unavailable');
  });

  it('credentials that cannot be loaded are unavailable, not a denial by the owner', async () => {
    const client = new KMSClient({
      region: 'eu-central-1',
      endpoint,
      credentials: () => {
        throw Object.assign(new Error('no metadata service'), { name: 'CredentialsProviderError' });
      },
    });
    const { code } = await failureOf(
      awsKms({ client }).unwrap(kekUri, (await wrapFresh(kms, kekUri)).wrapped, CONTEXT),
    );
    expect(code).toBe('crypto.kms_unavailable');
    client.destroy();
  });
});

describe('AWS KMS: the deadline', () => {
  it('holds over all retries of the SDK', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.fault = 'timeout';
    const client = new KMSClient({
      region: 'eu-central-1',
      endpoint,
      maxAttempts: 10,
      credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
    });
    const error = await failureOf(awsKms({ client, timeoutMs: 200 }).unwrap(kekUri, wrapped, CONTEXT));
    expect(error.message).toContain('no answer within 200 ms');
    client.destroy();
  });

  it('holds when credentials never arrive', async () => {
    const client = new KMSClient({
      region: 'eu-central-1',
      endpoint,
      credentials: () => new Promise(() => undefined),
    });
    const error = await failureOf(awsKms({ client, timeoutMs: 100 }).describe(kekUri));
    expect(error.code).toBe('crypto.kms_unavailable');
    client.destroy();
  });

  it('releases a caller who aborts while the service is silent', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.fault = 'timeout';
    const abort = new AbortController();
    const call = failureOf(kms.unwrap(kekUri, wrapped, CONTEXT, { signal: abort.signal }));
    await expect.poll(() => server.requests.length).toBe(2);
    abort.abort();
    expect((await call).message).toContain('aborted by the caller');
  });

  it('sends nothing for a caller who has aborted before', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT, { signal: AbortSignal.abort() }));
    expect(server.requests).toHaveLength(1);
  });
});

describe('AWS KMS: multi-Region keys', () => {
  it('a wrap made in one Region opens under the replica in another', async () => {
    const primary = server.createKey('eu-central-1', true);
    const replica = server.replicate(primary, 'eu-west-1');
    const everywhere = awsKms({ client: ({ region }) => clientOf(region) });
    const { key, wrapped } = await wrapFresh(everywhere, `aws-kms:${primary}`);
    server.setState(primary, 'Disabled');
    const opened = await everywhere.unwrap(`aws-kms:${replica}`, wrapped, CONTEXT);
    expect(opened.key).toEqual(key);
    expect(server.requests.at(-1)).toMatchObject({ region: 'eu-west-1', body: { KeyId: replica } });
  });

  it('a single-Region key of the same id in another account or Region is another key', () => {
    const id = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60';
    const asked = parseKeyArn(`arn:aws:kms:eu-central-1:111122223333:key/${id}`);
    const multi = parseKeyArn(`arn:aws:kms:eu-central-1:111122223333:key/mrk-${'0'.repeat(32)}`);
    if (asked === undefined || multi === undefined) throw new Error('not parsed');
    expect(isSameKey(asked, `arn:aws:kms:eu-west-1:111122223333:key/${id}`)).toBe(false);
    expect(isSameKey(multi, `arn:aws:kms:eu-west-1:111122223333:key/mrk-${'0'.repeat(32)}`)).toBe(true);
    expect(isSameKey(multi, `arn:aws:kms:eu-west-1:444455556666:key/mrk-${'0'.repeat(32)}`)).toBe(false);
    expect(isSameKey(multi, `arn:aws:kms:eu-west-1:111122223333:key/mrk-${'1'.repeat(32)}`)).toBe(false);
    expect(isSameKey(multi, undefined)).toBe(false);
  });
});

describe('AWS KMS: misuse', () => {
  it.each([
    'aws-kms:arn:aws:kms:eu-central-1:111122223333:alias/customer',
    'aws-kms:mrk-00000000000000000000000000000000',
    'aws-kms:',
    'gcp-kms:projects/p/locations/l/keyRings/r/cryptoKeys/k',
  ])('refuses %s as a KEK URI before any request', async (uri) => {
    await expect(kms.wrap(uri, new Uint8Array(32), CONTEXT)).rejects.toThrow(TypeError);
    expect(server.requests).toHaveLength(0);
  });

  it('refuses a client of another Region, which would make a living key look destroyed', async () => {
    const elsewhere = awsKms({ client: clientOf('us-east-1') });
    await expect(elsewhere.wrap(kekUri, new Uint8Array(32), CONTEXT)).rejects.toThrow(
      /not of the key's Region/,
    );
    expect(server.requests).toHaveLength(0);
  });

  it('refuses keys that are not 32 bytes, versions that are no counter, and senseless time-outs', async () => {
    await expect(kms.wrap(kekUri, new Uint8Array(16), CONTEXT)).rejects.toThrow(TypeError);
    await expect(kms.wrap(kekUri, new Uint8Array(32), { ...CONTEXT, version: 0 })).rejects.toThrow(TypeError);
    expect(() => awsKms({ client: clientOf('eu-central-1'), timeoutMs: 0 })).toThrow(TypeError);
  });
});
