/**
 * The write-once copy on a real S3 server with Object Lock, under the policy that docs/audit-write-once.md gives: what
 * the server refuses, what it does not, and what verification then finds. Its clock is moved past seven years.
 */
import { readFileSync } from 'node:fs';
import * as s3 from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type CephRgw, startCephRgw } from '../../../tools/ceph-rgw.ts';
import { fencesOf } from '../../../tools/doc-snippets.ts';
import type { OrgId } from '../src/index.ts';
import { lockedBucket } from '../src/s3/index.ts';
import type { RetentionMode } from '../src/write-once/index.ts';
import { type CopyFixture, classesOf, copyFixture } from '../test/copy-fixture.ts';
import { errorOf } from '../test/fixture.ts';

const PAGE = new URL('../../../docs/audit-write-once.md', import.meta.url);
const OWNER = { accessKeyId: 'OWNER', secretAccessKey: 'owner-secret' };
const COPIER = { accessKeyId: 'COPIER', secretAccessKey: 'copier-secret' };
const DAY_MS = 86_400_000;

let ceph: CephRgw;
let f: CopyFixture;
let owner: s3.S3Client;
const opened: { destroy(): void }[] = [];

beforeAll(async () => {
  ceph = await startCephRgw({ movableClock: true });
  for (const [uid, { accessKeyId, secretAccessKey }] of Object.entries({ owner: OWNER, copier: COPIER })) {
    const keys = [`--access-key=${accessKeyId}`, `--secret=${secretAccessKey}`];
    await ceph.admin('user', 'create', `--uid=${uid}`, `--display-name=${uid}`, ...keys);
  }
  owner = client(OWNER);
  f = await copyFixture(inject('databaseUrl'));
});
afterAll(async () => {
  for (const one of opened) one.destroy();
  await f?.close();
  await ceph?.stop();
});

const settings = (credentials: typeof OWNER, days = 0) => ({
  endpoint: ceph.http,
  region: 'us-east-1',
  forcePathStyle: true,
  systemClockOffset: days * DAY_MS,
  credentials,
});

function client(credentials: typeof OWNER, days = 0): s3.S3Client {
  const made = new s3.S3Client({ ...settings(credentials, days), maxAttempts: 1 });
  opened.push(made);
  return made;
}

/** A bucket as the guide makes it; with `denied` false, what the guide denies everybody is allowed to the owner. */
async function bucket(name: string, denied = true): Promise<void> {
  await owner.send(new s3.CreateBucketCommand({ Bucket: name, ObjectLockEnabledForBucket: true }));
  const text = fencesOf(readFileSync(PAGE, 'utf8')).find(({ language }) => language === 'json')?.code ?? '';
  const policy = JSON.parse(
    text
      .replaceAll('arn:aws:s3:::audit-copy', `arn:aws:s3:::${name}`)
      .replaceAll(/arn:aws:iam::\d+:role\/audit-copier/g, 'arn:aws:iam:::user/copier'),
  ) as { Statement: { Effect: string; Principal: unknown; Action: unknown }[] };
  for (const statement of denied ? [] : policy.Statement.filter(({ Effect }) => Effect === 'Deny')) {
    statement.Effect = 'Allow';
    statement.Action = 's3:*'; // objects belong to the copier here
    statement.Principal = { AWS: 'arn:aws:iam:::user/owner' };
  }
  await owner.send(new s3.PutBucketPolicyCommand({ Bucket: name, Policy: JSON.stringify(policy) }));
}

function store(name: string, mode: RetentionMode) {
  const made = lockedBucket({ s3: settings(COPIER), bucket: name, prefix: 'ledger', mode });
  opened.push({ destroy: () => made.close() });
  return made;
}

const place = (seq: number) => String(seq).padStart(16, '0');
const segmentOf = (org: OrgId) => `ledger/${org}/segments/${place(0)}-${place(2)}.ndjson`;

async function versionOf(name: string, key: string): Promise<string> {
  const { Versions } = await owner.send(new s3.ListObjectVersionsCommand({ Bucket: name, Prefix: key }));
  return Versions?.[0]?.VersionId ?? '';
}

const remove = (by: s3.S3Client, name: string, key: string, version?: string, bypass = false) =>
  by.send(
    new s3.DeleteObjectCommand({
      Bucket: name,
      Key: key,
      ...(version === undefined ? {} : { VersionId: version }),
      ...(bypass ? { BypassGovernanceRetention: true } : {}),
    }),
  );

