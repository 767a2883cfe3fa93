/**
 * The guarded client on a real S3 and STS server: it conforms to the port, and it holds when its session may do everything.
 */
import { randomUUID } from 'node:crypto';
import * as s3 from '@aws-sdk/client-s3';
import type { AssumeRoleCommandInput, Credentials } from '@aws-sdk/client-sts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createOrgStorage, type OrgStorageOptions } from '../src/s3/index.ts';
import { type ObjectStorage, orgKey, parseOrgId, type StorageDocuments } from '../src/storage/index.ts';
import { storageConformance } from '../src/storage/testing/index.ts';
import { APP, type CephStorage, collect, outcome, startCephStorage } from './ceph-storage.ts';

const A = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const B = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');
const BYTES = new TextEncoder().encode('one');
let site: CephStorage;

beforeAll(async () => {
  site = await startCephStorage();
});
afterAll(() => site?.stop());

describe('the guard conforms on this server', () => {
  let storage: ObjectStorage;
  let bucket: string;
  beforeAll(async () => {
    const documents = await site.deploy(`conform-${randomUUID()}`, ['read', 'write', 'list', 'delete']);
    bucket = documents.bucket;
    const { operations, roleArn } = documents;
    storage = createOrgStorage({
      s3: site.settings(),
      sts: site.tokenService(),
      bucket,
      roleArn,
      operations,
      partBytes: 5 * 1024 * 1024,
    });
    site.opened.push({ destroy: () => void storage.close() });
  });

  test.each(storageConformance.map((item) => [item.name, item] as const))('%s', (_, item) =>
    item.run(storage),
  );

  test('this server keeps a conditional write in one request, but not one in parts', async () => {
    const objects = storage.forOrg(parseOrgId(randomUUID()));
    async function* long() {
      for (let n = 0; n < 3; n++) yield new Uint8Array(4 * 1024 * 1024);
    }
    await objects.put(['once'], BYTES, { ifAbsent: true });
    await expect(objects.put(['once'], BYTES, { ifAbsent: true })).rejects.toMatchObject({
      code: 'tenancy.storage_precondition_failed',
    });
    await expect(objects.put(['once'], long(), { ifAbsent: true })).resolves.toBeDefined();
  });

  test('a long upload is a multipart upload, and a failed one leaves no part', async () => {
    const objects = storage.forOrg(A);
    async function* long(fail: boolean) {
      for (let n = 0; n < 3; n++) yield new Uint8Array(4 * 1024 * 1024).fill(n);
      if (fail) throw new Error('the source broke');
    }
    await objects.put(['long'], long(false));
    expect((await objects.head(['long'])).etag).toMatch(/-3"$/);
    await expect(objects.put(['broken'], long(true))).rejects.toThrow('the source broke');
    const uploads = await site.owner.send(new s3.ListMultipartUploadsCommand({ Bucket: bucket }));
    expect(uploads.Uploads ?? []).toEqual([]);
  });

  test('listing goes through more than one page', async () => {
    const objects = storage.forOrg(parseOrgId(randomUUID()));
    const names = Array.from({ length: 1_050 }, (_, n) => String(n).padStart(5, '0'));
    for (let at = 0; at < names.length; at += 50) {
      await Promise.all(names.slice(at, at + 50).map((name) => objects.put([name], BYTES)));
    }
    const listed = await collect(objects.list());
    expect(listed.map(({ key }) => key)).toEqual(names.map((name) => orgKey(objects.org, name)));
  });
});

describe('the guard alone', () => {
  let documents: StorageDocuments;
  let asked: AssumeRoleCommandInput[];
  let requests: number;
  let change: (credentials: Credentials) => Credentials;
  let widen: boolean;

  beforeAll(async () => {
    documents = await site.deploy(`guard-${randomUUID()}`, ['read', 'write', 'list']);
  });

  /** A storage whose token requests are seen and can be changed, and whose requests are counted. */
  function guarded(options: Partial<OrgStorageOptions> = {}): ObjectStorage {
    asked = [];
    requests = 0;
    widen = false;
    change = (credentials) => credentials;
    const sts = site.tokenService();
    sts.middlewareStack.add(
      (next) => async (args) => {
        const input = args.input as AssumeRoleCommandInput;
        asked.push(input);
        const { Policy: _, ...wide } = input;
        const result = await next(widen ? { ...args, input: wide as AssumeRoleCommandInput } : args);
        const output = result.output as { Credentials?: Credentials };
        if (output.Credentials !== undefined) output.Credentials = change(output.Credentials);
        return result;
      },
      { step: 'initialize', name: 'seen' },
    );
    const inner = site.client(APP).config.requestHandler;
    const requestHandler: typeof inner = {
      ...inner,
      handle: (request, handlerOptions) => {
        requests += 1;
        return inner.handle(request, handlerOptions);
      },
    };
    const { bucket, roleArn } = documents;
    return createOrgStorage({ s3: { ...site.settings(), requestHandler }, sts, bucket, roleArn, ...options });
  }

  test('asks for sessions with policy and tag of the organisation', async () => {
    const storage = guarded();
    await storage.forOrg(A).put(['a'], BYTES);
    expect(asked).toHaveLength(1);
    expect(JSON.parse(asked[0]?.Policy ?? '')).toEqual(documents.sessionPolicy(A));
    expect(asked[0]?.Tags).toEqual([{ Key: 'org_id', Value: A }]);
  });

  test('refuses foreign and malformed keys and undeclared operations before any I/O', async () => {
    const objects = guarded().forOrg(A);
    const Key = orgKey(B, 'secret');
    const refusals = [
      objects.get(Key),
      objects.head(Key),
      objects.put(Key, BYTES),
      objects.copy(Key, ['a']),
      objects.copy(['a'], Key),
      objects.get(['..', B, 'secret']),
      objects.put(['%2e%2e'], BYTES),
      objects.get(`org/${A}/../${B}/secret`),
      objects.delete(['a']),
    ];
    const codes = (await Promise.allSettled(refusals)).map(
      (each) => each.status === 'rejected' && each.reason.code,
    );
    const foreignKey = Array<string>(5).fill('tenancy.storage_foreign_key');
    const invalidKey = Array<string>(3).fill('tenancy.storage_invalid_key');
    expect(codes).toEqual([...foreignKey, ...invalidKey, 'tenancy.storage_not_granted']);
    expect([asked.length, requests]).toEqual([0, 0]);
  });

  test('still refuses and shows nothing foreign when its session may do everything', async () => {
    const theirs = guarded().forOrg(B);
    const key = await theirs.put(['secret'], BYTES);
    const storage = guarded();
    widen = true;
    const objects = storage.forOrg(A);
    await objects.put(['a'], BYTES);
    // The session really is wide: the server would give the object.
    const stolen = site.sessionClient(await site.assume({ RoleArn: documents.roleArn }));
    const { bucket: Bucket } = documents;
    expect(await outcome(stolen.send(new s3.GetObjectCommand({ Bucket, Key: key })))).toBe('allowed');
    const sent = requests;
    for (const attempt of [objects.get(key), objects.copy(key, ['b']), objects.put(key, BYTES)]) {
      await expect(attempt).rejects.toMatchObject({ code: 'tenancy.storage_foreign_key' });
    }
    expect(requests).toBe(sent);
    const listed = await collect(objects.list());
    expect(listed.every((item) => item.key.startsWith(`org/${A}/`))).toBe(true);
  });

  test('the very session the guard uses is refused by the server on foreign objects', async () => {
    const storage = guarded();
    let used: Credentials | undefined;
    change = (credentials) => {
      used = credentials;
      return credentials;
    };
    await storage.forOrg(A).put(['a'], BYTES);
    const key = await guarded().forOrg(B).put(['secret'], BYTES);
    if (used === undefined) throw new Error('no session was made');
    const raw = site.sessionClient(used);
    const { bucket: Bucket } = documents;
    expect(await outcome(raw.send(new s3.GetObjectCommand({ Bucket, Key: key })))).toBe(403);
    expect(await outcome(raw.send(new s3.GetObjectCommand({ Bucket, Key: orgKey(A, 'a') })))).toBe('allowed');
  });

  test('makes one session for many requests at once, and one for each organisation', async () => {
    const storage = guarded();
    await Promise.all(Array.from({ length: 20 }, (_, n) => storage.forOrg(A).put([`${n}`], BYTES)));
    expect(asked).toHaveLength(1);
    await storage.forOrg(B).put(['a'], BYTES);
    await storage.forOrg(A).put(['a'], BYTES);
    expect(asked.map(({ Tags }) => Tags?.[0]?.Value)).toEqual([A, B]);
  });

  test('renews a session before it ends, and lets a failed renewal be tried again', async () => {
    const storage = guarded();
    const objects = storage.forOrg(A);
    change = (credentials) => ({ ...credentials, Expiration: new Date(Date.now() + 4 * 60_000) });
    await objects.put(['a'], BYTES);
    change = () => {
      throw Object.assign(new Error('down'), {
        name: 'ServiceUnavailable',
        $metadata: { httpStatusCode: 503 },
      });
    };
    await expect(objects.put(['a'], BYTES)).rejects.toMatchObject({
      code: 'tenancy.storage_unavailable',
      retryable: true,
    });
    change = (credentials) => credentials;
    await objects.put(['a'], BYTES);
    const renewed = asked.length;
    expect(renewed).toBeGreaterThanOrEqual(3);
    await objects.put(['a'], BYTES);
    expect(asked).toHaveLength(renewed);
  });

  test('keeps no more sessions than it was told to', async () => {
    const storage = guarded({ maxSessions: 1 });
    for (const org of [A, B, A]) await storage.forOrg(org).put(['a'], BYTES);
    expect(asked).toHaveLength(3);
  });

  test('a role that may not be assumed is a denial, never an empty answer', async () => {
    const storage = guarded({ roleArn: 'arn:aws:iam:::role/none' });
    const objects = storage.forOrg(A);
    await expect(objects.get(['a'])).rejects.toMatchObject({
      code: 'tenancy.storage_denied',
      retryable: false,
    });
    await expect(collect(objects.list())).rejects.toMatchObject({ code: 'tenancy.storage_denied' });
  });

  test('a bucket that is not there is a failure of settings, not a missing object', async () => {
    const objects = guarded({ bucket: `none-${randomUUID()}` }).forOrg(A);
    const code = expect.stringMatching(/^tenancy\.storage_(unavailable|denied)$/);
    await expect(objects.get(['a'])).rejects.toMatchObject({ code });
  });
});
