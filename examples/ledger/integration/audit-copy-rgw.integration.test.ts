/**
 * The ledger's audit trail on a real S3 server with Object Lock, Ceph RADOS Gateway: the superuser's rewritten history is
 * found from the bucket alone, what somebody with rights on the bucket lays on top of it is noticed, and nothing counts as
 * copied whose lock was lost on the way.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import * as s3 from '@aws-sdk/client-s3';
import { lockedBucket } from '@ringfence/audit/s3';
import type { ListedVersion, WriteOnceStore } from '@ringfence/audit/write-once';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import { type CephRgw, startCephRgw } from '../../../tools/ceph-rgw.ts';
import { auditCommand } from '../src/audit-cli.ts';
import { AUDIT_ORIGIN, connectCopying } from '../src/audit-trail.ts';
import { type AuditStage, auditLog, auditStage } from '../src/demo/audit-log.ts';
import { approveEntry, postEntry } from '../src/entries.ts';
import { NORTHWIND } from '../src/provision.ts';
import { type Fixture, fixture } from '../test/fixture.ts';
import { type Gateway, inParts, stripping, transparent } from './s3-gateways.ts';

const OWNER = { accessKeyId: 'OWNER', secretAccessKey: 'owner-secret' };
const COPIER = { accessKeyId: 'COPIER', secretAccessKey: 'copier-secret' };
const BUCKET = 'audit-copy';
const folder = mkdtempSync(join(tmpdir(), 'ringfence-rgw-'));

let ceph: CephRgw;
let owner: s3.S3Client;
let f: Fixture;
let stage: AuditStage;
let superuser: pg.Client;
const opened: { destroy(): void }[] = [];

const settings = (credentials: typeof OWNER, endpoint = ceph.http) => ({
  ...{ endpoint, region: 'us-east-1', forcePathStyle: true, credentials },
});
const client = (credentials: typeof OWNER): s3.S3Client => {
  const made = new s3.S3Client(settings(credentials));
  opened.push(made);
  return made;
};
const bucket = (prefix: string, endpoint?: string): WriteOnceStore => {
  const made = lockedBucket({ s3: settings(COPIER, endpoint), bucket: BUCKET, prefix, mode: 'compliance' });
  opened.push({ destroy: () => made.close() });
  return made;
};
const copyTo = (store: WriteOnceStore) =>
  connectCopying({ databaseUrl: f.database.copierUrl, store, keys: [stage.logKey] });
const rowsOf = async (store: WriteOnceStore): Promise<number> =>
  (await superuser.query('select from audit.copy where store = $1', [store.name])).rowCount ?? 0;

beforeAll(async () => {
  ceph = await startCephRgw();
  for (const [uid, { accessKeyId, secretAccessKey }] of Object.entries({ owner: OWNER, copier: COPIER })) {
    const keys = [`--access-key=${accessKeyId}`, `--secret=${secretAccessKey}`];
    await ceph.admin('user', 'create', `--uid=${uid}`, `--display-name=${uid}`, ...keys);
  }
  owner = client(OWNER);
  await owner.send(new s3.CreateBucketCommand({ Bucket: BUCKET, ObjectLockEnabledForBucket: true }));
  const allow = (user: string) => ({
    Effect: 'Allow',
    Principal: { AWS: `arn:aws:iam:::user/${user}` },
    Action: 's3:*', // more than the guide gives: what is noticed here is not refused before
    Resource: [`arn:aws:s3:::${BUCKET}`, `arn:aws:s3:::${BUCKET}/*`],
  });
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [allow('owner'), allow('copier')] });
  await owner.send(new s3.PutBucketPolicyCommand({ Bucket: BUCKET, Policy }));
  f = await fixture(inject('databaseUrl'));
  const entry = await postEntry(f.ledger, f.bookkeeper, {
    ...{ bookedOn: '2026-03-31', debit: '6000 Expenses', credit: '1000 Bank', amountCents: 4_200 },
    ...{ memo: 'toner', bankReference: 'PO-1' },
  });
  await approveEntry(f.ledger, f.controller, entry, 'matches the purchase order');
  const toured = { ...f, org: NORTHWIND, entryIds: [entry], attachmentId: '' };
  stage = await auditStage({ ...f.database, ledger: f.ledger, toured, store: bucket('ledger') });
  superuser = new pg.Client({ connectionString: f.database.superuserUrl });
  await superuser.connect();
});
afterAll(async () => {
  for (const one of opened) one.destroy();
  rmSync(folder, { recursive: true });
  await superuser?.end();
  await stage?.close();
  await f?.close();
  await ceph?.stop();
});

/** `npx @ringfence/audit verify --bucket`, as somebody who has read access to the bucket and nothing else. */
async function verifyBucket(...args: readonly string[]): Promise<{ code: number; out: string }> {
  vi.stubEnv('AWS_REGION', 'us-east-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', COPIER.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', COPIER.secretAccessKey);
  const child = auditCommand(
    ...['verify', '--bucket', `s3://${BUCKET}/ledger`, '--endpoint', ceph.http, '--org', NORTHWIND.id],
    ...['--origin', AUDIT_ORIGIN, '--key', stage.logKey, ...args],
  );
  const [out, err, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  vi.unstubAllEnvs();
  expect(err).toBe('');
  return { code: Number(code), out };
}

test('nothing counts as copied behind a gateway that takes the lock headers out, or uploads in parts', async () => {
  await stage.trail.checkpointer.checkpoint(NORTHWIND.id);
  const attacks: [Gateway, string, string][] = [
    [await stripping(ceph.http), 'stripped', 'audit.copy_denied'], // the headers are signed
    [await inParts(ceph.http, client(COPIER)), 'parts', 'audit.retention_not_applied'],
  ];
  for (const [gateway, prefix, code] of attacks) {
    const store = bucket(prefix, gateway.endpoint);
    const copying = copyTo(store);
    for (let tries = 0; tries < 2; tries += 1) {
      const tried = copying.copy.copy(NORTHWIND.id);
      if (prefix === 'parts' && tries === 1) {
        // The object is there without a lock. The next try asks for it by itself, reads it back, and goes on to the next.
        await expect(tried).rejects.toMatchObject({ code });
        expect(await rowsOf(store)).toBe(1);
      } else {
        await expect(tried).rejects.toMatchObject({ code });
        expect(await rowsOf(store)).toBe(0);
      }
    }
    await copying.close();
    await gateway.close();
    const direct = copyTo(bucket(prefix));
    await direct.copy.copy(NORTHWIND.id);
    await direct.close();
  }
});

test('a segment of 8 MiB is one request, and every version of the bucket is locked for seven years', {
  timeout: 180_000,
}, async () => {
  const db = f.ledger.tenancy.forOrg(NORTHWIND.id, { actor: 'system:test', kind: 'system' });
  const note = '€'.repeat(10_000);
  for (let events = 0; events < 300; events += 1) {
    await f.ledger.audit.record(db, 'entry.searched', { outcome: 'success', note, data: { found: events } });
  }
  await stage.trail.checkpointer.checkpoint(NORTHWIND.id);
  const gateway = await transparent(ceph.http);
  const copying = copyTo(bucket('large', gateway.endpoint));
  await copying.copy.copy(NORTHWIND.id);
  await copying.close();
  await gateway.close();
  expect(gateway.seen.some(({ method, bytes }) => method === 'PUT' && bytes > 8 * 1024 * 1024)).toBe(true);
  expect(gateway.seen.filter(({ method, url }) => method === 'POST' || /[?&]upload/i.test(url))).toEqual([]);
  for await (const version of bucket('large').list('')) {
    const { mode, untilMs = 0 } = (await bucket('large').retention(version)) ?? {};
    expect([mode, untilMs > Date.now() + 2_556 * 86_400_000]).toEqual(['compliance', true]);
  }
});

test.each(auditLog.map((scene) => [scene.name, scene] as const))('%s: as stated', async (_, scene) => {
  const { stopped, code } = await scene.run(stage);
  expect({ stopped, code }).toEqual({ stopped: true, code: scene.expected });
});

test('the bucket alone tells the true history, and that what is shown now is another', async () => {
  const intact = await verifyBucket();
  expect([intact.code, intact.out]).toEqual([0, expect.stringContaining('ok: ')]);
  const shown = join(folder, 'shown.note');
  writeFileSync(shown, (await stage.restarted().checkpointer.newest(NORTHWIND.id))?.note ?? '');
  const { code, out } = await verifyBucket('--note', shown);
  expect([code, out]).toEqual([1, expect.stringMatching(/^rewritten: /)]);
});

test('a delete marker and a new version on top are noticed, and the version below still counts', async () => {
  const segments: ListedVersion[] = [];
  for await (const version of bucket('ledger').list(`${NORTHWIND.id}/segments/`)) segments.push(version);
  const [first] = segments;
  const object = { Bucket: BUCKET, Key: `ledger/${first?.key}` };
  const head = (out: string) => /^signed up to \d+, head .+$/m.exec(out)?.[0];
  const before = head((await verifyBucket()).out);
  const { VersionId: marker = '' } = await owner.send(new s3.DeleteObjectCommand(object));
  const hidden = await verifyBucket();
  expect([hidden.code, hidden.out]).toEqual([1, expect.stringMatching(/^delete_marker /)]);
  expect(head(hidden.out)).toBe(before);
  await owner.send(new s3.DeleteObjectCommand({ ...object, VersionId: marker }));
  const { VersionId: top = '' } = await owner.send(new s3.PutObjectCommand({ ...object, Body: 'another' }));
  const covered = await verifyBucket();
  expect([covered.code, covered.out]).toEqual([1, expect.stringMatching(/^overwritten /)]);
  expect(head(covered.out)).toBe(before);
  await owner.send(new s3.DeleteObjectCommand({ ...object, VersionId: top }));
  await expect(
    owner.send(new s3.DeleteObjectCommand({ ...object, VersionId: first?.versionId ?? '' })),
  ).rejects.toMatchObject({ name: 'AccessDenied' });
  expect(await verifyBucket()).toMatchObject({ code: 0 });
});
