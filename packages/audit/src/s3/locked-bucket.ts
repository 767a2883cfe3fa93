/**
 * A bucket with S3 Object Lock as the store of a write-once copy (Amazon S3 User Guide, "Locking objects with Object Lock").
 *
 * Invariants: an object counts as written only when its checksum was compared and its retention was read back. Nothing is
 * sent twice without looking first: some servers ignore `If-None-Match` and would put a second version on top, so the
 * client does not retry by itself. One request per object: uploads in parts lose the lock headers on some servers.
 */
import { createHash } from 'node:crypto';
import {
  GetObjectCommand,
  GetObjectRetentionCommand,
  ListObjectVersionsCommand,
  PutObjectCommand,
  PutObjectRetentionCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { RingfenceAuditError } from '../errors.ts';
import type {
  ListedVersion,
  LockedVersion,
  ObjectVersion,
  Retention,
  RetentionMode,
  StoredBytes,
  WriteOnceStore,
} from '../write-once/store.ts';
import { fromS3Error, reasonOf } from './s3-errors.ts';

/** Seven years, leap days included: 2 557 days, ms. */
export const SEVEN_YEARS_MS: number = 2_557 * 86_400_000;

/** Settings of `lockedBucket`. */
export interface LockedBucketOptions {
  /** Settings of the client: region, credentials, endpoint. Retries, checksums and time limits are set here. */
  readonly s3: S3ClientConfig;
  /** A bucket with versioning and Object Lock. */
  readonly bucket: string;
  /** What keys begin with, without `/` at its end, e.g. `ledger`. Default: nothing. */
  readonly prefix?: string;
  /** `governance` can be lifted by whoever has s3:BypassGovernanceRetention, `compliance` by nobody, the account's root included. */
  readonly mode: RetentionMode;
  /** How long each version is held, ms from its write. Default: seven years. */
  readonly retentionMs?: number;
  /** Time for one request, ms. Default 30 000. */
  readonly requestTimeoutMs?: number;
  /** Clock, ms since 1970. Default: the system's. */
  readonly now?: () => number;
}

/** A store in a bucket. */
export interface LockedBucket extends WriteOnceStore {
  /** Closes the connections. */
  close(): void;
}

/** Metadata of a version, which nobody can change without a new version: tells a retention that was shortened later. */
const PROMISE = 'retain-until-ms';
/** How far back an earlier attempt may lie whose date is kept, ms. */
const ATTEMPT_AGE_MS = 3_600_000;
const PREFIX = /^[A-Za-z0-9!_.*'()-]+(?:\/[A-Za-z0-9!_.*'()-]+)*$/;
const MODES = { governance: 'GOVERNANCE', compliance: 'COMPLIANCE' } as const;

/**
 * A store in a bucket with Object Lock.
 *
 * @throws TypeError when the prefix or the retention is malformed.
 * @example
 * ```ts
 * const store = lockedBucket({ s3: { region: 'eu-central-1' }, bucket: 'audit-copy', mode: 'compliance' });
 * ```
 */
export function lockedBucket(options: LockedBucketOptions): LockedBucket {
  return new S3LockedBucket(options);
}

class S3LockedBucket implements LockedBucket {
  readonly name: string;
  readonly locks = true;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #mode: RetentionMode;
  readonly #retentionMs: number;
  readonly #timeoutMs: number;
  readonly #now: () => number;

  constructor(options: LockedBucketOptions) {
    const { bucket, prefix, mode, retentionMs = SEVEN_YEARS_MS, requestTimeoutMs = 30_000 } = options;
    if (prefix !== undefined && !PREFIX.test(prefix))
      throw new TypeError('a prefix is a/b, without / at its ends');
    if (!Object.hasOwn(MODES, mode)) throw new TypeError('a retention is governance or compliance');
    if (!(Number.isSafeInteger(retentionMs) && retentionMs > 0))
      throw new TypeError('retentionMs is not positive');
    this.#client = new S3Client({
      ...options.s3,
      maxAttempts: 1,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
    this.name = `s3://${bucket}${prefix === undefined ? '' : `/${prefix}`}`;
    this.#bucket = bucket;
    this.#prefix = prefix === undefined ? '' : `${prefix}/`;
    this.#mode = mode;
    this.#retentionMs = retentionMs;
    this.#timeoutMs = requestTimeoutMs;
    this.#now = options.now ?? Date.now;
  }

