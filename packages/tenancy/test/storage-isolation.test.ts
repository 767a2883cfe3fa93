import { describe, expect, test } from 'vitest';
import {
  accessGrantsDocuments,
  type IsolationReport,
  parseOrgId,
  proveGrants,
  proveIsolation,
  type StorageDocuments,
  type StorageOperation,
  storageDocuments,
} from '../src/storage/index.ts';
import { mutationOperations, storageMutations } from '../src/storage/testing/index.ts';

const NAMES = {
  bucket: 'acme-objects',
  roleArn: 'arn:aws:iam::111122223333:role/app-objects',
  appArn: 'arn:aws:iam::111122223333:role/app',
};
const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const NEIGHBOUR = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61');

function expectProven(report: IsolationReport): void {
  expect(report.findings.slice(0, 5)).toEqual([]);
  expect(report.findings).toHaveLength(0);
}

describe('generated documents', () => {
  test('isolate five organisations over more than 10,000 requests, each document alone and all together', () => {
    const report = proveIsolation(storageDocuments(NAMES));
    expectProven(report);
    expect(report.pairs).toBeGreaterThan(10_000);
  }, 60_000);

  test.each<[string, readonly StorageOperation[]]>([
    ['reading alone', ['read']],
    ['listing alone', ['list']],
    ['everything', ['read', 'write', 'list', 'versions', 'delete']],
  ])('isolate when they are made for %s', (_, operations) => {
    expectProven(proveIsolation(storageDocuments({ ...NAMES, operations }), { orgs: [ORG, NEIGHBOUR] }));
  });

  test('isolate by session policy alone where the server has no session tags', () => {
    const documents = storageDocuments({ ...NAMES, sessionTags: false });
    expectProven(proveIsolation(documents, { orgs: [ORG, NEIGHBOUR] }));
    expect(JSON.stringify(documents.bucketPolicy)).not.toContain('PrincipalTag');
  });

  test('without session tags keep a session from assuming the role again, and refuse a role with a path', () => {
    const documents = storageDocuments({ ...NAMES, sessionTags: false });
    const [trusted] = documents.trustPolicy.Statement;
    const trustPolicy = { ...documents.trustPolicy, Statement: trusted === undefined ? [] : [trusted] };
    const { findings } = proveIsolation({ ...documents, trustPolicy }, { orgs: [ORG, NEIGHBOUR] });
    expect(new Set(findings.map(({ fault, layer }) => `${fault} ${layer}`))).toEqual(
      new Set(['no_org trust policy']),
    );
    const roleArn = 'arn:aws:iam:::role/team/objects';
    expect(() => storageDocuments({ ...NAMES, roleArn, sessionTags: false })).toThrow(TypeError);
    expect(() => storageDocuments({ ...NAMES, roleArn })).not.toThrow();
  });

  test('stay within the limits of AWS whatever the bucket is called, and do not know organisations', () => {
    const longest = 'b'.repeat(63);
    const operations: StorageOperation[] = ['read', 'write', 'list', 'versions', 'delete'];
    const documents = storageDocuments({ ...NAMES, bucket: longest, operations });
    expect(JSON.stringify(documents.sessionPolicy(ORG)).length).toBeLessThanOrEqual(1024);
    // 20 KB at AWS.
    expect(JSON.stringify(documents.bucketPolicy).length).toBeLessThanOrEqual(2560);
    expect(JSON.stringify([documents.bucketPolicy, documents.rolePolicy])).not.toMatch(
      /[0-9a-f]{8}-[0-9a-f]{4}/,
    );
  });

  test('never grant listing of uploads in progress, which has no condition on a prefix', () => {
    const operations: StorageOperation[] = ['read', 'write', 'list', 'versions', 'delete'];
    const { rolePolicy, sessionPolicy } = storageDocuments({ ...NAMES, operations });
    expect(JSON.stringify([rolePolicy, sessionPolicy(ORG)])).not.toContain('ListBucketMultipartUploads');
  });

  test('refuse names that mean something in a policy', () => {
    for (const bucket of ['*', 'a*b', 'UPPER', 'ab', 'a..b', 'a/b', '-ab', `${'b'.repeat(64)}`]) {
      expect(() => storageDocuments({ ...NAMES, bucket })).toThrow(TypeError);
    }
    for (const arn of [
      '*',
      'arn:aws:iam::111122223333:role/*',
      'arn:aws:iam::111122223333:root',
      '111122223333',
    ]) {
      expect(() => storageDocuments({ ...NAMES, roleArn: arn })).toThrow(TypeError);
      expect(() => storageDocuments({ ...NAMES, appArn: arn })).toThrow(TypeError);
    }
    expect(() => storageDocuments({ ...NAMES, operations: [] })).toThrow(TypeError);
    expect(() => storageDocuments({ ...NAMES, operations: ['read', 'read'] })).toThrow(TypeError);
    expect(() => storageDocuments({ ...NAMES, operations: ['admin' as StorageOperation] })).toThrow(
      TypeError,
    );
  });
});

