/** Cloud KMS provider: official client against a loopback server that speaks the published protocol with real cryptography. */
import { KeyManagementServiceClient } from '@google-cloud/kms';
import * as grpc from '@grpc/grpc-js';
import { GoogleAuth, googleAuthLibrary } from 'google-gax';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { crc32c } from '../src/gcp-kms/crc32c.ts';
import { classifyGcpError } from '../src/gcp-kms/gcp-errors.ts';
import { gcpKms } from '../src/gcp-kms/index.ts';
import type { KmsProvider } from '../src/kms.ts';
import { type KmsHarness, kmsConformance } from '../src/testing/index.ts';
import { GcpKmsServer } from './servers/gcp-kms-server.ts';
import { CONTEXT, expectNoBytes, failureOf, OTHER_ORG, wrapFresh } from './servers/kms-expectations.ts';
import { listenAndReset } from './servers/kms-faults.ts';
import { splice } from './servers/wrap-surgery.ts';

const server = new GcpKmsServer();
let client: KeyManagementServiceClient;
let name = '';
let kekUri = '';
let kms: KmsProvider;

function clientAt(port: number): KeyManagementServiceClient {
  return new KeyManagementServiceClient({
    apiEndpoint: '127.0.0.1',
    port,
    projectId: 'saas',
    // Given so that the client does not look for a metadata service; the server asks for no token.
    auth: new GoogleAuth({ authClient: new googleAuthLibrary.PassThroughClient() }),
    sslCreds: grpc.credentials.createInsecure(),
  });
}

beforeAll(async () => {
  client = clientAt(await server.listen());
});
afterAll(async () => {
  await client.close();
  server.close();
});
beforeEach(() => {
  name = server.createKey();
  kekUri = `gcp-kms:${name}`;
  kms = gcpKms({ client, timeoutMs: 5000 });
});
afterEach(() => {
  server.fault = undefined;
  server.status = undefined;
  server.requests.length = 0;
});

