/**
 * AWS KMS as a `KmsProvider`. Every Encrypt and Decrypt carries the whole wrap context as encryption context, so that the
 * key's owner can demand it in the key policy and sees it in CloudTrail. Decrypt always names the key (never the blob's
 * own), and the answering key is compared with the asked one; replicas of a multi-Region key count as one key.
 */
import { DecryptCommand, DescribeKeyCommand, EncryptCommand, type KMSClient } from '@aws-sdk/client-kms';
import { type CloudKms, cloudKmsProvider, KmsRefusal, type PlainCall } from '../cloud-kms/cloud-provider.ts';
import type { KekState, KmsProvider, WrapContext } from '../kms.ts';
import { classifyAwsError } from './aws-errors.ts';
import { type AwsKmsKey, isSameKey, parseKeyArn } from './key-arn.ts';

/** Options of `awsKms`. */
export interface AwsKmsOptions {
  /**
   * Client of the Region all KEKs live in, or a function that gives the client for a key: one per Region for
   * multi-Region keys, one per assumed role for keys in customers' accounts. The function should return the same
   * client for the same Region and role: clients hold connections and credentials.
   */
  readonly client: KMSClient | ((key: AwsKmsKey) => KMSClient);
  /** Time-out of one call with all its retries, in ms. Default 5000. */
  readonly timeoutMs?: number;
}

interface AwsKek {
  readonly key: AwsKmsKey;
  readonly client: KMSClient;
}

/**
 * Makes a provider for KEKs in AWS KMS. KEK URIs are `aws-kms:` and the ARN of a symmetric key (not an alias).
 * The caller's identity needs `kms:Encrypt`, `kms:Decrypt` and `kms:DescribeKey` on the key.
 *
 * @throws TypeError when the time-out is not an integer from 1 to 60000.
 * @example
 * ```ts
 * const kms = awsKms({ client: new KMSClient({ region: 'eu-central-1' }) });
 * ```
 */
export function awsKms(options: AwsKmsOptions): KmsProvider {
  const { client } = options;
  const cloud: CloudKms<AwsKek> = {
    scheme: 'aws-kms',
    service: 'AWS KMS',

    async resolve(name: string): Promise<AwsKek> {
      const key = parseKeyArn(name);
      if (key === undefined) {
        throw new TypeError(
          'not a KEK URI of AWS KMS: expected aws-kms:arn:aws:kms:<region>:<account>:key/<id>',
        );
      }
      const chosen = typeof client === 'function' ? client(key) : client;
      // In another Region the key is "not found", which would read as destroyed.
      const region: Promise<string | undefined> = chosen.config.region().catch(() => undefined);
      if ((await region) !== key.region) {
        throw new TypeError(`the AWS client is not of the key's Region (${key.region}): pass a function`);
      }
      return { key, client: chosen };
    },

    async encrypt({ key, client }, transportKey, { context, ...call }) {
      const command = new EncryptCommand({
        KeyId: key.arn,
        Plaintext: transportKey,
        EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
        EncryptionContext: encryptionContext(context),
      });
      const answer = await client.send(noting(command, call), { abortSignal: call.signal });
      const requestId = answer.$metadata.requestId;
      checkKey(key, answer.KeyId, requestId);
      if (!(answer.CiphertextBlob instanceof Uint8Array)) throw missing('CiphertextBlob', requestId);
      return { kekVersion: '', kmsCiphertext: answer.CiphertextBlob, requestId };
    },

    async decrypt({ key, client }, header, { context, ...call }) {
      const command = new DecryptCommand({
        KeyId: key.arn,
        CiphertextBlob: header.kmsCiphertext,
        EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
        EncryptionContext: encryptionContext(context),
      });
      const answer = await client.send(noting(command, call), { abortSignal: call.signal });
      const requestId = answer.$metadata.requestId;
      if (!(answer.Plaintext instanceof Uint8Array)) throw missing('Plaintext', requestId);
      try {
        checkKey(key, answer.KeyId, requestId);
      } catch (error) {
        answer.Plaintext.fill(0);
        throw error;
      }
      return { transportKey: answer.Plaintext, requestId };
    },

    async describe({ key, client }, call) {
      const command = noting(new DescribeKeyCommand({ KeyId: key.arn }), call);
      const answer = await client.send(command, { abortSignal: call.signal });
      const requestId = answer.$metadata.requestId;
      checkKey(key, answer.KeyMetadata?.Arn, requestId);
      const state = answer.KeyMetadata?.KeyState;
      if (state === undefined) throw missing('KeyState', requestId);
      const known = STATES[state];
      if (known === undefined) throw new KmsRefusal('crypto.kms_unavailable', 'passing key state', requestId);
      return known;
    },

    classify: classifyAwsError,
  };
  return cloudKmsProvider(cloud, options.timeoutMs);
}

const STATES: Readonly<Record<string, KekState>> = {
  Enabled: 'enabled',
  Disabled: 'disabled',
  // The owner took the imported key material away and can import it again.
  PendingImport: 'disabled',
  PendingDeletion: 'pending_deletion',
  PendingReplicaDeletion: 'pending_deletion',
};

/** Names are lower case: IAM condition keys are matched without regard to case. */
function encryptionContext(context: WrapContext): Record<string, string> {
  return {
    app: context.app,
    org: context.org,
    key_id: context.keyId,
    version: String(context.version),
    purpose: context.purpose,
  };
}

/** Reads the request id of every attempt: results and errors of the SDK have that of the last one only. */
function noting<Command extends { readonly middlewareStack: unknown }>(
  command: Command,
  { noteRequestId }: PlainCall,
): Command {
  const stack = command.middlewareStack as KMSClient['middlewareStack'];
  stack.add(
    (next) => async (args) => {
      const result = await next(args);
      noteRequestId(requestIdOf(result.response));
      return result;
    },
    // Inside the deserialiser, which throws on refusals, and inside the retries.
    { step: 'deserialize', priority: 'low', name: 'ringfenceRequestId' },
  );
  return command;
}

function requestIdOf(response: unknown): unknown {
  const { headers } = response as { readonly headers?: Readonly<Record<string, unknown>> };
  return headers?.['x-amzn-requestid'];
}

function checkKey(asked: AwsKmsKey, answered: string | undefined, requestId: string | undefined): void {
  if (!isSameKey(asked, answered)) {
    throw new KmsRefusal('crypto.kms_malformed_answer', 'another key answered', requestId);
  }
}

function missing(field: string, requestId: string | undefined): KmsRefusal {
  return new KmsRefusal('crypto.kms_malformed_answer', `no ${field} in the answer`, requestId);
}
