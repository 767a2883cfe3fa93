/**
 * Loopback servers of the three clouds' protocols behind the official clients, and customers' keys in them. Key Vault needs
 * openssl for a certificate; without it, it is left out.
 */
import { KMSClient } from '@aws-sdk/client-kms';
import { KeyManagementServiceClient } from '@google-cloud/kms';
import * as grpc from '@grpc/grpc-js';
import { GoogleAuth, googleAuthLibrary } from 'google-gax';
import { awsKms } from '../src/aws-kms/index.ts';
import { azureKeyVault } from '../src/azure-key-vault/index.ts';
import { gcpKms } from '../src/gcp-kms/index.ts';
import type { KmsProvider } from '../src/index.ts';
import { AwsKmsServer } from './servers/aws-kms-server.ts';
import { AzureKeyVaultServer, makeCertificate } from './servers/azure-key-vault-server.ts';
import { GcpKmsServer } from './servers/gcp-kms-server.ts';

/** One customer's key in one cloud. */
export interface CustomerKey {
  readonly uri: string;
  disable(): void;
  enable(): void;
  scheduleDeletion(): void;
  /** What the service answers to every request, of this key and others. */
  answer(fault: 'denied' | 'throttled' | undefined): void;
  /** Requests the service has had, login challenges left out. */
  requests(): number;
}

/** The clouds of one test file; nothing listens before `listen`. */
export class Clouds {
  readonly aws = new AwsKmsServer();
  readonly gcp = new GcpKmsServer();
  readonly azure: AzureKeyVaultServer | undefined;
  /** Names, and what makes a customer's key there. */
  readonly all: readonly (readonly [string, () => CustomerKey])[];
  readonly #certificate = makeCertificate();
  readonly #closing: (() => Promise<void> | void)[] = [];

  constructor() {
    this.azure = this.#certificate && new AzureKeyVaultServer(this.#certificate);
    this.all = [
      ['AWS KMS', () => this.awsKey()],
      ['Cloud KMS', () => this.gcpKey()],
      ...(this.azure === undefined ? [] : ([['Key Vault', () => this.azureKey()]] as const)),
    ];
  }

  /** Starts the servers and gives a provider for each. */
  async listen(): Promise<KmsProvider[]> {
    const awsClient = new KMSClient({
      region: 'eu-central-1',
      endpoint: await this.aws.listen(),
      maxAttempts: 1,
      credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
    });
    const gcpClient = new KeyManagementServiceClient({
      apiEndpoint: '127.0.0.1',
      port: await this.gcp.listen(),
      projectId: 'saas',
      auth: new GoogleAuth({ authClient: new googleAuthLibrary.PassThroughClient() }),
      sslCreds: grpc.credentials.createInsecure(),
    });
    this.#closing.push(
      () => awsClient.destroy(),
      () => gcpClient.close(),
      () => this.aws.close(),
      () => this.gcp.close(),
    );
    const kms = [
      awsKms({ client: awsClient, timeoutMs: 5000 }),
      gcpKms({ client: gcpClient, timeoutMs: 5000 }),
    ];
    return this.azure === undefined ? kms : [...kms, await this.#vaultKms(this.azure)];
  }

  async close(): Promise<void> {
    for (const close of this.#closing) await close();
  }

  /** Ends the faults of all. */
  heal(): void {
    for (const server of [this.aws, this.gcp, this.azure]) if (server !== undefined) server.fault = undefined;
  }

  awsKey(): CustomerKey {
    const { aws } = this;
    const arn = aws.createKey('eu-central-1');
    return {
      uri: `aws-kms:${arn}`,
      disable: () => aws.setState(arn, 'Disabled'),
      enable: () => aws.setState(arn, 'Enabled'),
      scheduleDeletion: () => aws.setState(arn, 'PendingDeletion'),
      answer: (fault) => {
        aws.fault = fault;
      },
      requests: () => aws.requests.length,
    };
  }

  gcpKey(): CustomerKey {
    const { gcp } = this;
    const name = gcp.createKey();
    return {
      uri: `gcp-kms:${name}`,
      disable: () => gcp.setState(name, 'DISABLED'),
      enable: () => gcp.setState(name, 'ENABLED'),
      scheduleDeletion: () => gcp.setState(name, 'DESTROY_SCHEDULED'),
      answer: (fault) => {
        gcp.fault = fault;
      },
      requests: () => gcp.requests.length,
    };
  }

  azureKey(): CustomerKey {
    const server = this.azure;
    if (server === undefined) throw new Error('no certificate, no vault');
    const name = server.createKey();
    return {
      uri: `azure-key-vault:${server.url}/keys/${name}`,
      disable: () => server.setState(name, 'disabled'),
      enable: () => server.setState(name, 'enabled'),
      scheduleDeletion: () => server.setState(name, 'deleted'),
      answer: (fault) => {
        server.fault = fault;
      },
      requests: () => server.requests.filter(({ authorized }) => authorized).length,
    };
  }

  async #vaultKms(server: AzureKeyVaultServer): Promise<KmsProvider> {
    await server.listen();
    this.#closing.push(() => server.close());
    const token = { token: 'good-token', expiresOnTimestamp: Date.now() + 3_600_000 };
    return azureKeyVault({
      credential: { getToken: () => Promise.resolve(token) },
      timeoutMs: 5000,
      clientOptions: {
        disableChallengeResourceVerification: true,
        tlsOptions: { ca: this.#certificate?.cert ?? '' },
        retryOptions: { maxRetries: 0 },
      },
    });
  }
}