describe('Cloud KMS conformance: official client against a loopback server of the published protocol', () => {
  for (const { name: sentence, run } of kmsConformance) {
    it(sentence, async () => {
      const harness: KmsHarness = {
        provider: gcpKms({ client, timeoutMs: 1000 }),
        kekUri,
        otherKekUri: `gcp-kms:${server.createKey()}`,
        disable: () => server.setState(name, 'DISABLED'),
        enable: () => server.setState(name, 'ENABLED'),
        scheduleDeletion: () => server.setState(name, 'DESTROY_SCHEDULED'),
        destroy: () => server.setState(name, 'DESTROYED'),
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

describe('Cloud KMS: what goes to the service', () => {
  it('sends the wrap context as authenticated data, all checksums, and the routing header', async () => {
    const { key, wrapped } = await wrapFresh(kms, kekUri);
    await kms.unwrap(kekUri, wrapped, CONTEXT);
    expect(server.requests.map(({ method }) => method)).toEqual(['encrypt', 'decrypt']);
    for (const { request, routing } of server.requests) {
      const sent = Buffer.from(request['additionalAuthenticatedData'] as Uint8Array).toString('latin1');
      for (const part of [CONTEXT.app, CONTEXT.org, CONTEXT.keyId, CONTEXT.purpose])
        expect(sent).toContain(part);
      expect(request['additionalAuthenticatedDataCrc32c']).not.toBeNull();
      expect(decodeURIComponent(routing)).toBe(`name=${name}`);
      expect(JSON.stringify(request)).not.toContain(JSON.stringify(Buffer.from(key)));
    }
  });

  it('opens what an older version of the KEK wrapped, after rotation', async () => {
    const { key, wrapped } = await wrapFresh(kms, kekUri);
    server.rotate(name);
    expect((await kms.unwrap(kekUri, wrapped, CONTEXT)).key).toEqual(key);
  });
});

describe('Cloud KMS: answers that must not be believed', () => {
  it.each([
    ['wrong_crc', 'crypto.kms_malformed_answer'],
    ['missing_crc', 'crypto.kms_malformed_answer'],
    ['truncated', 'crypto.kms_malformed_answer'],
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
  });

  it.each([
    'wrong_crc',
    'missing_crc',
    'truncated',
    'missing_fields',
    'malformed',
    'wrong_key_named',
    'plaintext_unverified',
    'context_unverified',
  ] as const)('wrap rejects %s as a malformed answer', async (fault) => {
    server.fault = fault;
    expect((await failureOf(wrapFresh(kms, kekUri))).code).toBe('crypto.kms_malformed_answer');
  });

  it('describe rejects the answer for another key', async () => {
    server.fault = 'wrong_key_named';
    expect((await failureOf(kms.describe(kekUri))).code).toBe('crypto.kms_malformed_answer');
  });

  it('refuses a wrap whose KMS ciphertext was exchanged for one of another organisation, digest repaired', async () => {
    const mine = await wrapFresh(kms, kekUri);
    const theirs = await wrapFresh(kms, kekUri, OTHER_ORG);
    const forged = splice(mine.wrapped, theirs.wrapped);
    expect((await failureOf(kms.unwrap(kekUri, forged, CONTEXT))).code).toBe('crypto.wrap_tampered');
  });
});

describe('Cloud KMS: failures by status', () => {
  it.each([
    ['FAILED_PRECONDITION', 'k is not enabled, current state is: DISABLED.', 'crypto.key_revoked'],
    ['FAILED_PRECONDITION', 'k is not enabled, current state is: DESTROYED.', 'crypto.key_destroyed'],
    ['FAILED_PRECONDITION', 'k is not enabled, current state is: DESTROY_SCHEDULED.', 'crypto.key_destroyed'],
    [
      'FAILED_PRECONDITION',
      'k is not enabled, current state is: PENDING_GENERATION.',
      'crypto.kms_unavailable',
    ],
    ['FAILED_PRECONDITION', 'the key has no primary version', 'crypto.key_revoked'],
    ['NOT_FOUND', 'CryptoKey k not found.', 'crypto.key_destroyed'],
    ['PERMISSION_DENIED', 'Permission useToDecrypt denied', 'crypto.key_denied'],
    ['UNAUTHENTICATED', 'no credentials', 'crypto.key_denied'],
    ['INVALID_ARGUMENT', 'Decryption failed', 'crypto.wrap_tampered'],
    ['INVALID_ARGUMENT', 'The checksum in field ciphertext_crc32c did not match', 'crypto.kms_unavailable'],
    ['RESOURCE_EXHAUSTED', 'quota', 'crypto.kms_unavailable'],
    ['INTERNAL', 'oops', 'crypto.kms_unavailable'],
    ['UNKNOWN', 'oops', 'crypto.kms_unavailable'],
    ['ABORTED', 'oops', 'crypto.kms_unavailable'],
    ['UNAVAILABLE', 'oops', 'crypto.kms_unavailable'],
    ['UNIMPLEMENTED', 'oops', 'crypto.kms_malformed_answer'],
    ['DATA_LOSS', 'oops', 'crypto.kms_malformed_answer'],
  ] as const)('%s "%s" is %s', async (status, message, code) => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.status = { code: grpc.status[status], message };
    const error = await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT));
    expect(error.code).toBe(code);
    expect(error.message).toContain(status === 'UNAVAILABLE' ? 'Cloud KMS' : status);
    expect(error.message).not.toContain(message);
    expect(error.details).toMatchObject({ org: CONTEXT.org, keyId: CONTEXT.keyId, kekUri });
  });

  it('a key name that never existed is destroyed', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.remove(name);
    expect((await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.key_destroyed');
    expect(await kms.describe(kekUri)).toBe('destroyed');
  });

  it('passes on the request id where the service attaches one', () => {
    const error = { code: 7, message: 'x', statusDetails: [{ requestId: 'abc-1' }] };
    expect(classifyGcpError(error, 'unwrap').requestId).toBe('abc-1');
  });

  it('retries an unavailable service within the call, three attempts at most', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.requests.length = 0;
    server.status = { code: grpc.status.UNAVAILABLE, message: 'down' };
    expect((await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.kms_unavailable');
    expect(server.requests).toHaveLength(3);
  });

  it('a connection reset and a closed port are unavailable', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    const listener = await listenAndReset();
    const cutClient = clientAt(listener.port);
    const cut = gcpKms({ client: cutClient, timeoutMs: 1000 });
    expect((await failureOf(cut.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.kms_unavailable');
    expect(listener.connections()).toBeGreaterThan(0);
    await listener.close();
    expect((await failureOf(cut.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.kms_unavailable');
    await cutClient.close();
  });
});

describe('Cloud KMS: the deadline', () => {
  it('ends a call the service never answers', async () => {
    const { wrapped } = await wrapFresh(kms, kekUri);
    server.fault = 'timeout';
    const error = await failureOf(gcpKms({ client, timeoutMs: 200 }).unwrap(kekUri, wrapped, CONTEXT));
    expect(error.code).toBe('crypto.kms_unavailable');
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
});

describe('Cloud KMS: misuse', () => {
  it.each([
    'gcp-kms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1',
    'gcp-kms:projects/p/locations/l/keyRings/r',
    'gcp-kms:projects/p/locations/l/keyRings/../cryptoKeys/k',
    'aws-kms:arn:aws:kms:eu-central-1:111122223333:key/x',
  ])('refuses %s as a KEK URI before any request', async (uri) => {
    await expect(kms.wrap(uri, new Uint8Array(32), CONTEXT)).rejects.toThrow(TypeError);
    expect(server.requests).toHaveLength(0);
  });
});

describe('CRC-32C', () => {
  it.each([
    ['32 bytes of zeroes', new Uint8Array(32), 0x8a9136aa],
    ['32 bytes of ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['32 bytes counting up', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ['32 bytes counting down', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    [
      'an iSCSI SCSI Read (10) command PDU',
      Buffer.from(
        '01c00000000000000000000000000000140000000000040000000014000000182800000000000000' +
          '0200000000000000',
        'hex',
      ),
      0xd9963a56,
    ],
    ['no bytes', new Uint8Array(0), 0],
    ['the check string 123456789', Buffer.from('123456789'), 0xe3069283],
  ] as const)('of %s matches RFC 3720 appendix B.4', (_name, bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected);
  });
});
