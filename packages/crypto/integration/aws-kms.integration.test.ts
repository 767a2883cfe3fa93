/**
 * AWS KMS provider with the official client against moto, with the rules of use moto leaves out (see the Python file).
 * Independent of the loopback server in `test`: keys, states, replicas and policies are moto's. A missing moto fails here.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import {
  CancelKeyDeletionCommand,
  CreateKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  KMSClient,
  PutKeyPolicyCommand,
  ReplicateKeyCommand,
  ScheduleKeyDeletionCommand,
} from '@aws-sdk/client-kms';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { awsKms } from '../src/aws-kms/index.ts';
import type { KmsProvider } from '../src/kms.ts';
import { kmsConformance } from '../src/testing/index.ts';
import { CONTEXT, failureOf, OTHER_ORG, wrapFresh } from '../test/servers/kms-expectations.ts';

const CALLER = 'arn:aws:iam::999988887777:role/ledger-keys';
const HOME = 'eu-central-1';
const DENIES_USE = JSON.stringify({
  Statement: [{ Effect: 'Deny', Principal: '*', Action: 'kms:*crypt', Resource: '*' }],
});
const clients = new Map<string, KMSClient>();
let child: ChildProcess;
let port = 0;
let kms: KmsProvider;

function clientOf(region: string): KMSClient {
  const client =
    clients.get(region) ??
    new KMSClient({
      region,
      endpoint: `http://127.0.0.1:${port}`,
      credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
    });
  clients.set(region, client);
  return client;
}

async function createKey(multiRegion = false): Promise<string> {
  const { KeyMetadata } = await clientOf(HOME).send(new CreateKeyCommand({ MultiRegion: multiRegion }));
  if (KeyMetadata?.Arn === undefined) throw new Error('no key was made');
  return KeyMetadata.Arn;
}

/** The key id alone: moto's management calls do not take ARNs. */
function idOf(arn: string): string {
  return arn.slice(arn.indexOf('/') + 1);
}

async function disable(arn: string): Promise<void> {
  await clientOf(HOME).send(new DisableKeyCommand({ KeyId: idOf(arn) }));
}

async function enable(arn: string): Promise<void> {
  await clientOf(HOME).send(new EnableKeyCommand({ KeyId: idOf(arn) }));
}

async function scheduleDeletion(arn: string): Promise<void> {
  await clientOf(HOME).send(new ScheduleKeyDeletionCommand({ KeyId: idOf(arn), PendingWindowInDays: 7 }));
}

async function setPolicy(arn: string, policy: string): Promise<void> {
  const command = new PutKeyPolicyCommand({ KeyId: idOf(arn), PolicyName: 'default', Policy: policy });
  await clientOf(HOME).send(command);
}

