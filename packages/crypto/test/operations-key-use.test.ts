import { KMSClient } from '@aws-sdk/client-kms';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { awsKms } from '../src/aws-kms/index.ts';
import type { KeyUse, KmsCall, KmsProvider, OrgId } from '../src/index.ts';
import { type KeyUseLedger, keyUseLedger } from '../src/key-use/index.ts';
import { Clouds } from './clouds-setup.ts';
import { codeOfAsync } from './keyring-setup.ts';
import { anyOrg, type KeyDatabase, keks, keyDatabase, manyOrgs, station } from './operations-setup.ts';
import { AwsKmsServer } from './servers/aws-kms-server.ts';

const AWS_OPERATION = { wrap: 'Encrypt', unwrap: 'Decrypt', describe: 'DescribeKey' } as const;
const clouds = new Clouds();
const withOpenssl = clouds.azure === undefined ? it.skip : it;
let database: KeyDatabase;
let server: AwsKmsServer;
let client: KMSClient;
let reports: KeyUse[];
let keyUse: KeyUseLedger;

beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'keyuse');
});
afterAll(async () => {
  await database.close();
});
beforeEach(async () => {
  server = new AwsKmsServer();
  client = new KMSClient({
    region: 'eu-central-1',
    endpoint: await server.listen(),
    maxAttempts: 3,
    credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
  });
  reports = [];
  keyUse = keyUseLedger({ port: { record: (use) => void reports.push(use) } });
});
afterEach(async () => {
  client.destroy();
  await server.close();
});

const newKek = () => `aws-kms:${server.createKey('eu-central-1')}`;

/** Operations that report to the ledger, beside a keyring that does too; nothing else asks the server. */
function stationOn(kekFor: () => string, providers: readonly KmsProvider[] = [keks('platform')]) {
  const parts = station(database.store, [...providers, awsKms({ client })], kekFor, { keyUse });
  return { ...parts, operations: parts.operator({ keyUse }) };
}

async function calls(): Promise<KmsCall[]> {
  await keyUse.flush();
  return reports.flatMap(({ kms }) => kms);
}

/** Every request id and operation in the ledger, against those in the log of the server. */
async function expectReconciled(): Promise<void> {
  const ours = (await calls())
    .filter(({ kekUri }) => kekUri.startsWith('aws-kms:'))
    .flatMap(({ operation, requestId, moreRequestIds = [] }) =>
      [requestId, ...moreRequestIds].map((id) => [id, AWS_OPERATION[operation]]),
    );
  const log = server.requests.map(({ operation }, index) => [`req-${index + 1}`, operation]);
  expect(ours.sort()).toEqual(log.sort());
}

describe('every request id the KMS answered is in the ledger, once', () => {
  it('of rotate, status, the moves to a customer key and back, and a re-wrap of many', async () => {
    const [platform, customer, later] = [newKek(), newKek(), newKek()];
    const { keyring, operations } = stationOn(() => platform);
    const orgs = manyOrgs(6);
    for (const org of orgs) await keyring.createOrg(org);
    const [org, other] = orgs as [OrgId, OrgId];
    await operations.rotate(org);
    await operations.status(org);
    await operations.moveKek(org, { from: platform, to: customer });
    await operations.moveKek(org, { from: customer, to: platform });
    await operations.addWrap(other, customer);
    await operations.removeWrap(other, platform);
    await operations.moveKek(other, { from: customer, to: platform });
    const { kmsCalls } = await operations.rewrapAll({ orgs, to: () => later });
    expect(kmsCalls).toBe(15); // seven versions, two calls each, and one proof of the KEK
    await keyring.org(org);
    expect(server.requests).toHaveLength(50);
    await expectReconciled();
    expect(new Set((await calls()).map(({ outcome }) => outcome))).toEqual(new Set(['ok']));
  });

  it('of calls that were refused, with their code', async () => {
    const [platform, customer] = [newKek(), newKek()];
    const { keyring, operations } = stationOn(() => platform);
    const org = anyOrg();
    await keyring.createOrg(org);
    const arn = customer.slice('aws-kms:'.length);
    server.setState(arn, 'Disabled');
    expect(await codeOfAsync(operations.addWrap(org, customer))).toBe('crypto.key_revoked');
    server.setState(arn, 'PendingDeletion');
    expect(await codeOfAsync(operations.addWrap(org, customer))).toBe('crypto.key_destroyed');
    server.fault = 'denied';
    expect(await codeOfAsync(operations.rotate(org))).toBe('crypto.key_denied');
    expect((await operations.status(org)).keks).toEqual([{ kekUri: platform, state: 'denied' }]);
    const { failures } = await operations.rewrapAll({ orgs: [org], to: () => customer });
    expect(failures).toHaveLength(1);
    server.fault = 'short_key';
    expect(await codeOfAsync(operations.addWrap(org, customer))).toBe('crypto.kms_malformed_answer');
    await expectReconciled();
    expect((await calls()).map(({ operation, outcome }) => [operation, outcome])).toEqual([
      ['wrap', 'ok'],
      ['unwrap', 'ok'],
      ['wrap', 'crypto.key_revoked'],
      ['unwrap', 'ok'],
      ['wrap', 'crypto.key_destroyed'],
      ['wrap', 'crypto.key_denied'],
      ['describe', 'crypto.key_denied'],
      ['unwrap', 'crypto.key_denied'],
      ['unwrap', 'crypto.kms_malformed_answer'],
    ]);
  });

  it('of attempts that the client repeats, which the log of the cloud shows one by one', async () => {
    const platform = newKek();
    const { keyring, operations } = stationOn(() => platform);
    const org = anyOrg();
    await keyring.createOrg(org);
    server.throttleNext = 2;
    await operations.rotate(org);
    server.throttleNext = 3;
    expect(await codeOfAsync(operations.addWrap(org, newKek()))).toBe('crypto.kms_unavailable');
    await expectReconciled();
    expect((await calls()).map(({ outcome, moreRequestIds = [] }) => [outcome, moreRequestIds])).toEqual([
      ['ok', []],
      ['ok', ['req-2', 'req-3']],
      ['ok', []],
      ['crypto.kms_unavailable', ['req-6', 'req-7']],
    ]);
  });

  withOpenssl('of the read-back of a wrap, and of the states of a deleted key, in Key Vault', async () => {
    const vault = clouds.azure as NonNullable<typeof clouds.azure>;
    const providers = [keks('platform'), ...(await clouds.listen())].filter(
      ({ scheme }) => scheme !== 'aws-kms',
    );
    const key = clouds.azureKey();
    const kekUri = key.uri;
    const { keyring, operations } = stationOn(() => 'local:platform', providers);
    const org = anyOrg();
    await keyring.createOrg(org);
    await operations.moveKek(org, { from: 'local:platform', to: kekUri });
    key.scheduleDeletion();
    await operations.status(org);
    expect(await codeOfAsync(operations.rotate(org))).toBe('crypto.key_destroyed');
    const ours = (await calls()).filter((call) => call.kekUri === kekUri);
    const log = vault.requests.flatMap(({ authorized }, i) => (authorized ? [`ms-${i + 1}`] : []));
    expect(
      ours.flatMap(({ requestId, moreRequestIds = [] }) => [requestId, ...moreRequestIds]).sort(),
    ).toEqual(log.sort());
    expect(ours.map(({ operation, moreRequestIds = [] }) => [operation, moreRequestIds.length])).toEqual([
      ['wrap', 1],
      ['unwrap', 0],
      ['unwrap', 0],
      ['describe', 1],
      ['wrap', 0],
    ]);
    await clouds.close();
  });
});

