/**
 * S3 for one organisation at a time. Two guards hold independently: this client refuses a key of another organisation
 * before any I/O, and the session it signs with is refused by the server. What a listing gives back is checked a third
 * time, since a proxy or server that answers wrongly would hand out foreign keys.
 */
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import type { STSClient } from '@aws-sdk/client-sts';
import { RingfenceTenancyError } from '../errors.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { checkBucket } from '../storage/documents.ts';
import { orgKey, orgPrefix } from '../storage/object-key.ts';
import {
  type ByteRange,
  checkRange,
  foreignKey,
  type ObjectInfo,
  type ObjectStorage,
  type OrgObjects,
  ownKey,
  requireOperation,
} from '../storage/object-storage.ts';
import { checkOperations, DEFAULT_OPERATIONS, type StorageOperation } from '../storage/operations.ts';
import { plainStream } from './body-parts.ts';
import { OrgClients } from './org-clients.ts';
import { fromS3Error, isEndedSession, preconditionFailed } from './s3-errors.ts';
import { MIN_PART_BYTES, upload } from './upload.ts';

/** Options of `createOrgStorage`. */
export interface OrgStorageOptions {
  /** Settings of the S3 client: region, endpoint, time-outs. It gets its credentials here. */
  readonly s3: Omit<S3ClientConfig, 'credentials'>;
  /** Client of the token service, with the application's own credentials. The caller ends it. */
  readonly sts: STSClient;
  /** Bucket of the organisations' objects. */
  readonly bucket: string;
  /** Role to assume for an organisation. */
  readonly roleArn: string;
  /** What handles may do; the same as in the documents. Default read, write, list. */
  readonly operations?: readonly StorageOperation[];
  /** Organisations whose sessions are kept, at most. Default 1000. */
  readonly maxSessions?: number;
  /** Size of the parts of long uploads, bytes: 5 MiB or more. Each upload holds two. Default 8 MiB. */
  readonly partBytes?: number;
}

/**
 * Makes a store of objects per organisation in one S3 bucket.
 *
 * @throws TypeError when the bucket's name or a number cannot be one.
 * @example
 * ```ts
 * const storage = createOrgStorage({ s3: { region }, sts: new STSClient({ region }), bucket, roleArn });
 * const objects = storage.forOrg(org);
 * const key = await objects.put(['invoices', invoiceId], pdf);
 * ```
 */
export function createOrgStorage(options: OrgStorageOptions): ObjectStorage {
  const { bucket, maxSessions = 1000, partBytes = 8 * 1024 * 1024 } = options;
  const operations = checkOperations(options.operations ?? DEFAULT_OPERATIONS);
  checkBucket(bucket);
  if (!Number.isSafeInteger(partBytes) || partBytes < MIN_PART_BYTES) {
    throw new TypeError(`partBytes: expected an integer of at least ${MIN_PART_BYTES}`);
  }
  if (!Number.isSafeInteger(maxSessions) || maxSessions < 1) {
    throw new TypeError('maxSessions: expected an integer of at least 1');
  }
  const clients = new OrgClients({ ...options, operations, maxSessions });
  return {
    operations,
    forOrg: (org) => new S3OrgObjects(parseOrgId(org), bucket, operations, partBytes, clients),
    async close() {
      clients.close();
    },
  };
}

class S3OrgObjects implements OrgObjects {
  readonly org: OrgId;
  readonly #bucket: string;
  readonly #operations: readonly StorageOperation[];
  readonly #partBytes: number;
  readonly #clients: OrgClients;

  constructor(
    org: OrgId,
    bucket: string,
    operations: readonly StorageOperation[],
    partBytes: number,
    clients: OrgClients,
  ) {
    this.org = org;
    this.#bucket = bucket;
    this.#operations = operations;
    this.#partBytes = partBytes;
    this.#clients = clients;
  }

  put: OrgObjects['put'] = async (name, body, { ifAbsent = false } = {}) => {
    const key = this.#key('write', name);
    const target = { bucket: this.#bucket, key, partBytes: this.#partBytes, ifAbsent };
    const etag = await this.#call('put', (client) => upload(client, target, body));
    if (etag === undefined) throw this.#malformed('put'); // not a store's answer: nothing may be stored
    return key;
  };

  get: OrgObjects['get'] = async (name, { range, ifMatch } = {}) => {
    const key = this.#key('read', name);
    const answer = await this.#found('get', key, (client) =>
      client.send(
        new GetObjectCommand({
          Bucket: this.#bucket,
          Key: key,
          ...(range === undefined ? {} : { Range: rangeHeader(checkRange(range)) }),
          ...(ifMatch === undefined ? {} : { IfMatch: ifMatch }),
        }),
      ),
    );
    const { Body } = answer;
    if (!isChunks(Body)) throw this.#malformed('get');
    const body = plainStream(Body, (error) => fromS3Error(error, 'get', this.org));
    try {
      const size = range === undefined ? answer.ContentLength : sizeBeyond(range, answer.ContentRange);
      const info = this.#info('get', key, { ...answer, Size: size });
      // Not every server looks at If-Match, and none at an empty one: parts of two objects would be read as one.
      if (ifMatch === undefined || bare(info.etag) === bare(ifMatch)) return { ...info, body };
    } catch (error) {
      await body.cancel();
      throw error;
    }
    await body.cancel();
    throw preconditionFailed('get', this.org);
  };