describe('a mistake in one document', () => {
  const golden = storageDocuments({ ...NAMES, operations: mutationOperations });
  const orgs = [ORG, NEIGHBOUR];

  test('the documents the mistakes are made in are proven', () => {
    expectProven(proveIsolation(golden, { orgs }));
  });

  test.each(
    storageMutations.map((mutation) => [`${mutation.document}: ${mutation.name}`, mutation] as const),
  )('is found: %s', (_, { document, mutate }) => {
    const mutated: StorageDocuments = mutate(golden);
    expect(mutated[document]).not.toEqual(golden[document]);
    const { findings } = proveIsolation(mutated, { orgs });
    expect(findings.length).toBeGreaterThan(0);
    // The other documents still hold: no single mistake lets a proper session cross.
    expect(findings.filter(({ fault, layer }) => fault === 'cross_org' && layer === 'together')).toEqual([]);
  });

  test('takes two organisations to be found at all', () => {
    expect(() => proveIsolation(golden, { orgs: [ORG] })).toThrow(TypeError);
    expect(() => proveIsolation(golden, { orgs: [ORG, ORG] })).toThrow(TypeError);
  });
});

describe('access grants', () => {
  const documents = accessGrantsDocuments({
    bucket: 'acme-objects',
    accountId: '111122223333',
    region: 'eu-central-1',
    locationRoleArn: 'arn:aws:iam::111122223333:role/grants',
  });
  const subPrefix =
    (change: (text: string) => string): typeof documents.grant =>
    (org, grantee, permission) => {
      const grant = documents.grant(org, grantee, permission);
      const { S3SubPrefix } = grant.AccessGrantsLocationConfiguration;
      return { ...grant, AccessGrantsLocationConfiguration: { S3SubPrefix: change(S3SubPrefix) } };
    };

  test('cover each key of an organisation and none of another', () => {
    expectProven(proveGrants(documents));
  });

  test.each([
    ['no slash', subPrefix((text) => text.replace('/*', '*'))],
    ['no wildcard', subPrefix((text) => text.replace('/*', '/'))],
    ['everything', subPrefix(() => '*')],
  ])('a mistake in the sub-prefix is found: %s', (_, grant) => {
    expect(proveGrants({ ...documents, grant }).findings.length).toBeGreaterThan(0);
  });

  test('a location over the whole bucket is found', () => {
    const location = { ...documents.location, LocationScope: 's3://acme-objects/' };
    expect(proveGrants({ ...documents, location }).findings.length).toBeGreaterThan(0);
  });

  test('name the instance in both policies of the location', () => {
    const instance = 'arn:aws:s3:eu-central-1:111122223333:access-grants/default';
    expect(JSON.stringify(documents.locationTrustPolicy)).toContain(instance);
    expect(JSON.stringify(documents.locationRolePolicy)).toContain(instance);
  });
});