test('copies under the documented policy; every version is held, and the copy agrees with the database', async () => {
  await bucket('copy');
  const org = await f.signed(2, 300);
  const copy = store('copy', 'governance');
  await f.copyTo(copy).copy(org);
  await f.grow(org, 10);
  await f.checkpointer.checkpoint(org);
  await f.copyTo(store('copy', 'governance')).copy(org);
  expect(await f.verify(org, copy)).toMatchObject({ ok: true, findings: [], signed: 310 });
  expect(await f.verify(org, copy, { db: f.copying })).toMatchObject({ ok: true, findings: [] });
});

test('the copier and the owner can remove nothing while the policy stands', async () => {
  await bucket('denied');
  const org = await f.signed(2);
  const copy = store('denied', 'governance');
  await f.copyTo(copy).copy(org);
  const key = segmentOf(org);
  const version = await versionOf('denied', key);
  for (const by of [client(COPIER), owner]) {
    for (const refused of [
      () => remove(by, 'denied', key),
      () => remove(by, 'denied', key, version),
      () => remove(by, 'denied', key, version, true),
      () =>
        by.send(
          new s3.PutObjectRetentionCommand({
            Bucket: 'denied',
            Key: key,
            VersionId: version,
            BypassGovernanceRetention: true,
            Retention: { Mode: 'GOVERNANCE', RetainUntilDate: new Date(Date.now() + DAY_MS) },
          }),
        ),
    ]) {
      expect(await errorOf(refused())).toMatchObject({ name: 'AccessDenied' });
    }
  }
  expect(await f.verify(org, copy, { db: f.copying })).toMatchObject({ ok: true, findings: [] });
});

test('a delete marker, a version on top and a bypass of governance are noticed', async () => {
  await bucket('open', false);
  const org = await f.signed(2);
  const copy = store('open', 'governance');
  await f.copyTo(copy).copy(org);
  const key = segmentOf(org);
  const version = await versionOf('open', key);
  expect(await errorOf(remove(owner, 'open', key, version))).toMatchObject({ name: 'AccessDenied' });
  const { VersionId: marker = '' } = await remove(owner, 'open', key);
  expect(classesOf(await f.verify(org, copy))).toEqual(['delete_marker']);
  await remove(owner, 'open', key, marker, true);
  const put = new s3.PutObjectCommand({ Bucket: 'open', Key: key, Body: 'x' });
  const { VersionId: top = '' } = await owner.send(put);
  expect(classesOf(await f.verify(org, copy))).toEqual(['overwritten']);
  await remove(owner, 'open', key, top, true);
  expect(await f.verify(org, copy, { db: f.copying })).toMatchObject({ ok: true, findings: [] });
  await owner.send(
    new s3.PutObjectRetentionCommand({
      Bucket: 'open',
      Key: key,
      VersionId: version,
      BypassGovernanceRetention: true,
      Retention: { Mode: 'GOVERNANCE', RetainUntilDate: new Date(Date.now() + DAY_MS) },
    }),
  );
  expect(classesOf(await f.verify(org, copy))).toEqual(['retention_shortened']);
  await remove(owner, 'open', key, version, true);
  expect(classesOf(await f.verify(org, copy))).toEqual(['gap']);
  expect(classesOf(await f.verify(org, copy, { db: f.copying }))).toEqual(['bypassed', 'gap']);
});

test('nothing counts as copied in a bucket without Object Lock', async () => {
  await owner.send(new s3.CreateBucketCommand({ Bucket: 'plain' }));
  const plain = lockedBucket({ s3: settings(OWNER), bucket: 'plain', mode: 'governance' });
  opened.push({ destroy: () => plain.close() });
  expect(await errorOf(f.copyTo(plain).copy(await f.signed(2)))).toMatchObject({ code: 'audit.copy_denied' });
});

test('compliance holds against the owner for seven years, and not longer', async () => {
  await bucket('held', false);
  const org = await f.signed(2);
  await f.copyTo(store('held', 'compliance')).copy(org);
  const key = segmentOf(org);
  const version = await versionOf('held', key);
  try {
    for (const day of [0, 365, 2_500, 2_556]) {
      await ceph.moveClock(day);
      const later = client(OWNER, day);
      expect(await errorOf(remove(later, 'held', key, version, true))).toMatchObject({
        name: 'AccessDenied',
      });
    }
    await ceph.moveClock(2_558);
    await remove(client(OWNER, 2_558), 'held', key, version);
  } finally {
    await ceph.moveClock(0);
  }
  const now = () => Date.now() + 2_558 * DAY_MS;
  const report = await f.verify(org, store('held', 'compliance'), { db: f.copying, now });
  expect(classesOf(report)).toEqual(['gap', 'missing']);
});