describe('a key operation in the ledger', () => {
  it('is one report of its organisation, without keys and counts, when it ends', async () => {
    const platform = newKek();
    const { keyring, operations } = stationOn(() => platform);
    const orgs = manyOrgs(3);
    for (const org of orgs) await keyring.createOrg(org);
    await keyUse.flush();
    reports.length = 0;
    const later = newKek();
    await operations.rotate(orgs[0] as OrgId);
    await operations.rewrapAll({ orgs, to: () => later });
    await operations.shred(orgs[1] as OrgId, { reason: 'asks no KMS' });
    await keyUse.flush();
    expect(reports).toHaveLength(4);
    expect(new Set(reports.map(({ leaseId }) => leaseId)).size).toBe(4);
    const [rotation, ...rewraps] = reports as [KeyUse, ...KeyUse[]];
    const active = (await database.store.load(orgs[0] as OrgId)).at(-1);
    expect(rotation).toMatchObject({ v: 1, org: orgs[0], sequence: 1, keyIds: [], counts: [] });
    expect(rotation.kms.map(({ operation, keyId }) => [operation, keyId])).toEqual([
      ['wrap', active?.keyId],
      ['unwrap', active?.keyId],
    ]);
    expect(rewraps.map(({ org }) => org).sort()).toEqual(orgs);
    for (const { org, kms } of rewraps) {
      const ids = (await database.store.load(org)).map(({ keyId }) => keyId);
      for (const { keyId, operation } of kms) expect([org, ids.includes(keyId), operation]).toContain(true);
    }
    expect(keyUse.stats()).toMatchObject({ leases: 0, pending: 0 });
  });

  it('does not wait for the port, and does not fail with it', async () => {
    const failures: unknown[] = [];
    const deaf = keyUseLedger({
      port: { record: () => Promise.reject(new Error('the audit log is down')) },
      onError: ({ error }) => failures.push(error),
    });
    const { keyring, operator } = stationOn(() => 'local:platform');
    const org = anyOrg();
    await keyring.createOrg(org);
    expect(await operator({ keyUse: deaf }).rotate(org)).toMatchObject({ version: 2 });
    await vi.waitFor(() => expect(failures).toHaveLength(1));
    expect(deaf.stats().pending).toBe(1);
  });

  it('shows an answer behind the time limit under its request id, whether it comes as result or as refusal', async () => {
    const platform = keks('platform');
    let answer = (): void => {};
    const waiting = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const slow: KmsProvider = {
      ...platform,
      scheme: 'local',
      wrap: (...args) => platform.wrap(...args),
      unwrap: (...args) => platform.unwrap(...args),
      describe: async (_, options) => {
        options?.onRequestId?.('first-attempt');
        await waiting;
        options?.onRequestId?.('refused-late');
        throw new Error('refused, but nobody listens');
      },
    };
    const { keyring, operator } = stationOn(() => 'local:platform', [slow]);
    const org = anyOrg();
    await keyring.createOrg(org);
    await keyUse.flush();
    reports.length = 0;
    const operations = operator({ keyUse, kmsTimeoutMs: 10 });
    expect((await operations.status(org)).keks[0]?.state).toBe('unavailable');
    answer();
    await vi.waitFor(async () => {
      expect((await calls()).map(({ requestId, outcome }) => [requestId, outcome])).toEqual([
        ['first-attempt', 'crypto.kms_unavailable'],
        ['refused-late', 'late'],
      ]);
    });
  });
});
