/**
 * Key ARNs of AWS KMS. Only key ARNs are taken, never aliases: an alias can be pointed at another key, and then
 * nothing could tell whether the answering key is the one that was asked.
 */

/** A key of AWS KMS, by its ARN. */
export interface AwsKmsKey {
  /** The whole ARN. */
  readonly arn: string;
  /** Partition, e.g. `aws` or `aws-us-gov`. */
  readonly partition: string;
  /** Region, e.g. `eu-central-1`. */
  readonly region: string;
  /** Account that owns the key, 12 digits. */
  readonly accountId: string;
  /** Key id: a UUID, or `mrk-…` for a multi-Region key. */
  readonly keyId: string;
}

const KEY_ARN =
  /^arn:(aws[a-z-]{0,16}):kms:([a-z0-9-]{1,32}):(\d{12}):key\/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** Parses a key ARN; undefined when it is not one. */
export function parseKeyArn(arn: string): AwsKmsKey | undefined {
  const [, partition, region, accountId, keyId] = KEY_ARN.exec(arn) ?? [];
  if (partition === undefined || region === undefined || accountId === undefined || keyId === undefined) {
    return undefined;
  }
  return { arn, partition, region, accountId, keyId };
}

/**
 * True when `answered` is the asked key, or a replica of it: the replicas of a multi-Region key share key material and
 * id and differ in the Region alone.
 */
export function isSameKey(asked: AwsKmsKey, answered: string | undefined): boolean {
  if (answered === asked.arn) return true;
  const other = parseKeyArn(answered ?? '');
  return (
    other?.keyId.startsWith('mrk-') === true &&
    other.keyId === asked.keyId &&
    other.accountId === asked.accountId &&
    other.partition === asked.partition
  );
}
