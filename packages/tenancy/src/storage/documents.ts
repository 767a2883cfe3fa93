/**
 * Generates the policies that isolate organisations in one bucket. Three documents can each hold the line alone: the
 * bucket policy and the role's policy by the session's tag `org_id` (ABAC), the session policy by its literal prefix.
 * None of them grows with the number of organisations.
 *
 * Traps the shape avoids: a Deny on NotResource does not apply when the tag in it is missing, so a Deny on Null stands
 * beside it; a listing names no object, so it is bound by `s3:prefix`; `aws:SecureTransport` is absent on some servers,
 * so it is tested with BoolIfExists.
 */
import type { OrgId } from '../org-id.ts';
import { orgPrefix } from './object-key.ts';
import {
  checkOperations,
  DEFAULT_OPERATIONS,
  listActions,
  objectActions,
  type StorageOperation,
} from './operations.ts';
import type { PolicyDocument, PolicyStatement } from './policy-document.ts';

/** What the documents are generated from. */
export interface StorageDocumentOptions {
  /** Name of the bucket, 3 to 63 characters; used for organisations' objects alone. */
  readonly bucket: string;
  /** ARN of the role that sessions of organisations have, e.g. `arn:aws:iam::111122223333:role/app-objects`. */
  readonly roleArn: string;
  /** ARN of the application's own identity, which assumes that role. */
  readonly appArn: string;
  /** What the application does with objects. Default read, write, list. Everything else is denied. */
  readonly operations?: readonly StorageOperation[];
  /**
   * False for servers without session tags (Ceph RGW 16): then the session policy alone separates organisations, and
   * whoever may assume the role without one reaches all. The role has no path there. Default true.
   */
  readonly sessionTags?: boolean;
}

/** The documents of one bucket. */
export interface StorageDocuments {
  /** The bucket. */
  readonly bucket: string;
  /** The role of organisations' sessions. */
  readonly roleArn: string;
  /** The identity that may assume the role. */
  readonly appArn: string;
  /** Declared operations. */
  readonly operations: readonly StorageOperation[];
  /** Whether sessions carry the tag `org_id`. */
  readonly sessionTags: boolean;
  /** Attached to the bucket: denies only, so that it never grants anything to anybody. */
  readonly bucketPolicy: PolicyDocument;
  /** Attached to the role. */
  readonly rolePolicy: PolicyDocument;
  /** Who may assume the role, and with which tags. */
  readonly trustPolicy: PolicyDocument;
  /** Goes with AssumeRole for one organisation. */
  readonly sessionPolicy: (org: OrgId) => PolicyDocument;
}

/** Limit of STS for the text of a session policy, characters. */
const MAX_SESSION_POLICY = 2048;
const TAG = 'org_id';
const ORG_VARIABLE = `\${aws:PrincipalTag/${TAG}}`;
/** A UUID, as far as StringLike can say it. */
const UUID_PATTERN = [8, 4, 4, 4, 12].map((length) => '?'.repeat(length)).join('-');
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
/** Ceph leaves the account out; its tenants are in the same place. */
const IDENTITY = /^arn:aws[a-z-]*:(?:iam|sts)::[\w-]*:(?:role|user|assumed-role)\/[\w+=,.@/-]+$/;

/**
 * Generates the documents of a bucket.
 *
 * @throws TypeError when a name or ARN cannot be one, or operations are unknown.
 * @example
 * ```ts
 * const documents = storageDocuments({
 *   bucket: 'acme-objects',
 *   roleArn: 'arn:aws:iam::111122223333:role/app-objects',
 *   appArn: 'arn:aws:iam::111122223333:role/app',
 * });
 * ```
 */
export function storageDocuments(options: StorageDocumentOptions): StorageDocuments {
  const { bucket, roleArn, appArn, sessionTags = true } = options;
  const operations = checkOperations(options.operations ?? DEFAULT_OPERATIONS);
  checkBucket(bucket);
  if (!IDENTITY.test(roleArn) || !IDENTITY.test(appArn)) {
    throw new TypeError('roleArn and appArn: expected ARNs of one role or user each');
  }
  // Ceph compares a principal with the role's name alone: of a role with a path, no statement of a policy would hold.
  if (!sessionTags && !/:role\/[^/]+$/.test(roleArn)) {
    throw new TypeError('roleArn: expected a role without a path, where sessions have no tags');
  }
  return {
    bucket,
    roleArn,
    appArn,
    operations,
    sessionTags,
    bucketPolicy: bucketPolicy({ bucket, roleArn, appArn }, operations, sessionTags),
    rolePolicy: policy(grants(bucket, sessionTags ? `org/${ORG_VARIABLE}/` : 'org/', operations)),
    trustPolicy: trustPolicy(appArn, roleArn, sessionTags),
    sessionPolicy: (org) => sessionPolicy(bucket, org, operations),
  };
}

/**
 * The session policy of one organisation, for AssumeRole.
 *
 * @throws TypeError when the text would be longer than the 2,048 characters of STS.
 */
