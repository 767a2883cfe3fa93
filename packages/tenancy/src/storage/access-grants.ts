/**
 * Documents for S3 Access Grants (Amazon S3 User Guide, "Managing access with S3 Access Grants"): the location over
 * `org/` of a bucket, the role S3 assumes for it, and one grant per organisation. An alternative to sessions with tags for
 * organisations whose people or systems read the bucket themselves.
 *
 * A grant's scope is the location's scope and the sub-prefix put together, and `*` at its end is a plain prefix match:
 * without the `/` before it, the scope of one name holds every name that begins like it.
 */
import { type OrgId, parseOrgId } from '../org-id.ts';
import { checkBucket } from './documents.ts';
import { objectActions, type StorageOperation } from './operations.ts';
import type { PolicyDocument } from './policy-document.ts';

/** What the documents are generated from. */
export interface AccessGrantsOptions {
  /** Name of the bucket. */
  readonly bucket: string;
  /** Account of bucket and Access Grants instance, 12 digits. */
  readonly accountId: string;
  /** Region of both. */
  readonly region: string;
  /** ARN of the role S3 assumes for the location. */
  readonly locationRoleArn: string;
}

/** Input of `CreateAccessGrant`; the location's id comes from the answer to `CreateAccessGrantsLocation`. */
export interface AccessGrantDocument {
  /** Account of the instance. */
  readonly AccountId: string;
  /** Narrows the location to the organisation. */
  readonly AccessGrantsLocationConfiguration: {
    /** What is appended to the location's scope. */
    readonly S3SubPrefix: string;
  };
  /** Who gets the grant. */
  readonly Grantee: {
    /** An identity of IAM. */
    readonly GranteeType: 'IAM';
    /** Its ARN. */
    readonly GranteeIdentifier: string;
  };
  /** What it is for. */
  readonly Permission: 'READ' | 'WRITE' | 'READWRITE';
}

/** The documents of one location. */
export interface AccessGrantsDocuments {
  /** Input of `CreateAccessGrantsLocation`. */
  readonly location: {
    /** Account of the instance. */
    readonly AccountId: string;
    /** What the location covers. */
    readonly LocationScope: string;
    /** Role S3 assumes. */
    readonly IAMRoleArn: string;
  };
  /** Trust policy of the location's role: the Access Grants service, for this instance alone. */
  readonly locationTrustPolicy: PolicyDocument;
  /** Policy of the location's role; S3 narrows each session to the grant's scope. */
  readonly locationRolePolicy: PolicyDocument;
  /** The grant of one organisation to an IAM role or user. */
  readonly grant: (
    org: OrgId,
    granteeArn: string,
    permission: 'READ' | 'WRITE' | 'READWRITE',
  ) => AccessGrantDocument;
}

/** What READWRITE grants; deletion belongs to WRITE there, so the role's policy leaves it out. */
const OPERATIONS: readonly StorageOperation[] = ['read', 'write'];

/**
 * Generates the documents of an Access Grants location.
 *
 * @throws TypeError when a name or number cannot be one.
 */
export function accessGrantsDocuments(options: AccessGrantsOptions): AccessGrantsDocuments {
  const { bucket, accountId, region, locationRoleArn } = options;
  checkBucket(bucket);
  if (!/^\d{12}$/.test(accountId)) throw new TypeError('accountId: expected 12 digits');
  if (!/^[a-z0-9-]{4,32}$/.test(region)) throw new TypeError('region: expected a name such as eu-central-1');
  const instance = `arn:aws:s3:${region}:${accountId}:access-grants/default`;
  const arn = `arn:aws:s3:::${bucket}`;
  return {
    location: { AccountId: accountId, LocationScope: `s3://${bucket}/org/`, IAMRoleArn: locationRoleArn },
    locationTrustPolicy: {
      Version: '2012-10-17',
      Statement: [
        {
          Sid: 'AccessGrantsOfThisInstance',
          Effect: 'Allow',
          Principal: { Service: 'access-grants.s3.amazonaws.com' },
          Action: ['sts:AssumeRole', 'sts:SetSourceIdentity'],
          Condition: { StringEquals: { 'aws:SourceAccount': accountId, 'aws:SourceArn': instance } },
        },
      ],
    },
    locationRolePolicy: {
      Version: '2012-10-17',
      Statement: [
        {
          Sid: 'ObjectsOfOrgs',
          Effect: 'Allow',
          Action: objectActions(OPERATIONS),
          Resource: `${arn}/org/*`,
          Condition: {
            StringEquals: { 'aws:ResourceAccount': accountId },
            ArnEquals: { 's3:AccessGrantsInstanceArn': instance },
          },
        },
        {
          Sid: 'ListingOfOrgs',
          Effect: 'Allow',
          Action: 's3:ListBucket',
          Resource: arn,
          Condition: {
            StringEquals: { 'aws:ResourceAccount': accountId },
            StringLike: { 's3:prefix': 'org/*' },
            ArnEquals: { 's3:AccessGrantsInstanceArn': instance },
          },
        },
      ],
    },
    grant: (org, granteeArn, permission) => ({
      AccountId: accountId,
      AccessGrantsLocationConfiguration: { S3SubPrefix: `${parseOrgId(org)}/*` },
      Grantee: { GranteeType: 'IAM', GranteeIdentifier: granteeArn },
      Permission: permission,
    }),
  };
}
