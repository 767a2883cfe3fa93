/**
 * Mistakes one can make in the documents, for a mutation score of the proof: each must be found. They are made for
 * documents with session tags and the operations read, write, list and versions; with others some change nothing.
 */
import type { OrgId } from '../../org-id.ts';
import type { StorageDocuments } from '../documents.ts';
import type { StorageOperation } from '../operations.ts';
import type { PolicyDocument, PolicyStatement } from '../policy-document.ts';

/** One mistake. */
export interface StorageMutation {
  /** What is wrong, in words. */
  readonly name: string;
  /** Document it is in. */
  readonly document: 'bucketPolicy' | 'rolePolicy' | 'sessionPolicy' | 'trustPolicy';
  /** Makes it. */
  readonly mutate: (documents: StorageDocuments) => StorageDocuments;
}

/** Operations the mutations are made for. */
export const mutationOperations: readonly StorageOperation[] = ['read', 'write', 'list', 'versions'];

type Edit = (statement: PolicyStatement) => PolicyStatement | undefined;

/** The statement of this name goes through `edit`; an unknown name is a mistake in the mutation itself. */
function edited(policy: PolicyDocument, sid: string, edit: Edit): PolicyDocument {
  if (!policy.Statement.some(({ Sid }) => Sid === sid)) throw new TypeError(`no statement ${sid}`);
  return {
    ...policy,
    Statement: policy.Statement.flatMap((statement) =>
      statement.Sid === sid ? (edit(statement) ?? []) : statement,
    ),
  };
}

/** Replaces text anywhere in a statement. */
function replacing(from: string, to: string): Edit {
  return (statement) => {
    const text = JSON.stringify(statement);
    if (!text.includes(from)) throw new TypeError(`no ${from} in ${statement.Sid ?? 'the statement'}`);
    return JSON.parse(text.replaceAll(from, to)) as PolicyStatement;
  };
}

const dropped: Edit = () => undefined;
const unconditional: Edit = ({ Condition: _, ...statement }) => statement;
const over =
  (Resource: string): Edit =>
  (statement) => ({ ...statement, Resource });
const doing =
  (...Action: string[]): Edit =>
  (statement) => ({ ...statement, Action });

function fixed(
  document: 'bucketPolicy' | 'rolePolicy' | 'trustPolicy',
  name: string,
  sid: string,
  edit: Edit,
): StorageMutation {
  return {
    name,
    document,
    mutate: (documents) => ({ ...documents, [document]: edited(documents[document], sid, edit) }),
  };
}

function session(name: string, sid: string, edit: (org: OrgId) => Edit): StorageMutation {
  return {
    name,
    document: 'sessionPolicy',
    mutate: (documents) => ({
      ...documents,
      sessionPolicy: (org) => edited(documents.sessionPolicy(org), sid, edit(org)),
    }),
  };
}

const TAG = 'aws:PrincipalTag/org_id';
const REQUEST_TAG = 'aws:RequestTag/org_id';
/** The end of a prefix, as JSON has it. */
const WITH_SLASH = '/*"';
const WITHOUT_SLASH = '*"';