export function sessionPolicy(
  bucket: string,
  org: OrgId,
  operations: readonly StorageOperation[],
): PolicyDocument {
  checkBucket(bucket);
  const document = policy(grants(bucket, orgPrefix(org), checkOperations(operations)));
  if (JSON.stringify(document).length > MAX_SESSION_POLICY) {
    throw new TypeError(`the session policy is longer than ${MAX_SESSION_POLICY} characters`);
  }
  return document;
}

/** Objects under a prefix, and listings that name it. */
function grants(bucket: string, prefix: string, operations: readonly StorageOperation[]): PolicyStatement[] {
  const arn = `arn:aws:s3:::${bucket}`;
  const objects = objectActions(operations);
  const lists = listActions(operations);
  const statements: PolicyStatement[] = [];
  if (objects.length > 0) {
    statements.push({ Sid: 'OwnObjects', Effect: 'Allow', Action: objects, Resource: `${arn}/${prefix}*` });
  }
  if (lists.length > 0) {
    statements.push({
      Sid: 'OwnListing',
      Effect: 'Allow',
      Action: lists,
      Resource: arn,
      Condition: { StringLike: { 's3:prefix': `${prefix}*` } },
    });
  }
  return statements;
}

function bucketPolicy(
  { bucket, roleArn, appArn }: StorageDocumentOptions,
  operations: readonly StorageOperation[],
  sessionTags: boolean,
): PolicyDocument {
  const arn = `arn:aws:s3:::${bucket}`;
  const everything = [arn, `${arn}/*`];
  const role = { AWS: roleArn };
  const prefix = sessionTags ? `org/${ORG_VARIABLE}/` : 'org/';
  const statements: PolicyStatement[] = [
    {
      Sid: 'DenyPlaintext',
      Effect: 'Deny',
      Principal: '*',
      Action: 's3:*',
      Resource: everything,
      Condition: { BoolIfExists: { 'aws:SecureTransport': 'false' } },
    },
    {
      Sid: 'DenyForeignObjects',
      Effect: 'Deny',
      Principal: role,
      Action: 's3:*',
      NotResource: [arn, `${arn}/${prefix}*`],
    },
    {
      Sid: 'DenyForeignListing',
      Effect: 'Deny',
      Principal: role,
      Action: ['s3:ListBucket', 's3:ListBucketVersions'],
      Resource: arn,
      Condition: { StringNotLike: { 's3:prefix': `${prefix}*` } },
    },
    // Beside the one above for servers on which StringNotLike does not hold for a prefix that is not there (Ceph RGW 16).
    {
      Sid: 'DenyListingWithoutPrefix',
      Effect: 'Deny',
      Principal: role,
      Action: ['s3:ListBucket', 's3:ListBucketVersions'],
      Resource: arn,
      Condition: { Null: { 's3:prefix': 'true' } },
    },
    // Tags, ACLs, policies, retention, and deletion unless declared.
    {
      Sid: 'DenyUndeclaredActions',
      Effect: 'Deny',
      Principal: role,
      NotAction: [...objectActions(operations), ...listActions(operations)],
      Resource: everything,
    },
  ];
  if (sessionTags) {
    // Not without tags: Ceph counts the sessions of a role among the identity that assumed it.
    statements.push({
      Sid: 'DenyAppWithoutSession',
      Effect: 'Deny',
      Principal: { AWS: appArn },
      Action: 's3:*',
      Resource: everything,
    });
    statements.push({
      Sid: 'DenySessionsWithoutOrg',
      Effect: 'Deny',
      Principal: role,
      Action: 's3:*',
      Resource: everything,
      Condition: { Null: { [`aws:PrincipalTag/${TAG}`]: 'true' } },
    });
  }
  return policy(statements);
}

function trustPolicy(appArn: string, roleArn: string, sessionTags: boolean): PolicyDocument {
  const trusted: PolicyStatement = {
    Sid: 'AppForOneOrg',
    Effect: 'Allow',
    Principal: { AWS: appArn },
    Action: sessionTags ? ['sts:AssumeRole', 'sts:TagSession'] : 'sts:AssumeRole',
  };
  if (!sessionTags) {
    // Ceph counts a session among the identity that assumed it: it would assume the role again, without its session policy.
    const again = { AWS: roleArn };
    const Sid = 'DenySessionsAgain';
    return policy([trusted, { Sid, Effect: 'Deny', Principal: again, Action: 'sts:AssumeRole' }]);
  }
  const Condition = {
    StringLike: { [`aws:RequestTag/${TAG}`]: UUID_PATTERN },
    'ForAllValues:StringEquals': { 'aws:TagKeys': TAG },
  };
  return policy([{ ...trusted, Condition }]);
}

function policy(statements: readonly PolicyStatement[]): PolicyDocument {
  return { Version: '2012-10-17', Statement: statements };
}

/**
 * Checks a bucket name: what it may hold has no meaning in a policy or a path.
 *
 * @throws TypeError when it cannot be one.
 */
export function checkBucket(bucket: string): void {
  if (!BUCKET.test(bucket) || bucket.includes('..')) {
    throw new TypeError('bucket: expected 3 to 63 lower-case letters, digits, "." and "-"');
  }
}
