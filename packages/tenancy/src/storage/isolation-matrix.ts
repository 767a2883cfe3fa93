/**
 * The requests an isolation proof tries: keys, prefixes, actions and session tags chosen to be read as another
 * organisation's by a policy that is nearly right. Object stores compare keys byte by byte and normalise nothing, so a
 * key belongs to an organisation exactly when it begins with that organisation's prefix, `..` and all.
 */
import { type OrgId, parseOrgId } from '../org-id.ts';
import { listActions, objectActions, type StorageOperation } from './operations.ts';

/** Organisations whose ids differ in one character or two, at either end and in the middle. */
export const ADVERSARIAL_ORGS: readonly OrgId[] = [
  '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60',
  '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61',
  '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a06',
  '0190f5d2-7b1c-7d34-9a50-3f2e8c1b7a60',
  '1190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60',
].map(parseOrgId);

/** Keys every organisation must reach under its prefix. */
const OWN_KEYS = ['a', 'invoices/2026/11/a b.pdf', 'Überblick/日本.txt', 'x'.repeat(200)] as const;

/** Keys that are nobody's, or an organisation's own in a strange spelling. */
function strangeKeys(org: OrgId): string[] {
  const upper = org.toUpperCase();
  const encoded = org.replaceAll('-', '%2d');
  return [
    '',
    'a',
    'org',
    'org/',
    'org//',
    `org/${org}`,
    `org/${org}0/a`,
    `org/${org}a`,
    `org/${org}-copy/a`,
    `org/${org} /a`,
    `org/${org}%2fa`,
    `org/${org}\\a`,
    `org/${org}\u2215a`,
    `org/${org}\uff0fa`,
    `org/${org}\u200b/a`,
    `org/${org}\0/a`,
    `org/${org.slice(0, -1)}/a`,
    `org/${org.slice(0, -1)}?/a`,
    `org/${encoded}/a`,
    ...(upper === org ? [] : [`org/${upper}/a`]),
    `ORG/${org}/a`,
    `Org/${org}/a`,
    `\u043erg/${org}/a`,
    `/org/${org}/a`,
    `./org/${org}/a`,
    `org//${org}/a`,
    `org/./${org}/a`,
    `org/../org/${org}/a`,
    `org%2f${org}/a`,
    `x/org/${org}/a`,
    'org/*',
    'org/*/a',
    `org/${'?'.repeat(36)}/a`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a policy variable
    'org/${aws:PrincipalTag/org_id}/a',
    'org/undefined/a',
    'org/null/a',
    `org/${org}/`,
    `org/${org}//a`,
    `org/${org}/..`,
    `org/${org}/./a`,
  ];
}

/** Keys of `other` in the spellings `org` could try. */
function foreignKeys(org: OrgId, other: OrgId): string[] {
  return [
    `org/${other}/a`,
    `org/${other}/`,
    `org/${other}/${org}/a`,
    `org/${other}/org/${org}/a`,
    `org/${other}/../${org}/a`,
    `org/${other}//a`,
    `org/${other}/%2e%2e/${org}/a`,
    `org/${org}/../${other}/a`,
    `org/${org}/%2e%2e%2f${other}/a`,
  ];
}

/** A key and whose it is. */
export interface MatrixKey {
  /** The key, or the prefix of a listing. */
  readonly key: string;
  /** It belongs to the organisation. */
  readonly own: boolean;
  /** The organisation must reach it. */
  readonly required: boolean;
}

/** All keys tried for one organisation. */
export function matrixKeys(org: OrgId, orgs: readonly OrgId[]): MatrixKey[] {
  const prefix = `org/${org}/`;
  const tried = [
    ...strangeKeys(org),
    ...orgs.filter((id) => id !== org).flatMap((id) => foreignKeys(org, id)),
  ];
  return [
    ...OWN_KEYS.map((name) => ({ key: prefix + name, own: true, required: true })),
    ...[...new Set(tried)].map((key) => ({ key, own: key.startsWith(prefix), required: false })),
  ];
}

/** All prefixes tried in listings; undefined is a listing without one. */
export function matrixPrefixes(
  org: OrgId,
  orgs: readonly OrgId[],
): (Omit<MatrixKey, 'key'> & { key?: string })[] {
  const prefix = `org/${org}/`;
  const beginnings = ['o', 'org', 'org/0', `org/${org.slice(0, 35)}`, `org/${org.slice(0, 8)}`];
  return [
    { own: false, required: false },
    { key: prefix, own: true, required: true },
    { key: `${prefix}invoices/`, own: true, required: true },
    { key: `${prefix}inv`, own: true, required: true },
    ...beginnings.map((key) => ({ key, own: false, required: false })),
    ...matrixKeys(org, orgs).filter(({ required }) => !required),
  ];
}

/** Tags that no organisation has; a policy must not read them as a pattern or as nothing. */
export function strangeTags(org: OrgId): string[] {
  const wide = [...org].map((char) =>
    char === '-' ? char : String.fromCodePoint(0xff10 + (char.codePointAt(0) ?? 48) - 48),
  );
  return [
    '',
    '*',
    '?'.repeat(36),
    `${org.slice(0, 35)}?`,
    `${org.slice(0, 8)}*`,
    `${org} `,
    `${org}/..`,
    wide.join(''),
  ];
}

const OTHER_OBJECT_ACTIONS = [
  'GetObject GetObjectVersion GetObjectAttributes GetObjectVersionAttributes PutObject AbortMultipartUpload',
  'ListMultipartUploadParts DeleteObject DeleteObjectVersion GetObjectTagging PutObjectTagging DeleteObjectTagging',
  'GetObjectVersionTagging PutObjectVersionTagging DeleteObjectVersionTagging GetObjectAcl PutObjectAcl PutObjectVersionAcl',
  'PutObjectRetention PutObjectLegalHold BypassGovernanceRetention RestoreObject ReplicateObject ReplicateDelete',
  'ReplicateTags ObjectOwnerOverrideToBucketOwner UpdateObjectEncryption',
];
const OTHER_BUCKET_ACTIONS = [
  'ListBucket ListBucketVersions ListBucketMultipartUploads GetBucketPolicy PutBucketPolicy DeleteBucketPolicy',
  'PutBucketAcl PutBucketVersioning PutLifecycleConfiguration PutReplicationConfiguration PutInventoryConfiguration',
  'PutBucketNotification PutBucketLogging PutBucketObjectLockConfiguration PutBucketPublicAccessBlock',
  'PutBucketOwnershipControls PutBucketCORS PutEncryptionConfiguration PutBucketTagging CreateAccessPoint DeleteBucket',
];

/** Actions tried on objects, and those the declared operations need. */
export function matrixActions(operations: readonly StorageOperation[]): {
  readonly object: readonly string[];
  readonly bucket: readonly string[];
  readonly declared: ReadonlySet<string>;
} {
  const all = (lines: readonly string[]) =>
    lines.flatMap((line) => line.split(' ')).map((name) => `s3:${name}`);
  return {
    object: all(OTHER_OBJECT_ACTIONS),
    bucket: all(OTHER_BUCKET_ACTIONS),
    declared: new Set([...objectActions(operations), ...listActions(operations)]),
  };
}
