/**
 * The server's part of object isolation, on a real S3 and STS server: Ceph RADOS Gateway 16 with roles and session policies,
 * asked through a plain client with an organisation's session. It has no session tags for AssumeRole, so the documents are
 * those without; what only AWS has is proven by the evaluator alone.
 */
import { randomUUID } from 'node:crypto';
import * as s3 from '@aws-sdk/client-s3';
import type { Credentials } from '@aws-sdk/client-sts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { orgKey, parseOrgId, type StorageDocuments, storageDocuments } from '../src/storage/index.ts';
import { APP, type CephStorage, outcome, STRANGER, startCephStorage } from './ceph-storage.ts';

const A = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const B = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');
const BYTES = new TextEncoder().encode('one');
let site: CephStorage;

beforeAll(async () => {
  site = await startCephStorage();
});
afterAll(() => site?.stop());

describe('the server alone, asked with a session of one organisation', () => {
  let documents: StorageDocuments;
  let session: Credentials;
  let mine: s3.S3Client;
  let Bucket: string;
  let foreign: { Key: string; VersionId: string; UploadId: string };
  const own = orgKey(A, 'a');

  beforeAll(async () => {
    documents = await site.deploy(`raw-${randomUUID()}`, ['read', 'write', 'list', 'versions']);
    Bucket = documents.bucket;
    await site.owner.send(
      new s3.PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }),
    );
    const sessionOf = (org: typeof A) =>
      site.assume({ RoleArn: documents.roleArn, Policy: JSON.stringify(documents.sessionPolicy(org)) });
    const theirs = site.sessionClient(await sessionOf(B));
    const Key = orgKey(B, 'secret');
    const { VersionId = '' } = await theirs.send(new s3.PutObjectCommand({ Bucket, Key, Body: BYTES }));
    const { UploadId = '' } = await theirs.send(new s3.CreateMultipartUploadCommand({ Bucket, Key }));
    foreign = { Key, VersionId, UploadId };
    expect([VersionId, UploadId]).not.toContain('');
    session = await sessionOf(A);
    mine = site.sessionClient(session);
  });

  test('allows all declared operations on own objects', async () => {
    const { VersionId } = await mine.send(new s3.PutObjectCommand({ Bucket, Key: own, Body: BYTES }));
    const read = await mine.send(new s3.GetObjectCommand({ Bucket, Key: own, VersionId }));
    expect(await read.Body?.transformToString()).toBe('one');
    await mine.send(
      new s3.CopyObjectCommand({ Bucket, Key: orgKey(A, 'b'), CopySource: `${Bucket}/${own}` }),
    );
    const list = await mine.send(new s3.ListObjectsV2Command({ Bucket, Prefix: `org/${A}/` }));
    expect(list.Contents?.map(({ Key }) => Key)).toEqual([own, orgKey(A, 'b')]);
    await mine.send(new s3.ListObjectVersionsCommand({ Bucket, Prefix: `org/${A}/` }));
    const { UploadId } = await mine.send(new s3.CreateMultipartUploadCommand({ Bucket, Key: own }));
    await mine.send(new s3.UploadPartCommand({ Bucket, Key: own, UploadId, PartNumber: 1, Body: BYTES }));
    await mine.send(new s3.ListPartsCommand({ Bucket, Key: own, UploadId }));
    await mine.send(new s3.AbortMultipartUploadCommand({ Bucket, Key: own, UploadId }));
  });

  test('refuses every way to a foreign object', async () => {
    const { Key, VersionId, UploadId } = foreign;
    const source = `${Bucket}/${Key}`;
    const ways: Record<string, () => Promise<unknown>> = {
      get: () => mine.send(new s3.GetObjectCommand({ Bucket, Key })),
      range: () => mine.send(new s3.GetObjectCommand({ Bucket, Key, Range: 'bytes=0-0' })),
      version: () => mine.send(new s3.GetObjectCommand({ Bucket, Key, VersionId })),
      head: () => mine.send(new s3.HeadObjectCommand({ Bucket, Key })),
      put: () => mine.send(new s3.PutObjectCommand({ Bucket, Key, Body: BYTES })),
      'copy from it': () => mine.send(new s3.CopyObjectCommand({ Bucket, Key: own, CopySource: source })),
      'copy a version from it': () =>
        mine.send(
          new s3.CopyObjectCommand({ Bucket, Key: own, CopySource: `${source}?versionId=${VersionId}` }),
        ),
      'copy over it': () =>
        mine.send(new s3.CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${own}` })),
      'begin an upload': () => mine.send(new s3.CreateMultipartUploadCommand({ Bucket, Key })),
      'upload a part': () =>
        mine.send(new s3.UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: BYTES })),
      'list parts': () => mine.send(new s3.ListPartsCommand({ Bucket, Key, UploadId })),
      'abort an upload': () => mine.send(new s3.AbortMultipartUploadCommand({ Bucket, Key, UploadId })),
      delete: () => mine.send(new s3.DeleteObjectCommand({ Bucket, Key })),
      'delete a version': () => mine.send(new s3.DeleteObjectCommand({ Bucket, Key, VersionId })),
      tags: () => mine.send(new s3.GetObjectTaggingCommand({ Bucket, Key })),
      acl: () => mine.send(new s3.GetObjectAclCommand({ Bucket, Key })),
    };
    const answers: Record<string, number | string> = {};
    for (const [name, way] of Object.entries(ways)) answers[name] = await outcome(way());
    expect(answers).toEqual(Object.fromEntries(Object.keys(ways).map((name) => [name, 403])));
  });

  test('refuses a part copied from a foreign object into an own upload', async () => {
    const { UploadId } = await mine.send(new s3.CreateMultipartUploadCommand({ Bucket, Key: own }));
    const CopySource = `${Bucket}/${foreign.Key}`;
    const part = new s3.UploadPartCopyCommand({ Bucket, Key: own, UploadId, PartNumber: 1, CopySource });
    expect(await outcome(mine.send(part))).toBe(403);
  });

  test('refuses listings that show more than the own prefix', async () => {
    const prefixes = [
      undefined,
      '',
      'o',
      'org/',
      `org/${A}`,
      `org/${A.slice(0, 35)}`,
      `org/${B}/`,
      `org/${A}0/`,
      `ORG/${A}/`,
    ];
    const answers: (number | string)[] = [];
    for (const Prefix of prefixes) {
      for (const Delimiter of [undefined, '/']) {
        const input = { Bucket, Prefix, Delimiter };
        answers.push(await outcome(mine.send(new s3.ListObjectsV2Command(input))));
        answers.push(await outcome(mine.send(new s3.ListObjectsCommand(input))));
        answers.push(await outcome(mine.send(new s3.ListObjectVersionsCommand(input))));
      }
    }
    answers.push(
      await outcome(mine.send(new s3.ListMultipartUploadsCommand({ Bucket, Prefix: `org/${A}/` }))),
    );
    expect(new Set(answers)).toEqual(new Set([403]));
  });

  test('refuses keys that are nearly own', async () => {
    for (const Key of [
      `org/${A}`,
      `org/${A}0/a`,
      `org/${A.toUpperCase()}/a`,
      `org//${A}/a`,
      `ORG/${A}/a`,
      `x/org/${A}/a`,
    ]) {
      expect([Key, await outcome(mine.send(new s3.PutObjectCommand({ Bucket, Key, Body: BYTES })))]).toEqual([
        Key,
        403,
      ]);
    }
  });

  test('refuses what was not declared, on own objects too', async () => {
    const Policy = JSON.stringify(documents.bucketPolicy);
    const Tagging = { TagSet: [{ Key: 'org_id', Value: 'other' }] };
    const VersioningConfiguration = { Status: 'Suspended' } as const;
    const answers = [
      mine.send(new s3.DeleteObjectCommand({ Bucket, Key: own })),
      mine.send(new s3.PutObjectTaggingCommand({ Bucket, Key: own, Tagging })),
      mine.send(new s3.DeleteObjectTaggingCommand({ Bucket, Key: own })),
      mine.send(new s3.PutObjectAclCommand({ Bucket, Key: own, ACL: 'public-read' })),
      mine.send(new s3.PutBucketPolicyCommand({ Bucket, Policy })),
      mine.send(new s3.DeleteBucketPolicyCommand({ Bucket })),
      mine.send(new s3.PutBucketVersioningCommand({ Bucket, VersioningConfiguration })),
    ];
    expect(await Promise.all(answers.map(outcome))).toEqual(answers.map(() => 403));
  });

  test('refuses requests without TLS', async () => {
    const plain = site.sessionClient(session, site.ceph.http);
    await mine.send(new s3.PutObjectCommand({ Bucket, Key: own, Body: BYTES }));
    expect(await outcome(plain.send(new s3.GetObjectCommand({ Bucket, Key: own })))).toBe(403);
    expect(await outcome(plain.send(new s3.PutObjectCommand({ Bucket, Key: own, Body: BYTES })))).toBe(403);
    expect(await outcome(mine.send(new s3.GetObjectCommand({ Bucket, Key: own })))).toBe('allowed');
  });

  test('refuses an altered session and whoever is not the application', async () => {
    const { SessionToken = '' } = session;
    const altered = `${SessionToken.slice(0, 20)}${SessionToken[20] === 'A' ? 'B' : 'A'}${SessionToken.slice(21)}`;
    const forged = site.sessionClient({ ...session, SessionToken: altered });
    expect([400, 403]).toContain(await outcome(forged.send(new s3.GetObjectCommand({ Bucket, Key: own }))));
    const stranger = site.tokenService(STRANGER);
    expect(await outcome(site.assume({ RoleArn: documents.roleArn }, stranger))).toBe(403);
  });

  test('refuses a session that assumes the role again, with the session policy of another organisation or without one', async () => {
    const asSession = site.sessionTokenService(session);
    const { roleArn: RoleArn } = documents;
    for (const Policy of [undefined, JSON.stringify(documents.sessionPolicy(B))]) {
      expect(await outcome(site.assume({ RoleArn, Policy }))).toBe('allowed');
      expect(await outcome(site.assume({ RoleArn, Policy }, asSession))).toBe(403);
    }
  });

  test('counts a session among the user that assumed it, so each role needs a user of its own', async () => {
    const { roleArn } = await site.deploy(`other-${randomUUID()}`, ['read']);
    const asOther = site.sessionTokenService(await site.assume({ RoleArn: roleArn }));
    expect(await outcome(site.assume({ RoleArn: documents.roleArn }, asOther))).toBe('allowed');
  });

  test('shows nobody an object that was stored with a public ACL, which this server lets every writer do', async () => {
    const uri = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"';
    const Key = orgKey(A, 'public');
    const stranger = site.client(STRANGER);
    const anonymous = site.client(STRANGER);
    anonymous.middlewareStack.add(
      (next) => (args) => {
        const { headers } = args.request as { headers: Record<string, string> };
        for (const name of Object.keys(headers))
          if (/^(authorization|x-amz-.*)$/i.test(name)) delete headers[name];
        return next(args);
      },
      { step: 'finalizeRequest', priority: 'low', name: 'unsigned' },
    );
    for (const acl of [{ ACL: 'public-read' }, { ACL: 'authenticated-read' }, { GrantRead: uri }] as const) {
      await mine.send(new s3.PutObjectCommand({ Bucket, Key, Body: BYTES, ...acl }));
      await mine.send(new s3.CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${own}`, ...acl }));
      for (const reader of [anonymous, stranger]) {
        expect(await outcome(reader.send(new s3.GetObjectCommand({ Bucket, Key })))).toBe(403);
      }
    }
  });

  test('does not find a role with a path in a policy, so the documents refuse one', async () => {
    const name = `path-${randomUUID()}`;
    const roleArn = `arn:aws:iam:::role/team/${name}`;
    const { appArn, bucket } = documents;
    expect(() => storageDocuments({ bucket, appArn, roleArn, sessionTags: false })).toThrow(TypeError);
    const denied = JSON.parse(JSON.stringify(documents.trustPolicy).replaceAll(documents.roleArn, roleArn));
    const trust = `--assume-role-policy-doc=${JSON.stringify(denied)}`;
    await site.ceph.admin('role', 'create', `--role-name=${name}`, '--path=/team/', trust);
    const asSession = site.sessionTokenService(await site.assume({ RoleArn: roleArn }));
    expect(await outcome(site.assume({ RoleArn: roleArn }, asSession))).toBe('allowed');
  });

  test('without session tags, a session without its policy reaches every organisation, but nothing beside them', async () => {
    const bare = site.sessionClient(await site.assume({ RoleArn: documents.roleArn }));
    const { Key } = foreign;
    expect(await outcome(bare.send(new s3.GetObjectCommand({ Bucket, Key })))).toBe('allowed');
    expect(await outcome(bare.send(new s3.PutObjectCommand({ Bucket, Key: 'other', Body: BYTES })))).toBe(
      403,
    );
    // The bucket policy holds this alone: the role may now do everything.
    await site.putRolePolicy(Bucket, {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: 's3:*', Resource: '*' }],
    });
    expect(await outcome(bare.send(new s3.PutObjectCommand({ Bucket, Key: 'other', Body: BYTES })))).toBe(
      403,
    );
    expect(await outcome(bare.send(new s3.ListObjectsV2Command({ Bucket })))).toBe(403);
    // On this server objects belong to the identity that assumed the role, which reads them by ACL.
    expect(await outcome(site.client(APP).send(new s3.GetObjectCommand({ Bucket, Key })))).toBe('allowed');
    // And the session policy holds the organisation alone.
    expect(await outcome(mine.send(new s3.GetObjectCommand({ Bucket, Key })))).toBe(403);
    expect(await outcome(mine.send(new s3.DeleteObjectCommand({ Bucket, Key: own })))).toBe(403);
    await site.putRolePolicy(Bucket, documents.rolePolicy);
  });

  test('this server has no session tags in policies, so the documents with them are not its to judge', async () => {
    const { bucketPolicy } = storageDocuments({ ...documents, sessionTags: true });
    const Policy = JSON.stringify(bucketPolicy);
    expect(await outcome(site.owner.send(new s3.PutBucketPolicyCommand({ Bucket, Policy })))).toBe(400);
  });
});