/** Stands for the end of a waiting period: moto forgets every key. Each case makes its own. */
async function forgetAllKeys(): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/moto-api/reset`, { method: 'POST' });
  if (!answer.ok) throw new Error(`moto did not reset: ${answer.status}`);
}

beforeAll(async () => {
  child = spawn('python3', [new URL('kms_strict_server.py', import.meta.url).pathname, CALLER], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  port = await new Promise((resolve, reject) => {
    let output = '';
    let errors = '';
    child.stderr?.on('data', (chunk) => {
      errors += String(chunk);
    });
    child.stdout?.on('data', (chunk) => {
      output += String(chunk);
      const ready = /ready (\d+)/.exec(output)?.[1];
      if (ready !== undefined) resolve(Number(ready));
    });
    child.on('error', reject);
    child.on('exit', (code) => {
      reject(
        new Error(
          `the strict KMS server ended with ${code}; it needs python3 with moto[server] 5: ${errors}`,
        ),
      );
    });
  });
  kms = awsKms({ client: ({ region }) => clientOf(region) });
});

afterAll(() => {
  for (const client of clients.values()) client.destroy();
  child?.stdin?.end();
});

describe('AWS KMS conformance: official client against moto with strict rules', () => {
  for (const { name, needs, run } of kmsConformance) {
    // This server has no fault switches; the loopback server of the ordinary tests has them.
    if (needs === 'inject') continue;
    it(name, async () => {
      const arn = await createKey();
      await run({
        provider: kms,
        kekUri: `aws-kms:${arn}`,
        otherKekUri: `aws-kms:${await createKey()}`,
        disable: () => disable(arn),
        enable: () => enable(arn),
        scheduleDeletion: () => scheduleDeletion(arn),
        destroy: forgetAllKeys,
        deny: () => setPolicy(arn, DENIES_USE),
      });
    });
  }
});

describe('AWS KMS life of a key, on moto with strict rules', () => {
  it('disable, enable, schedule deletion, cancel: the service follows the owner and resumes by itself', async () => {
    const arn = await createKey();
    const kekUri = `aws-kms:${arn}`;
    const { key, wrapped } = await wrapFresh(kms, kekUri);

    await disable(arn);
    expect((await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.key_revoked');
    expect(await kms.describe(kekUri)).toBe('disabled');

    await enable(arn);
    expect((await kms.unwrap(kekUri, wrapped, CONTEXT)).key).toEqual(key);

    await scheduleDeletion(arn);
    expect((await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.key_destroyed');
    expect(await kms.describe(kekUri)).toBe('pending_deletion');

    await clientOf(HOME).send(new CancelKeyDeletionCommand({ KeyId: idOf(arn) }));
    expect((await failureOf(kms.unwrap(kekUri, wrapped, CONTEXT))).code).toBe('crypto.key_revoked');
    await enable(arn);
    expect((await kms.unwrap(kekUri, wrapped, CONTEXT)).key).toEqual(key);
  });

  it('a wrap of one organisation does not open for another', async () => {
    const kekUri = `aws-kms:${await createKey()}`;
    const { wrapped } = await wrapFresh(kms, kekUri);
    const error = await failureOf(kms.unwrap(kekUri, wrapped, OTHER_ORG));
    expect(error.code).toBe('crypto.wrap_tampered');
    expect(error.message).toContain('InvalidCiphertextException');
  });

  it('the KMS refuses a wrap under another KEK by itself', async () => {
    const { wrapped } = await wrapFresh(kms, `aws-kms:${await createKey()}`);
    const error = await failureOf(kms.unwrap(`aws-kms:${await createKey()}`, wrapped, CONTEXT));
    expect(error.message).toContain('IncorrectKeyException');
  });
});

describe('AWS KMS multi-Region keys, on moto with strict rules', () => {
  it('a wrap made in eu-central-1 opens in eu-west-1, also when the primary is disabled', async () => {
    const primary = await createKey(true);
    const answer = await clientOf(HOME).send(
      new ReplicateKeyCommand({ KeyId: idOf(primary), ReplicaRegion: 'eu-west-1' }),
    );
    const replica = answer.ReplicaKeyMetadata?.Arn ?? '';
    expect(replica).toContain(':eu-west-1:');
    const { key, wrapped } = await wrapFresh(kms, `aws-kms:${primary}`);
    await disable(primary);
    expect((await kms.unwrap(`aws-kms:${replica}`, wrapped, CONTEXT)).key).toEqual(key);
    expect(await kms.describe(`aws-kms:${replica}`)).toBe('enabled');
    expect((await failureOf(kms.unwrap(`aws-kms:${primary}`, wrapped, CONTEXT))).code).toBe(
      'crypto.key_revoked',
    );
  });

  it('a single-Region key does not exist in another Region', async () => {
    const arn = await createKey();
    const { wrapped } = await wrapFresh(kms, `aws-kms:${arn}`);
    const elsewhere = `aws-kms:${arn.replace('eu-central-1', 'eu-west-1')}`;
    expect((await failureOf(kms.unwrap(elsewhere, wrapped, CONTEXT))).code).toBe('crypto.key_destroyed');
  });
});

describe('the key policy of docs/byok/aws.md, on moto with strict rules', () => {
  const guide = readFileSync(new URL('../../../docs/byok/aws.md', import.meta.url), 'utf8');
  const policy = /```json\n([\s\S]*?)```/.exec(guide)?.[1] ?? '';

  it('serves the named organisation and application, and denies every other', async () => {
    expect(policy).toContain(CALLER);
    expect(policy).toContain(CONTEXT.org);
    const arn = await createKey();
    const kekUri = `aws-kms:${arn}`;
    const theirs = await wrapFresh(kms, kekUri, OTHER_ORG);
    await setPolicy(arn, policy);
    const { key, wrapped } = await wrapFresh(kms, kekUri);
    expect((await kms.unwrap(kekUri, wrapped, CONTEXT)).key).toEqual(key);
    for (const context of [OTHER_ORG, { ...CONTEXT, app: 'takeoff' }]) {
      expect((await failureOf(kms.wrap(kekUri, key, context))).code).toBe('crypto.key_denied');
    }
    expect((await failureOf(kms.unwrap(kekUri, theirs.wrapped, OTHER_ORG))).code).toBe('crypto.key_denied');
  });
});
