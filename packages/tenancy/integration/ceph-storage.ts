/**
 * A Ceph gateway with an owner of buckets, an application and a stranger, and the clients tests ask it through: what the
 * integration tests of object storage start from.
 */
import { Agent } from 'node:https';
import * as s3 from '@aws-sdk/client-s3';
import {
  AssumeRoleCommand,
  type AssumeRoleCommandInput,
  type Credentials,
  STSClient,
} from '@aws-sdk/client-sts';
import { type CephRgw, startCephRgw } from '../../../tools/ceph-rgw.ts';
import type { OrgStorageOptions } from '../src/s3/index.ts';
import {
  type ObjectInfo,
  type StorageDocuments,
  type StorageOperation,
  storageDocuments,
} from '../src/storage/index.ts';

const REGION = 'us-east-1';
export const APP = { accessKeyId: 'APP', secretAccessKey: 'app-secret' };
const OWNER = { accessKeyId: 'OWNER', secretAccessKey: 'owner-secret' };
export const STRANGER = { accessKeyId: 'STRANGER', secretAccessKey: 'stranger-secret' };

export type CephStorage = Awaited<ReturnType<typeof startCephStorage>>;

export async function startCephStorage() {
  const ceph: CephRgw = await startCephRgw();
  const agent = new Agent({ ca: ceph.ca, keepAlive: true });
  const opened: { destroy(): void }[] = [];
  for (const [uid, { accessKeyId, secretAccessKey }] of Object.entries({
    owner: OWNER,
    app: APP,
    stranger: STRANGER,
  })) {
    const keys = [`--access-key=${accessKeyId}`, `--secret=${secretAccessKey}`];
    await ceph.admin('user', 'create', `--uid=${uid}`, `--display-name=${uid}`, ...keys);
  }
  const owner = client(OWNER);
  function settings(): OrgStorageOptions['s3'] & { endpoint: string } {
    return {
      endpoint: ceph.https,
      region: REGION,
      forcePathStyle: true,
      requestHandler: { httpsAgent: agent },
    };
  }

  function client(credentials: s3.S3ClientConfig['credentials'], endpoint = ceph.https): s3.S3Client {
    const made = new s3.S3Client({ ...settings(), endpoint, credentials: credentials ?? APP });
    opened.push(made);
    return made;
  }

  function tokenService(credentials: typeof APP & { sessionToken?: string } = APP): STSClient {
    const { endpoint, region, requestHandler } = settings();
    const made = new STSClient({ endpoint, region, requestHandler, credentials } as never);
    opened.push(made);
    return made;
  }

  /** A bucket with its role and all generated documents. */
  async function deploy(name: string, operations: readonly StorageOperation[]): Promise<StorageDocuments> {
    const documents = storageDocuments({
      bucket: name,
      roleArn: `arn:aws:iam:::role/${name}`,
      appArn: 'arn:aws:iam:::user/app',
      operations,
      sessionTags: false,
    });
    await owner.send(new s3.CreateBucketCommand({ Bucket: name }));
    // Not BlockPublicAcls: with it, this server refuses every upload, though not copies.
    const PublicAccessBlockConfiguration = {
      IgnorePublicAcls: true,
      RestrictPublicBuckets: true,
      BlockPublicPolicy: true,
    };
    await owner.send(new s3.PutPublicAccessBlockCommand({ Bucket: name, PublicAccessBlockConfiguration }));
    await owner.send(
      new s3.PutBucketPolicyCommand({ Bucket: name, Policy: JSON.stringify(documents.bucketPolicy) }),
    );
    const trust = `--assume-role-policy-doc=${JSON.stringify(documents.trustPolicy)}`;
    await ceph.admin('role', 'create', `--role-name=${name}`, trust);
    await putRolePolicy(name, documents.rolePolicy);
    return documents;
  }

  async function putRolePolicy(role: string, policy: unknown): Promise<void> {
    const document = `--policy-doc=${JSON.stringify(policy)}`;
    await ceph.admin('role-policy', 'put', `--role-name=${role}`, '--policy-name=objects', document);
  }

  async function assume(input: Partial<AssumeRoleCommandInput>, sts = tokenService()): Promise<Credentials> {
    const command = new AssumeRoleCommand({ RoleArn: undefined, RoleSessionName: 'raw', ...input });
    const { Credentials } = await sts.send(command);
    if (Credentials === undefined) throw new Error('no credentials');
    return Credentials;
  }

  /** The token service, asked with a session instead of the application's own key. */
  function sessionTokenService({ AccessKeyId, SecretAccessKey, SessionToken }: Credentials): STSClient {
    const accessKeyId = AccessKeyId ?? '';
    return tokenService({
      accessKeyId,
      secretAccessKey: SecretAccessKey ?? '',
      sessionToken: SessionToken ?? '',
    });
  }

  function sessionClient(credentials: Credentials, endpoint?: string): s3.S3Client {
    const { AccessKeyId = '', SecretAccessKey = '', SessionToken = '' } = credentials;
    return client(
      { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken },
      endpoint,
    );
  }

  async function stop(): Promise<void> {
    for (const each of opened) each.destroy();
    agent.destroy();
    await ceph.stop();
  }

  return {
    ceph,
    owner,
    opened,
    settings,
    client,
    tokenService,
    sessionTokenService,
    deploy,
    putRolePolicy,
    assume,
    sessionClient,
    stop,
  };
}

export async function collect(list: AsyncIterable<ObjectInfo>): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = [];
  for await (const info of list) found.push(info);
  return found;
}

/** `403` or what came instead. */
export async function outcome(promise: Promise<unknown>): Promise<number | string> {
  try {
    await promise;
    return 'allowed';
  } catch (error) {
    return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode ?? String(error);
  }
}
