/**
 * The S3 guard against a loopback server that speaks the protocol and fails in ways a real one cannot be made to. What the
 * guard and a real server do together is tested on Ceph (`integration/storage-guard.integration.test.ts`).
 */
import { Agent, createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { STSClient } from '@aws-sdk/client-sts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createOrgStorage, type OrgStorageOptions } from '../src/s3/index.ts';
import {
  type ObjectInfo,
  type ObjectStorage,
  parseOrgId,
  RingfenceTenancyError,
} from '../src/storage/index.ts';

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const OTHER = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');
const BYTES = new TextEncoder().encode('one');
const MIB = 1024 * 1024;

type Answer = (response: ServerResponse, request: IncomingMessage) => void;
let server: Server;
let endpoint: string;
let sts: STSClient;
let storage: ObjectStorage;
let seen: string[];
let answer: Answer;
let session: Answer;

const xml =
  (status: number, body: string): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/xml' }).end(body);
const failing = (status: number, code: string) =>
  xml(status, `<Error><Code>${code}</Code><Message>m</Message></Error>`);
const sessionAnswer = (expires: string): Answer =>
  xml(
    200,
    `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>K</AccessKeyId><SecretAccessKey>S</SecretAccessKey>
     <SessionToken>T</SessionToken><Expiration>${expires}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
  );
const uploadBegins = xml(
  200,
  '<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>',
);

function make(options: Partial<OrgStorageOptions> = {}): ObjectStorage {
  const s3 = { endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1 };
  return createOrgStorage({
    s3,
    sts,
    bucket: 'objects',
    roleArn: 'arn:aws:iam::111122223333:role/objects',
    ...options,
  });
}

beforeEach(async () => {
  seen = [];
  session = sessionAnswer('2099-01-01T00:00:00Z');
  server = createServer((request, response) => {
    const isToken = request.url === '/' && request.method === 'POST';
    seen.push(isToken ? 'AssumeRole' : `${request.method} ${request.url}`);
    request.resume();
    request.on('end', () => (isToken ? session : answer)(response, request));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoint = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  const credentials = { accessKeyId: 'A', secretAccessKey: 'B' };
  sts = new STSClient({ endpoint, region: 'us-east-1', credentials, maxAttempts: 1 });
  storage = make({ operations: ['read', 'write'] });
});
afterEach(async () => {
  await storage.close();
  sts.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function errorOf(promise: Promise<unknown>): Promise<RingfenceTenancyError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(RingfenceTenancyError);
  return error as RingfenceTenancyError;
}

async function collect(list: AsyncIterable<ObjectInfo>): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = [];
  for await (const info of list) found.push(info);
  return found;
}

describe('failures of the store', () => {
  test.each<[number, string, string, boolean]>([
    [404, 'NoSuchKey', 'not_found', false],
    [404, 'NoSuchBucket', 'unavailable', false],
    [404, 'SomethingNew', 'denied', false],
    [403, 'AccessDenied', 'denied', false],
    [403, 'InvalidAccessKeyId', 'denied', false],
    [403, 'SignatureDoesNotMatch', 'denied', false],
    [400, 'ExpiredToken', 'unavailable', true],
    [403, 'RequestTimeTooSkewed', 'unavailable', true],
    [409, 'ConditionalRequestConflict', 'precondition_failed', false],
    [412, 'PreconditionFailed', 'precondition_failed', false],
    [416, 'InvalidRange', 'invalid_range', false],
    [429, 'SlowDown', 'unavailable', true],
    [500, 'InternalError', 'unavailable', true],
    [503, 'SlowDown', 'unavailable', true],
  ])('%i %s is storage_%s, retryable: %s', async (status, name, code, retryable) => {
    answer = failing(status, name);
    const error = await errorOf(storage.forOrg(ORG).get(['Jane Doe.pdf']));
    expect(error).toMatchObject({ code: `tenancy.storage_${code}`, retryable });
    expect(error.message).toContain(ORG);
    expect(error.message).not.toContain('Jane');
  });

  test('no answer is unavailability', async () => {
    answer = (response) => response.destroy();
    const error = await errorOf(storage.forOrg(ORG).get(['a']));
    expect(error).toMatchObject({ code: 'tenancy.storage_unavailable', retryable: true });
  });

  test('an answer that breaks off is an error of the stream, never a short object', async () => {
    answer = (response) => {
      response.writeHead(200, {
        'content-length': '10',
        etag: '"e"',
        'last-modified': new Date(0).toUTCString(),
      });
      response.write('half', () => response.destroy());
    };
    const { body } = await storage.forOrg(ORG).get(['a']);
    const error = await errorOf(new Response(body).text());
    expect(error.code).toBe('tenancy.storage_unavailable');
  });

  test('a failure of the token service is never about the object', async () => {
    for (const [status, name, code] of [
      [404, 'NoSuchEntity', 'denied'],
      [404, 'NotFound', 'denied'],
      [403, 'AccessDenied', 'denied'],
      [412, 'PreconditionFailed', 'denied'],
      [400, 'PackedPolicyTooLarge', 'denied'],
      [503, 'ServiceUnavailable', 'unavailable'],
    ] as const) {
      session = xml(
        status,
        `<ErrorResponse><Error><Code>${name}</Code><Message>m</Message></Error></ErrorResponse>`,
      );
      expect(await errorOf(storage.forOrg(ORG).head(['a']))).toMatchObject({
        code: `tenancy.storage_${code}`,
      });
    }
    session = xml(200, '<AssumeRoleResponse><AssumeRoleResult></AssumeRoleResult></AssumeRoleResponse>');
    expect(await errorOf(storage.forOrg(ORG).head(['a']))).toMatchObject({
      code: 'tenancy.storage_unavailable',
    });
    expect(new Set(seen)).toEqual(new Set(['AssumeRole']));
  });
});

describe('answers the guard does not believe', () => {
  const page = (...keys: string[]) =>
    `<ListBucketResult><IsTruncated>false</IsTruncated>${keys
      .map(
        (key) =>
          `<Contents><Key>${key}</Key><Size>1</Size><ETag>e</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`,
      )
      .join('')}</ListBucketResult>`;

  test('a listing with a foreign key ends with an error', async () => {
    answer = xml(200, page(`org/${ORG}/a`, `org/${OTHER}/secret`));
    await expect(collect(make().forOrg(ORG).list())).rejects.toMatchObject({
      code: 'tenancy.storage_foreign_key',
    });
  });

  test('a page that says there are more and does not say where ends with an error', async () => {
    answer = xml(200, page().replace('false', 'true'));
    await expect(collect(make().forOrg(ORG).list())).rejects.toMatchObject({
      code: 'tenancy.storage_unavailable',
    });
  });

  test('an answer that is no listing is an error, never an organisation without objects', async () => {
    const objects = make().forOrg(ORG);
    for (const body of ['', '<ListBucketResult></ListBucketResult>', '<html><body>sign in</body></html>']) {
      answer = xml(200, body);
      await expect(collect(objects.list())).rejects.toMatchObject({ code: 'tenancy.storage_unavailable' });
    }
    // Nor does it make a denial "not found".
    answer = (response, request) =>
      (request.url?.includes('list-type') ? xml(200, '') : failing(403, 'AccessDenied'))(response, request);
    expect(await errorOf(objects.get(['a']))).toMatchObject({ code: 'tenancy.storage_unavailable' });
  });

  test('an answer that names no stored object is an error, never a stored one', async () => {
    const objects = make({ partBytes: 5 * MIB }).forOrg(ORG);
    const writes = [
      () => objects.put(['a'], BYTES),
      () => objects.put(['long'], Readable.from(Array.from({ length: 12 }, () => new Uint8Array(MIB)))),
      () => objects.copy(['a'], ['b']),
    ];
    for (const body of ['', '<Error><Code>InternalError</Code></Error>', '<html><body>hello</body></html>']) {
      answer = (response, request) => {
        const { url = '', method } = request;
        if (method === 'POST' && url.includes('uploads')) uploadBegins(response, request);
        else if (url.includes('partNumber')) response.writeHead(200, { etag: '"p"' }).end();
        else xml(200, body)(response, request);
      };
      for (const write of writes) {
        expect(await errorOf(write())).toMatchObject({ code: 'tenancy.storage_unavailable' });
      }
    }
  });

  describe('an object', () => {
    const object =
      (headers: Record<string, string>, status = 200): Answer =>
      (response) =>
        response
          .writeHead(status, { 'last-modified': new Date(0).toUTCString(), ...headers })
          .end('0123456789');
    const content = { 'content-length': '10', etag: '"new"' };

    test('of another etag than asked for is refused, by a server that does not look as well', async () => {
      answer = object(content);
      for (const ifMatch of ['"old"', '*', '']) {
        expect(await errorOf(storage.forOrg(ORG).get(['a'], { ifMatch }))).toMatchObject({
          code: 'tenancy.storage_precondition_failed',
        });
      }
      for (const ifMatch of ['"new"', 'new']) {
        const { body } = await storage.forOrg(ORG).get(['a'], { ifMatch });
        expect(await new Response(body).text()).toBe('0123456789');
      }
    });

    test('in another range than asked for is refused', async () => {
      const range = { first: 2, last: 11 };
      for (const headers of [content, { ...content, 'content-range': 'bytes 0-9/100' }]) {
        answer = object(headers, 206);
        expect(await errorOf(storage.forOrg(ORG).get(['a'], { range }))).toMatchObject({
          code: 'tenancy.storage_unavailable',
        });
      }
      answer = object({ ...content, 'content-range': 'bytes 2-11/100' }, 206);
      const { size, body } = await storage.forOrg(ORG).get(['a'], { range });
      expect([size, await new Response(body).text()]).toEqual([100, '0123456789']);
    });

    test('that is refused, or cancelled unread, holds no connection', async () => {
      const httpAgent = new Agent({ maxSockets: 1, keepAlive: true });
      const s3 = { endpoint, region: 'us-east-1', forcePathStyle: true, requestHandler: { httpAgent } };
      const objects = make({ s3 }).forOrg(ORG);
      answer = (response) =>
        response.writeHead(200, { 'content-length': String(8 * MIB) }).end(new Uint8Array(8 * MIB));
      for (let n = 0; n < 3; n++) {
        expect(await errorOf(objects.get(['a']))).toMatchObject({ code: 'tenancy.storage_unavailable' });
      }
      const whole = {
        ...content,
        'content-length': String(8 * MIB),
        'last-modified': new Date(0).toUTCString(),
      };
      answer = (response) => response.writeHead(200, whole).end(new Uint8Array(8 * MIB));
      for (let n = 0; n < 3; n++) {
        const { body } = await objects.get(['a']);
        await body.cancel();
      }
      httpAgent.destroy();
    });
  });

  test('"denied" about an object that the own listing does not show is "not found"; otherwise it stands', async () => {
    const objects = make().forOrg(ORG);
    const listing =
      (keys: string[]): Answer =>
      (response, request) =>
        (request.url?.includes('list-type') ? xml(200, page(...keys)) : failing(403, 'AccessDenied'))(
          response,
          request,
        );
    answer = listing([`org/${ORG}/ab`]);
    expect(await errorOf(objects.get(['a']))).toMatchObject({ code: 'tenancy.storage_not_found' });
    answer = listing([`org/${ORG}/a`]);
    expect(await errorOf(objects.get(['a']))).toMatchObject({ code: 'tenancy.storage_denied' });
    answer = failing(403, 'AccessDenied');
    expect(await errorOf(objects.get(['a']))).toMatchObject({ code: 'tenancy.storage_denied' });
  });
});

describe('requests', () => {
  test('no foreign key and no undeclared operation leaves the process', async () => {
    const objects = storage.forOrg(ORG);
    const foreign = `org/${OTHER}/secret`;
    for (const attempt of [
      objects.get(foreign),
      objects.put(foreign, BYTES),
      objects.copy(foreign, ['a']),
      objects.copy(['a'], foreign),
    ]) {
      expect(await errorOf(attempt)).toMatchObject({ code: 'tenancy.storage_foreign_key' });
    }
    expect(await errorOf(objects.delete(['a']))).toMatchObject({ code: 'tenancy.storage_not_granted' });
    expect(() => objects.list()).toThrow(expect.objectContaining({ code: 'tenancy.storage_not_granted' }));
    expect(seen).toEqual([]);
  });

  test('an upload holds two parts at most and asks its source for more only when one is stored', async () => {
    let produced = 0;
    let stored = 0;
    let ahead = 0;
    answer = (response, request) => {
      const { url = '', method } = request;
      if (method === 'POST' && url.includes('uploads')) {
        uploadBegins(response, request);
      } else if (method === 'POST') {
        xml(200, '<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>')(
          response,
          request,
        );
      } else {
        stored += 5 * MIB;
        ahead = Math.max(ahead, produced - stored);
        response.writeHead(200, { etag: '"p"' }).end();
      }
    };
    async function* source() {
      for (let n = 0; n < 40; n++) {
        produced += MIB;
        yield new Uint8Array(MIB);
      }
    }
    await make({ partBytes: 5 * MIB })
      .forOrg(ORG)
      .put(['long'], source());
    expect(stored).toBe(40 * MIB);
    expect(ahead).toBeLessThanOrEqual(6 * MIB);
  });

  test('an upload that the server breaks is aborted', async () => {
    answer = (response, request) => {
      const { url = '', method } = request;
      if (method === 'POST') {
        uploadBegins(response, request);
      } else if (method === 'DELETE') response.writeHead(204).end();
      else if (url.includes('partNumber=2')) failing(503, 'SlowDown')(response, request);
      else response.writeHead(200, { etag: '"p"' }).end();
    };
    async function* source() {
      for (let n = 0; n < 12; n++) yield new Uint8Array(MIB);
    }
    const error = await errorOf(
      make({ partBytes: 5 * MIB })
        .forOrg(ORG)
        .put(['long'], source()),
    );
    expect(error).toMatchObject({ code: 'tenancy.storage_unavailable', retryable: true });
    expect(seen.at(-1)).toMatch(/^DELETE .*uploadId=u/);
  });

  test('an upload that fails closes its source, however little of it was read', async () => {
    for (const failingRequest of ['POST', 'PUT']) {
      answer = (response, request) => {
        (request.method === failingRequest ? failing(503, 'SlowDown') : uploadBegins)(response, request);
      };
      const source = Readable.from(Array.from({ length: 12 }, () => new Uint8Array(MIB)));
      const put = make({ partBytes: 5 * MIB })
        .forOrg(ORG)
        .put(['long'], source);
      expect(await errorOf(put)).toMatchObject({ code: 'tenancy.storage_unavailable' });
      expect(source.destroyed).toBe(true);
    }
  });

  test('a session the server calls ended is not used again, whatever the clock here says', async () => {
    const objects = storage.forOrg(ORG);
    const sessions = async (name: string) => {
      answer = failing(400, name);
      seen = [];
      await errorOf(objects.get(['a']));
      return seen.filter((request) => request === 'AssumeRole').length;
    };
    expect(await sessions('ExpiredToken')).toBe(1);
    expect(await sessions('AccessDenied')).toBe(1);
    expect(await sessions('AccessDenied')).toBe(0);
  });

  test('settings that cannot be right are refused at once', () => {
    expect(() => make({ bucket: 'a/b' })).toThrow(TypeError);
    expect(() => make({ partBytes: MIB })).toThrow(TypeError);
    expect(() => make({ maxSessions: 0 })).toThrow(TypeError);
    expect(() => make({ operations: [] })).toThrow(TypeError);
    expect(() => storage.forOrg('org' as never)).toThrow(TypeError);
  });
});