  async create(key: string, body: Uint8Array): Promise<LockedVersion> {
    // Whole seconds, upwards: what S3 keeps of a date.
    const asked: Retention = {
      mode: this.#mode,
      untilMs: Math.ceil((this.#now() + this.#retentionMs) / 1000) * 1000,
    };
    const found = await this.#existing(key, body);
    if (found !== undefined) return await this.#lock(found, asked);
    const versionId = await this.#put(key, body, asked);
    return versionId === undefined
      ? await this.#afterRefusal(key, body, asked)
      : await this.#held({ key, versionId }, asked);
  }

  async *list(prefix: string): AsyncGenerator<ListedVersion, void, void> {
    let markers: { KeyMarker?: string | undefined; VersionIdMarker?: string | undefined } = {};
    for (;;) {
      const page = await this.#send('listing versions below', prefix, (abortSignal) =>
        this.#client.send(
          new ListObjectVersionsCommand({ Bucket: this.#bucket, Prefix: this.#prefix + prefix, ...markers }),
          { abortSignal },
        ),
      );
      const entries = [
        ...(page.Versions ?? []).map((version) => ({ version, deleteMarker: false })),
        ...(page.DeleteMarkers ?? []).map((version) => ({ version, deleteMarker: true })),
      ];
      // The two lists are ordered apart.
      entries.sort((a, b) => {
        const [left = '', right = ''] = [a.version.Key, b.version.Key];
        if (left !== right) return left < right ? -1 : 1;
        return Number(b.version.LastModified ?? 0) - Number(a.version.LastModified ?? 0);
      });
      for (const { version, deleteMarker } of entries) {
        const { Key = '', VersionId = 'null' } = version;
        yield { key: Key.slice(this.#prefix.length), versionId: VersionId, deleteMarker };
      }
      if (page.IsTruncated !== true) return;
      markers = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker };
    }
  }

  async read({ key, versionId }: ObjectVersion, mostBytes: number): Promise<StoredBytes | undefined> {
    try {
      return await this.#send('reading', key, async (abortSignal) => {
        const command = new GetObjectCommand({ ...this.#at(key), VersionId: versionId });
        const { Body, Metadata } = await this.#client.send(command, { abortSignal });
        if (Body === undefined) throw new TypeError('an answer without a body');
        const promised = Number(Metadata?.[PROMISE]);
        const promisedUntilMs = Number.isSafeInteger(promised) ? promised : undefined;
        return { ...(await firstBytes(Body as AsyncIterable<Uint8Array>, mostBytes)), promisedUntilMs };
      });
    } catch (error) {
      const { name, status } = reasonOf((error as RingfenceAuditError).cause);
      // A version that is a delete marker answers 405.
      if (name === 'NoSuchKey' || name === 'NoSuchVersion' || status === 405) return undefined;
      throw error;
    }
  }

  async retention({ key, versionId }: ObjectVersion): Promise<Retention | undefined> {
    try {
      const { Retention: told } = await this.#send('reading the retention of', key, (abortSignal) =>
        this.#client.send(new GetObjectRetentionCommand({ ...this.#at(key), VersionId: versionId }), {
          abortSignal,
        }),
      );
      if (told?.Mode === undefined || told.RetainUntilDate === undefined) return undefined;
      const mode = told.Mode === 'COMPLIANCE' ? 'compliance' : 'governance';
      return { mode, untilMs: told.RetainUntilDate.getTime() };
    } catch (error) {
      const { name } = reasonOf((error as RingfenceAuditError).cause);
      if (NO_RETENTION.has(name)) return undefined;
      throw error;
    }
  }

  close(): void {
    this.#client.destroy();
  }

