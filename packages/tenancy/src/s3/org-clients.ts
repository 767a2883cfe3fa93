/**
 * One S3 client per organisation, each with credentials of its own: AssumeRole with the organisation's session policy and
 * tag. The SDK asks for new ones five minutes before they end, and once for all requests that wait. Clients share the
 * connections of one handler, so that an organisation costs a credential and no socket.
 * Invariant: no client has other credentials; the application's own never sign a request about objects.
 */
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { AssumeRoleCommand, type STSClient } from '@aws-sdk/client-sts';
import { RingfenceTenancyError } from '../errors.ts';
import type { OrgId } from '../org-id.ts';
import { sessionPolicy } from '../storage/documents.ts';
import type { StorageOperation } from '../storage/operations.ts';
import { fromTokenError } from './s3-errors.ts';

/** Life of a session, seconds: the most a role allows unless told otherwise. */
const SESSION_SECONDS = 3600;

/** What sessions are made from. */
export interface SessionSource {
  readonly s3: S3ClientConfig;
  readonly sts: STSClient;
  readonly roleArn: string;
  readonly bucket: string;
  readonly operations: readonly StorageOperation[];
  readonly maxSessions: number;
}

/** Least recently used organisations are dropped beyond `maxSessions`; a dropped client finishes what it began. */
export class OrgClients {
  readonly #source: SessionSource;
  readonly #clients = new Map<OrgId, S3Client>();
  /** Never sends: it owns the connections. */
  readonly #base: S3Client;

  constructor(source: SessionSource) {
    this.#source = source;
    const credentials = () => Promise.reject(new TypeError('only sessions of organisations send requests'));
    this.#base = new S3Client({ ...source.s3, credentials });
  }

  /** The client of an organisation. Makes no request by itself. */
  of(org: OrgId): S3Client {
    const { s3, maxSessions } = this.#source;
    const client =
      this.#clients.get(org) ??
      new S3Client({
        ...s3,
        requestHandler: this.#base.config.requestHandler,
        credentials: () => this.#assume(org),
      });
    this.#clients.delete(org);
    this.#clients.set(org, client);
    for (const oldest of this.#clients.keys()) {
      if (this.#clients.size <= maxSessions) break;
      this.#clients.delete(oldest);
    }
    return client;
  }

  /** Forgets a client whose session the server calls ended: the clock here says otherwise, and would not renew it. */
  drop(org: OrgId, client: S3Client): void {
    if (this.#clients.get(org) === client) this.#clients.delete(org);
  }

  /** Ends the connections. */
  close(): void {
    this.#clients.clear();
    this.#base.destroy();
  }

  async #assume(org: OrgId): Promise<{
    accessKeyId: string;
    secretAccessKey: string;
    sessionToken: string;
    expiration: Date;
  }> {
    const { sts, roleArn, bucket, operations } = this.#source;
    const command = new AssumeRoleCommand({
      RoleArn: roleArn,
      RoleSessionName: `org-${org}`,
      DurationSeconds: SESSION_SECONDS,
      Policy: JSON.stringify(sessionPolicy(bucket, org, operations)),
      Tags: [{ Key: 'org_id', Value: org }],
    });
    const { Credentials } = await sts.send(command).catch((error: unknown) => {
      throw fromTokenError(error, org);
    });
    const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = Credentials ?? {};
    if (!AccessKeyId || !SecretAccessKey || !SessionToken || Expiration === undefined) {
      throw new RingfenceTenancyError(
        'tenancy.storage_unavailable',
        `the token service gave no whole credentials for organisation ${org}`,
      );
    }
    return {
      accessKeyId: AccessKeyId,
      secretAccessKey: SecretAccessKey,
      sessionToken: SessionToken,
      expiration: Expiration,
    };
  }
}
