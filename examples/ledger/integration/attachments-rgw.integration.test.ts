/**
 * Statements and attachments of the ledger on a real S3 and STS server, Ceph RADOS Gateway: content is ciphertext there, a
 * key of the other organisation is refused before anything is sent, and the server refuses it too.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import type { OrgId } from '@ringfence/tenancy';
import { createOrgStorage } from '@ringfence/tenancy/s3';
import type { ObjectStorage, StorageDocuments } from '@ringfence/tenancy/storage';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import {
  type CephStorage,
  outcome,
  startCephStorage,
} from '../../../packages/tenancy/integration/ceph-storage.ts';
import { attachFile, orphanedAttachments, readAttachment } from '../src/attachments.ts';
import { importStatement } from '../src/bank-import.ts';
import { postEntry } from '../src/entries.ts';
import { IRONBRIDGE, NORTHWIND } from '../src/provision.ts';
import type { Session } from '../src/session.ts';
import { type Fixture, fixture } from '../test/fixture.ts';

/** Nothing is ever deleted, so nobody can be made to. */
const OPERATIONS = ['read', 'write', 'list'] as const;
const CONTENT = Buffer.from('receipt line, 17 bytes\n'.repeat(300_000)); // 6.9 MB: goes in parts

let site: CephStorage;
let documents: StorageDocuments;
let storage: ObjectStorage;
let f: Fixture;
let superuser: pg.Client;
let stranger: Session;
/** Attachments of both organisations. */
let mine: string;
let theirs: string;

const attached = async (session: Session) => {
  const entry = await postEntry(f.ledger, session, {
    bookedOn: '2026-03-31',
    debit: '6000 Expenses',
    credit: '1000 Bank',
    amountCents: 4_200,
    memo: 'toner',
    bankReference: 'PO-1',
  });
  return await attachFile(f.ledger, session, entry, 'receipt.txt', Readable.from([CONTENT]));
};
const keyOf = async (id: string): Promise<string> =>
  (await superuser.query('select object_key from ledger.attachment where id = $1', [id])).rows[0].object_key;
/** A plain S3 client with the session the ledger's client gets for an organisation. */
const sessionOf = async (org: OrgId): Promise<S3Client> => {
  const Policy = JSON.stringify(documents.sessionPolicy(org));
  return site.sessionClient(await site.assume({ RoleArn: documents.roleArn, Policy }));
};

beforeAll(async () => {
  site = await startCephStorage();
  documents = await site.deploy(`ledger-${randomUUID()}`, OPERATIONS);
  const { bucket, roleArn } = documents;
  const s3 = site.settings();
  storage = createOrgStorage({ s3, sts: site.tokenService(), bucket, roleArn, operations: OPERATIONS });
  f = await fixture(inject('databaseUrl'), { storage });
  superuser = new pg.Client({ connectionString: f.database.superuserUrl });
  await superuser.connect();
  stranger = await f.enter(IRONBRIDGE.bookkeeper, {}, IRONBRIDGE);
  mine = await attached(f.bookkeeper);
  theirs = await attached(stranger);
});
afterAll(async () => {
  await superuser?.end();
  await f?.close();
  await storage?.close();
  await site?.stop();
});

test('an attachment is read back by range, and is ciphertext in the bucket', async () => {
  const range = await readAttachment(f.ledger, f.controller, mine, 6_000_000, 40);
  expect(range).toMatchObject({ name: 'receipt.txt', size: CONTENT.length });
  expect(Buffer.from(range.bytes)).toEqual(CONTENT.subarray(6_000_000, 6_000_040));
  const raw = await sessionOf(NORTHWIND.id);
  const answer = await raw.send(new GetObjectCommand({ Bucket: documents.bucket, Key: await keyOf(mine) }));
  const bytes = Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
  expect(bytes.length).toBeGreaterThan(CONTENT.length);
  expect(bytes.includes('receipt line')).toBe(false);
});

test("a row that names the other organisation's object is refused before anything is sent", async () => {
  const own = await keyOf(mine);
  const point = (key: string) =>
    superuser.query('update ledger.attachment set object_key = $2 where id = $1', [mine, key]);
  await point(await keyOf(theirs));
  try {
    const read = readAttachment(f.ledger, f.controller, mine, 0, 10);
    await expect(read).rejects.toMatchObject({ code: 'tenancy.storage_foreign_key' });
  } finally {
    await point(own);
  }
});

test("the server refuses the other organisation's objects, too: reading, writing, listing", async () => {
  const raw = await sessionOf(NORTHWIND.id);
  const { bucket: Bucket } = documents;
  const Key = await keyOf(theirs);
  expect(await outcome(raw.send(new GetObjectCommand({ Bucket, Key })))).toBe(403);
  expect(await outcome(raw.send(new PutObjectCommand({ Bucket, Key, Body: 'x' })))).toBe(403);
  expect(await outcome(raw.send(new ListObjectsV2Command({ Bucket, Prefix: `org/${IRONBRIDGE.id}/` })))).toBe(
    403,
  );
  expect(await outcome(raw.send(new GetObjectCommand({ Bucket, Key: await keyOf(mine) })))).toBe('allowed');
});

test('a statement is imported by a job that reads it from the bucket', async () => {
  const csv = readFileSync(new URL(`../data/${NORTHWIND.statement}`, import.meta.url), 'utf8');
  expect(await importStatement(f.ledger, f.bookkeeper, NORTHWIND.statement, csv)).toHaveLength(340);
});

test('an object whose row was never written is found by listing', async () => {
  const orphan = await storage
    .forOrg(NORTHWIND.id)
    .put(['attachments', randomUUID()], CONTENT.subarray(0, 100));
  expect(await orphanedAttachments(f.ledger, f.bookkeeper, 0)).toEqual([orphan]);
});