  /** The version that an earlier attempt left, when its bytes are these. */
  async #existing(key: string, body: Uint8Array): Promise<ObjectVersion | undefined> {
    const versions: ListedVersion[] = [];
    for await (const version of this.list(key)) if (version.key === key) versions.push(version);
    const oldest = versions.at(-1);
    if (oldest === undefined) return undefined;
    if (versions.some(({ deleteMarker }) => deleteMarker)) {
      throw new RingfenceAuditError('audit.copy_conflict', `${key} was hidden by a delete marker`);
    }
    const stored = await this.read(oldest, body.length);
    if (stored === undefined || stored.cut || !Buffer.from(stored.body).equals(body)) {
      throw new RingfenceAuditError('audit.copy_conflict', `${key} exists with other bytes`);
    }
    return oldest;
  }

  /** Writes, and gives the new version; undefined when the server says that the key is taken. */
  async #put(key: string, body: Uint8Array, { untilMs }: Retention): Promise<string | undefined> {
    const checksum = createHash('sha256').update(body).digest('base64');
    const command = new PutObjectCommand({
      ...this.#at(key),
      Body: body,
      ContentLength: body.length,
      ChecksumSHA256: checksum,
      IfNoneMatch: '*',
      ObjectLockMode: MODES[this.#mode],
      ObjectLockRetainUntilDate: new Date(untilMs),
      Metadata: { [PROMISE]: String(untilMs) },
    });
    let answer: { readonly VersionId?: string | undefined; readonly ChecksumSHA256?: string | undefined };
    try {
      answer = await this.#send('writing', key, (abortSignal) => this.#client.send(command, { abortSignal }));
    } catch (error) {
      if (reasonOf((error as RingfenceAuditError).cause).status === 412) return undefined;
      throw error;
    }
    const { VersionId, ChecksumSHA256 } = answer;
    if (VersionId === undefined || VersionId === 'null') {
      throw new RingfenceAuditError('audit.retention_not_applied', `${this.name} keeps no versions`);
    }
    // A server that does not say what it took is asked for the bytes.
    const held =
      ChecksumSHA256 ??
      createHash('sha256')
        .update((await this.read({ key, versionId: VersionId }, body.length + 1))?.body ?? new Uint8Array())
        .digest('base64');
    if (held !== checksum) {
      throw new RingfenceAuditError('audit.copy_checksum_mismatch', `${key} is stored with another checksum`);
    }
    return VersionId;
  }

  /** Somebody wrote it since we looked: an attempt of ours whose answer was lost, or another copier. */
  async #afterRefusal(key: string, body: Uint8Array, asked: Retention): Promise<LockedVersion> {
    const found = await this.#existing(key, body);
    if (found !== undefined) return await this.#lock(found, asked);
    throw new RingfenceAuditError('audit.copy_unavailable', `${key} is taken and cannot be seen yet`, {
      retryable: true,
    });
  }

  /**
   * Locks a version that an earlier attempt left. Its own date is kept when it is ours, but for the time that attempt lies
   * back or the clocks differ; a shorter one, whoever chose it, is extended, and a longer one is nobody's to choose for us.
   */
  async #lock(version: ObjectVersion, asked: Retention): Promise<LockedVersion> {
    const promised = (await this.read(version, 0))?.promisedUntilMs;
    const isOurs = promised !== undefined && Math.abs(promised - asked.untilMs) <= ATTEMPT_AGE_MS;
    const wanted: Retention = { ...asked, untilMs: isOurs ? promised : asked.untilMs };
    if (!holds(await this.retention(version), wanted)) {
      await this.#send('locking', version.key, (abortSignal) =>
        this.#client.send(
          new PutObjectRetentionCommand({
            ...this.#at(version.key),
            VersionId: version.versionId,
            Retention: { Mode: MODES[wanted.mode], RetainUntilDate: new Date(wanted.untilMs) },
          }),
          { abortSignal },
        ),
      );
    }
    return await this.#held(version, wanted);
  }

  /** Reads the retention back. */
  async #held(version: ObjectVersion, asked: Retention): Promise<LockedVersion> {
    const told = await this.retention(version);
    if (told === undefined || !holds(told, asked)) {
      const what =
        told === undefined ? 'nothing' : `${told.mode} until ${new Date(told.untilMs).toISOString()}`;
      throw new RingfenceAuditError(
        'audit.retention_not_applied',
        `${version.key}: asked for ${asked.mode} until ${new Date(asked.untilMs).toISOString()}, the store has ${what}`,
      );
    }
    return { ...version, retention: told };
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  async #send<T>(operation: string, key: string, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await send(AbortSignal.timeout(this.#timeoutMs));
    } catch (error) {
      throw fromS3Error(error, operation, key);
    }
  }
}

/** How servers say that a version has no retention. */
const NO_RETENTION: ReadonlySet<string> = new Set([
  'NoSuchObjectLockConfiguration',
  'ObjectLockConfigurationNotFoundError',
]);

/** What a body begins with; a stream that is left early is closed, and its connection with it. */
async function firstBytes(
  chunks: AsyncIterable<Uint8Array>,
  most: number,
): Promise<Pick<StoredBytes, 'body' | 'cut'>> {
  const read: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    read.push(chunk);
    length += chunk.length;
    if (length > most) break;
  }
  return { body: Buffer.concat(read, Math.min(length, most)), cut: length > most };
}

function holds(told: Retention | undefined, asked: Retention): boolean {
  if (told === undefined || told.untilMs < asked.untilMs) return false;
  return told.mode === asked.mode || told.mode === 'compliance';
}