/** The mistakes. */
export const storageMutations: readonly StorageMutation[] = [
  fixed('bucketPolicy', 'foreign objects are not denied', 'DenyForeignObjects', dropped),
  fixed(
    'bucketPolicy',
    'the prefix ends without a slash',
    'DenyForeignObjects',
    replacing(WITH_SLASH, WITHOUT_SLASH),
  ),
  fixed('bucketPolicy', 'every organisation is excepted', 'DenyForeignObjects', replacing(`\${${TAG}}/`, '')),
  fixed('bucketPolicy', 'foreign objects are allowed', 'DenyForeignObjects', (statement) => ({
    ...statement,
    Effect: 'Allow',
  })),
  fixed(
    'bucketPolicy',
    'the deny is about another role',
    'DenyForeignObjects',
    replacing(':role/', ':role/old-'),
  ),
  fixed('bucketPolicy', 'only reading is denied', 'DenyForeignObjects', doing('s3:Get*')),
  fixed('bucketPolicy', 'the tag of the request is used', 'DenyForeignObjects', replacing(TAG, REQUEST_TAG)),
  fixed('bucketPolicy', 'foreign listing is not denied', 'DenyForeignListing', dropped),
  fixed(
    'bucketPolicy',
    'listing: the prefix ends without a slash',
    'DenyForeignListing',
    replacing(WITH_SLASH, WITHOUT_SLASH),
  ),
  fixed('bucketPolicy', 'listing of versions is forgotten', 'DenyForeignListing', doing('s3:ListBucket')),
  {
    name: 'listing: a prefix is looked at only when there is one',
    document: 'bucketPolicy',
    mutate: (documents) => {
      const needless = edited(documents.bucketPolicy, 'DenyListingWithoutPrefix', dropped);
      const given = replacing('StringNotLike', 'ForAnyValue:StringNotLike');
      return { ...documents, bucketPolicy: edited(needless, 'DenyForeignListing', given) };
    },
  },
  fixed(
    'bucketPolicy',
    'listing: no wildcard',
    'DenyForeignListing',
    replacing('StringNotLike', 'StringNotEquals'),
  ),
  fixed('bucketPolicy', 'sessions without organisation are not denied', 'DenySessionsWithoutOrg', dropped),
  fixed(
    'bucketPolicy',
    'sessions with organisation are denied',
    'DenySessionsWithoutOrg',
    replacing('"true"', '"false"'),
  ),
  fixed(
    'bucketPolicy',
    'the wrong tag must be there',
    'DenySessionsWithoutOrg',
    replacing(TAG, 'aws:PrincipalTag/org'),
  ),
  fixed(
    'bucketPolicy',
    'sessions without organisation: objects alone',
    'DenySessionsWithoutOrg',
    doing('s3:*Object*'),
  ),
  fixed('bucketPolicy', 'undeclared actions are not denied', 'DenyUndeclaredActions', dropped),
  fixed(
    'bucketPolicy',
    'undeclared actions on the bucket are not denied',
    'DenyUndeclaredActions',
    (statement) => ({
      ...statement,
      Resource: (statement.Resource ?? []).slice(1),
    }),
  ),
  fixed(
    'bucketPolicy',
    'tags may be removed',
    'DenyUndeclaredActions',
    replacing('"s3:PutObject"', '"s3:PutObject","s3:*Tagging"'),
  ),
  fixed(
    'bucketPolicy',
    'a declared action is denied',
    'DenyUndeclaredActions',
    replacing('"s3:PutObject",', ''),
  ),
  fixed('bucketPolicy', 'plaintext is not denied', 'DenyPlaintext', dropped),
  fixed(
    'bucketPolicy',
    'plaintext: an absent key passes',
    'DenyPlaintext',
    replacing('BoolIfExists', 'Bool'),
  ),
  fixed('bucketPolicy', 'TLS is denied', 'DenyPlaintext', replacing('"false"', '"true"')),
  fixed('bucketPolicy', 'plaintext listing passes', 'DenyPlaintext', (statement) => ({
    ...statement,
    Resource: (statement.Resource ?? []).slice(1),
  })),
  fixed('bucketPolicy', 'the application itself is not denied', 'DenyAppWithoutSession', dropped),
  {
    name: 'everybody may read',
    document: 'bucketPolicy',
    mutate: (documents) => ({
      ...documents,
      bucketPolicy: {
        ...documents.bucketPolicy,
        Statement: [
          ...documents.bucketPolicy.Statement,
          {
            Effect: 'Allow',
            Principal: '*',
            Action: 's3:GetObject',
            Resource: `arn:aws:s3:::${documents.bucket}/*`,
          },
        ],
      },
    }),
  },
  fixed('rolePolicy', 'every resource', 'OwnObjects', over('*')),
  fixed('rolePolicy', 'every organisation', 'OwnObjects', replacing(`\${${TAG}}/`, '')),
  fixed('rolePolicy', 'a wildcard for the organisation', 'OwnObjects', replacing(`\${${TAG}}`, '*')),
  fixed('rolePolicy', 'the prefix ends without a slash', 'OwnObjects', replacing(WITH_SLASH, WITHOUT_SLASH)),
  fixed('rolePolicy', 'every action on own objects', 'OwnObjects', doing('s3:*')),
  fixed(
    'rolePolicy',
    'deletion that was not declared',
    'OwnObjects',
    replacing('"s3:PutObject"', '"s3:PutObject","s3:DeleteObject"'),
  ),
  fixed('rolePolicy', 'one level of keys only', 'OwnObjects', replacing(WITH_SLASH, '/?"')),
  fixed('rolePolicy', 'everything but foreign objects', 'OwnObjects', ({ Resource, ...statement }) => ({
    ...statement,
    NotResource: Resource ?? [],
  })),
  fixed('rolePolicy', 'any listing', 'OwnListing', unconditional),
  fixed(
    'rolePolicy',
    'listing: the prefix ends without a slash',
    'OwnListing',
    replacing(WITH_SLASH, WITHOUT_SLASH),
  ),
  fixed(
    'rolePolicy',
    'listing without a prefix passes',
    'OwnListing',
    replacing('StringLike', 'StringLikeIfExists'),
  ),
  fixed(
    'rolePolicy',
    'listing: all values of none',
    'OwnListing',
    replacing('StringLike', 'ForAllValues:StringLike'),
  ),
  fixed('rolePolicy', 'listing: negated', 'OwnListing', replacing('StringLike', 'StringNotLike')),
  fixed('rolePolicy', 'listing: no wildcard', 'OwnListing', replacing('StringLike', 'StringEquals')),
  fixed(
    'rolePolicy',
    'listing of uploads in progress',
    'OwnListing',
    replacing('"s3:ListBucket"', '"s3:ListBucket","s3:ListBucketMultipartUploads"'),
  ),
  session('every resource', 'OwnObjects', () => over('*')),
  session('every organisation', 'OwnObjects', (org) => replacing(`org/${org}/`, 'org/')),
  session('the prefix ends without a slash', 'OwnObjects', () => replacing(WITH_SLASH, WITHOUT_SLASH)),
  session('the last character is a wildcard', 'OwnObjects', (org) => replacing(org, `${org.slice(0, 35)}?`)),
  session('upper case', 'OwnObjects', (org) => replacing(org, org.toUpperCase())),
  session('every action', 'OwnObjects', () => doing('s3:*')),
  session('no listing', 'OwnListing', () => dropped),
  session('any listing', 'OwnListing', () => unconditional),
  session('listing of the whole bucket as well', 'OwnListing', () => (statement) => ({
    ...statement,
    Condition: {
      StringLike: { 's3:prefix': ['', ...[statement.Condition?.['StringLike']?.['s3:prefix'] ?? []].flat()] },
    },
  })),
  session('listing: the prefix ends without a slash', 'OwnListing', () =>
    replacing(WITH_SLASH, WITHOUT_SLASH),
  ),
  fixed('trustPolicy', 'anybody', 'AppForOneOrg', (statement) => ({ ...statement, Principal: '*' })),
  fixed('trustPolicy', 'no condition', 'AppForOneOrg', unconditional),
  fixed(
    'trustPolicy',
    'the tag may be missing',
    'AppForOneOrg',
    replacing('"StringLike"', '"StringLikeIfExists"'),
  ),
  fixed(
    'trustPolicy',
    'any tag value',
    'AppForOneOrg',
    replacing('????????-????-????-????-????????????', '*'),
  ),
  fixed('trustPolicy', 'further tags', 'AppForOneOrg', replacing('ForAllValues:', 'ForAnyValue:')),
  fixed('trustPolicy', 'sessions may not be tagged', 'AppForOneOrg', replacing(',"sts:TagSession"', '')),
];