  head: OrgObjects['head'] = async (name) => {
    const key = this.#key('read', name);
    const answer = await this.#found('head', key, (client) =>
      client.send(new HeadObjectCommand({ Bucket: this.#bucket, Key: key })),
    );
    return this.#info('head', key, { ...answer, Size: answer.ContentLength });
  };

  list: OrgObjects['list'] = ({ under = [] } = {}) => {
    requireOperation(this.#operations, 'list');
    const prefix = under.length === 0 ? orgPrefix(this.org) : `${orgKey(this.org, ...under)}/`;
    return this.#pages(prefix);
  };

  copy: OrgObjects['copy'] = async (from, to) => {
    const source = this.#key('read', from);
    const key = this.#key('write', to);
    // The header is decoded by the server; a key sent as it is would be read as another one.
    const CopySource = [this.#bucket, ...source.split('/')].map(encodeURIComponent).join('/');
    const { CopyObjectResult } = await this.#found('copy', source, (client) =>
      client.send(new CopyObjectCommand({ Bucket: this.#bucket, Key: key, CopySource })),
    );
    if (CopyObjectResult?.ETag === undefined) throw this.#malformed('copy');
    return key;
  };

  delete: OrgObjects['delete'] = async (name) => {
    const key = this.#key('delete', name);
    await this.#call('delete', (client) =>
      client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: key })),
    );
  };

  async *#pages(prefix: string): AsyncGenerator<ObjectInfo, void, undefined> {
    let token: string | undefined;
    do {
      const ContinuationToken = token;
      const page = await this.#call('list', (client) =>
        client.send(
          new ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: prefix,
            ...(ContinuationToken === undefined ? {} : { ContinuationToken }),
          }),
        ),
      );
      if (page.IsTruncated === undefined) throw this.#malformed('list');
      for (const object of page.Contents ?? []) {
        const { Key: key = '' } = object;
        if (!key.startsWith(prefix)) throw foreignKey(this.org);
        yield this.#info('list', key, object);
      }
      token = page.NextContinuationToken;
      if (page.IsTruncated === true && token === undefined) throw this.#malformed('list');
    } while (token !== undefined);
  }

  /** Both refusals come before any I/O. */
  #key(operation: StorageOperation, name: Parameters<OrgObjects['head']>[0]): string {
    requireOperation(this.#operations, operation);
    return ownKey(this.org, name);
  }

  async #call<Answer>(operation: string, send: (client: S3Client) => Promise<Answer>): Promise<Answer> {
    const client = this.#clients.of(this.org);
    try {
      return await send(client);
    } catch (error) {
      if (isEndedSession(error)) this.#clients.drop(this.org, client);
      throw fromS3Error(error, operation, this.org);
    }
  }

  /**
   * Without the right to list the whole bucket, servers answer "denied" about an object that is not there. The own listing
   * tells the two apart; without that right the denial stands.
   */
  async #found<Answer>(
    operation: string,
    key: string,
    send: (client: S3Client) => Promise<Answer>,
  ): Promise<Answer> {
    try {
      return await this.#call(operation, send);
    } catch (error) {
      const denied = error instanceof RingfenceTenancyError && error.code === 'tenancy.storage_denied';
      if (!denied || !this.#operations.includes('list')) throw error;
      const { Contents = [], IsTruncated } = await this.#call('list', (client) =>
        client.send(new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: key, MaxKeys: 1 })),
      );
      if (IsTruncated === undefined) throw this.#malformed('list');
      if (Contents[0]?.Key === key) throw error;
      throw new RingfenceTenancyError(
        'tenancy.storage_not_found',
        `object storage: ${operation} of organisation ${this.org} failed: there is no such object`,
        { cause: error },
      );
    }
  }

  #info(
    operation: string,
    key: string,
    answer: { Size?: number | undefined; ETag?: string | undefined; LastModified?: Date | undefined },
  ): ObjectInfo {
    const { Size, ETag, LastModified } = answer;
    if (Size === undefined || ETag === undefined || LastModified === undefined) {
      throw this.#malformed(operation);
    }
    return { key, size: Size, etag: ETag, modified: LastModified };
  }

  #malformed(operation: string): RingfenceTenancyError {
    return new RingfenceTenancyError(
      'tenancy.storage_unavailable',
      `object storage: the answer to ${operation} of organisation ${this.org} is not whole`,
    );
  }
}

/** Size of the whole object, from an answer that is the range; undefined when it is another one. */
function sizeBeyond({ first }: ByteRange, contentRange: string | undefined): number | undefined {
  const [, from, size] = /^bytes (\d+)-\d+\/(\d+)$/.exec(contentRange ?? '') ?? [];
  return Number(from) === first ? Number(size) : undefined;
}

/** Servers give an etag with quotes or without, depending on the request. */
function bare(etag: string): string {
  return etag.replace(/^"(.*)"$/s, '$1');
}

function rangeHeader({ first, last }: { first: number; last?: number }): string {
  return `bytes=${first}-${last ?? ''}`;
}

function isChunks(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body;
}
