/**
 * The guides of docs/byok, held to what they say: their TypeScript is compiled (the files in `guides`) and run with the
 * official clients against loopback servers, their JSON parses, and the AWS key policy allows what the provider does.
 */
import { readFileSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import { GoogleAuth, googleAuthLibrary } from 'google-gax';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fencesOf, snippetDrift } from '../../../tools/doc-snippets.ts';
import type { AzureKeyVaultOptions } from '../src/azure-key-vault/index.ts';
import type { KmsProvider } from '../src/kms.ts';
import { AwsKmsServer } from './servers/aws-kms-server.ts';
import { AzureKeyVaultServer, makeCertificate } from './servers/azure-key-vault-server.ts';
import { GcpKmsServer } from './servers/gcp-kms-server.ts';
import { CONTEXT, wrapFresh } from './servers/kms-expectations.ts';

const pageOf = (name: string) => new URL(`../../../docs/byok/${name}.md`, import.meta.url);
const read = (name: string) => readFileSync(pageOf(name), 'utf8');
const jsonOf = (name: string): unknown[] =>
  fencesOf(read(name))
    .filter(({ language }) => language === 'json')
    .map(({ code }) => JSON.parse(code) as unknown);

async function expectToServe(kms: KmsProvider, kekUri: string): Promise<void> {
  const { key, wrapped } = await wrapFresh(kms, kekUri);
  expect((await kms.unwrap(kekUri, wrapped, CONTEXT)).key).toEqual(key);
  expect(await kms.describe(kekUri)).toBe('enabled');
}

afterEach(() => {
  vi.unstubAllEnvs();
  vi.doUnmock('@google-cloud/kms');
  vi.doUnmock('@ringfence/crypto/azure-key-vault');
});

describe('the TypeScript of the guides', () => {
  it.each(['aws', 'gcp', 'azure'])('of %s is the code that is compiled and run here', (cloud) => {
    expect(snippetDrift(pageOf(cloud), [new URL(`./guides/byok-${cloud}.ts`, import.meta.url)])).toEqual([]);
  });

  it('of the life of a key is none', () => {
    expect(snippetDrift(pageOf('life'), [])).toEqual([]);
  });

  it('for AWS wraps and unwraps in the Region of the key, with what its key policy allows', async () => {
    const server = new AwsKmsServer();
    vi.stubEnv('AWS_ENDPOINT_URL_KMS', await server.listen());
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIATEST');
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret');
    const { clientFor, kms } = await import('./guides/byok-aws.ts');
    await expectToServe(kms, `aws-kms:${server.createKey('eu-central-1')}`);
    await expectToServe(kms, `aws-kms:${server.createKey('us-east-1')}`);
    expect(new Set(server.requests.map(({ region }) => region))).toEqual(
      new Set(['eu-central-1', 'us-east-1']),
    );
    const policy = jsonOf('aws')[0] as { Statement: PolicyStatement[] };
    const service = policy.Statement.filter(({ Principal }) => !Principal.AWS.endsWith(':root'));
    const allowed = service.flatMap(({ Action }) => Action).map((action) => action.replace('kms:', ''));
    expect(new Set(server.requests.map(({ operation }) => operation))).toEqual(new Set(allowed));
    for (const { operation, body } of server.requests) {
      const statement = service.find(({ Action }) => [Action].flat().includes(`kms:${operation}`));
      const conditions = Object.keys(statement?.Condition?.StringEquals ?? {});
      const names = conditions.map((name) => name.replace('kms:EncryptionContext:', ''));
      expect(names).toEqual(operation === 'DescribeKey' ? [] : ['app', 'org']);
      for (const name of names) expect(body['EncryptionContext']).toHaveProperty(name);
    }
    for (const region of ['eu-central-1', 'us-east-1']) clientFor(region).destroy();
    await server.close();
  });

  it('for Google Cloud wraps and unwraps', async () => {
    const server = new GcpKmsServer();
    const port = await server.listen();
    // The guide's client finds its address and credentials in its surroundings; here it is told them.
    vi.doMock('@google-cloud/kms', async (original) => {
      const module = await original<typeof import('@google-cloud/kms')>();
      class LoopbackClient extends module.KeyManagementServiceClient {
        constructor() {
          super({
            apiEndpoint: '127.0.0.1',
            port,
            projectId: 'saas',
            auth: new GoogleAuth({ authClient: new googleAuthLibrary.PassThroughClient() }),
            sslCreds: grpc.credentials.createInsecure(),
          });
        }
      }
      return { ...module, KeyManagementServiceClient: LoopbackClient };
    });
    const { kms } = await import('./guides/byok-gcp.ts');
    await expectToServe(kms, `gcp-kms:${server.createKey()}`);
    expect(server.requests.map(({ method }) => method)).toEqual(['encrypt', 'decrypt', 'getCryptoKey']);
    server.close();
  });

  const certificate = makeCertificate();
  it.skipIf(certificate === undefined)('for Azure (needs openssl) wraps and unwraps', async () => {
    const server = new AzureKeyVaultServer(certificate ?? { cert: '', key: '' });
    await server.listen();
    // A vault on 127.0.0.1 has neither a public certificate nor the domain its login challenge names.
    vi.doMock('@ringfence/crypto/azure-key-vault', async (original) => {
      const module = await original<typeof import('../src/azure-key-vault/index.ts')>();
      const clientOptions = {
        disableChallengeResourceVerification: true,
        tlsOptions: { ca: certificate?.cert ?? '' },
      };
      const azureKeyVault = (options: AzureKeyVaultOptions) =>
        module.azureKeyVault({ ...options, clientOptions });
      return { ...module, azureKeyVault };
    });
    const { vaultKms } = await import('./guides/byok-azure.ts');
    const asked: string[] = [];
    const kms = vaultKms((vaultUrl) => {
      asked.push(vaultUrl);
      return { getToken: async () => ({ token: 'good-token', expiresOnTimestamp: Date.now() + 3_600_000 }) };
    });
    await expectToServe(kms, `azure-key-vault:${server.url}/keys/${server.createKey()}`);
    expect(asked[0]).toContain(server.url);
    await server.close();
  });
});

interface PolicyStatement {
  readonly Sid: string;
  readonly Principal: { readonly AWS: string };
  readonly Action: string | readonly string[];
  readonly Condition?: { readonly StringEquals?: Readonly<Record<string, string>> };
}

describe('the JSON of the guides', () => {
  it('parses', () => {
    expect(jsonOf('aws')).toHaveLength(1);
    expect(jsonOf('gcp')).toHaveLength(2);
    const inCommands = /--logs '([^']*)'/.exec(read('azure'))?.[1] ?? '';
    expect(JSON.parse(inCommands)).toEqual([{ category: 'AuditEvent', enabled: true }]);
  });

  it('of Google Cloud gives the service the two roles that the command grants, and no other member any', () => {
    const { bindings } = jsonOf('gcp')[0] as { bindings: { role: string; members: string[] }[] };
    const command = /for role in ([^;]+);/.exec(read('gcp'))?.[1]?.split(' ');
    expect(bindings.map(({ role }) => role)).toEqual(command);
    const member = /--member (\S+)/.exec(read('gcp'))?.[1];
    for (const { members } of bindings) expect(members).toEqual([member]);
  });
});
