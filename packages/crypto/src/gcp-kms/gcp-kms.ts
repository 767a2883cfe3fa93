/**
 * Google Cloud KMS as a `KmsProvider`. The wrap context goes along as additional authenticated data; CRC-32C of all that
 * is sent and received is checked at both ends ("Verifying end-to-end data integrity" in the Cloud KMS documentation).
 * The decrypt answer names no key: that the right key answered is proven by the envelope.
 */
import type { KeyManagementServiceClient } from '@google-cloud/kms';
import {
  type CloudKms,
  cloudKmsProvider,
  KmsRefusal,
  MAX_ATTEMPTS,
  type PlainCall,
} from '../cloud-kms/cloud-provider.ts';
import type { KekState, KmsProvider } from '../kms.ts';
import { crc32c } from './crc32c.ts';
import { classifyGcpError } from './gcp-errors.ts';

/** Options of `gcpKms`. */
export interface GcpKmsOptions {
  /**
   * The client, or a function that gives the client for a key: one per impersonated service account when customers grant
   * access to different ones. It gets `projects/…/cryptoKeys/…` and should return the same client for the same account.
   */
  readonly client: KeyManagementServiceClient | ((keyName: string) => KeyManagementServiceClient);
  /** Time-out of one call with all its retries, in ms. Default 5000. */
  readonly timeoutMs?: number;
}

interface GcpKek {
  readonly name: string;
  readonly client: KeyManagementServiceClient;
}

const KEY_NAME =
  /^projects\/[a-z0-9.:-]{1,64}\/locations\/[a-z0-9-]{1,63}\/keyRings\/[A-Za-z0-9_-]{1,63}\/cryptoKeys\/[A-Za-z0-9_-]{1,63}$/;

/**
 * Makes a provider for KEKs in Google Cloud KMS. KEK URIs are `gcp-kms:` and the resource name of a symmetric key without
 * a version, so that rotation of the KEK needs nothing here.
 * The caller's identity needs `roles/cloudkms.cryptoKeyEncrypterDecrypter` and `cloudkms.cryptoKeys.get` on the key.
 *
 * @throws TypeError when the time-out is not an integer from 1 to 60000.
 * @example
 * ```ts
 * const kms = gcpKms({ client: new KeyManagementServiceClient() });
 * ```
 */
export function gcpKms(options: GcpKmsOptions): KmsProvider {
  const { client } = options;
  const cloud: CloudKms<GcpKek> = {
    scheme: 'gcp-kms',
    service: 'Cloud KMS',

    resolve(name: string): GcpKek {
      if (!KEY_NAME.test(name)) {
        throw new TypeError(
          'not a KEK URI of Cloud KMS: expected gcp-kms:projects/<p>/locations/<l>/keyRings/<r>/cryptoKeys/<k>',
        );
      }
      return { name, client: typeof client === 'function' ? client(name) : client };
    },

    async encrypt({ name, client }, transportKey, call) {
      const [answer] = await client.encrypt(
        {
          name,
          plaintext: transportKey,
          plaintextCrc32c: { value: crc32c(transportKey) },
          additionalAuthenticatedData: call.contextBytes,
          additionalAuthenticatedDataCrc32c: { value: crc32c(call.contextBytes) },
        },
        callOptions(call),
      );
      if (!isVersionOf(name, answer.name)) throw malformed('another key answered');
      if (answer.verifiedPlaintextCrc32c !== true) throw malformed('plaintext checksum not verified');
      if (answer.verifiedAdditionalAuthenticatedDataCrc32c !== true) {
        throw malformed('context checksum not verified');
      }
      return {
        kekVersion: '',
        kmsCiphertext: checked(answer.ciphertext, answer.ciphertextCrc32c, 'ciphertext'),
      };
    },

    async decrypt({ name, client }, header, call) {
      const [answer] = await client.decrypt(
        {
          name,
          ciphertext: header.kmsCiphertext,
          ciphertextCrc32c: { value: crc32c(header.kmsCiphertext) },
          additionalAuthenticatedData: call.contextBytes,
          additionalAuthenticatedDataCrc32c: { value: crc32c(call.contextBytes) },
        },
        callOptions(call),
      );
      return { transportKey: checked(answer.plaintext, answer.plaintextCrc32c, 'plaintext') };
    },

    async describe({ name, client }, call) {
      const [answer] = await client.getCryptoKey({ name }, callOptions(call));
      if (answer.name !== name) throw malformed('another key answered');
      if (answer.primary === null || answer.primary === undefined) return 'disabled';
      if (!isVersionOf(name, answer.primary.name)) throw malformed('another key answered');
      const state = answer.primary.state ?? '';
      const known = STATES[typeof state === 'number' ? (STATE_NAMES[state] ?? '') : state];
      if (known === undefined) throw new KmsRefusal('crypto.kms_unavailable', 'passing key state');
      return known;
    },

    classify: classifyGcpError,
  };
  return cloudKmsProvider(cloud, options.timeoutMs);
}

/** CryptoKeyVersionState by number: REST transports answer with numbers. */
const STATE_NAMES: readonly string[] = [
  '',
  'ENABLED',
  'DISABLED',
  'DESTROYED',
  'DESTROY_SCHEDULED',
  'PENDING_GENERATION',
  'PENDING_IMPORT',
  'IMPORT_FAILED',
  'GENERATION_FAILED',
  'PENDING_EXTERNAL_DESTRUCTION',
  'EXTERNAL_DESTRUCTION_FAILED',
];

const STATES: Readonly<Record<string, KekState>> = {
  ENABLED: 'enabled',
  DISABLED: 'disabled',
  DESTROY_SCHEDULED: 'pending_deletion',
  PENDING_EXTERNAL_DESTRUCTION: 'pending_deletion',
  DESTROYED: 'destroyed',
  EXTERNAL_DESTRUCTION_FAILED: 'destroyed',
};

const UNAVAILABLE = 14;

/** `timeout` ends the RPC on the wire, `signal` at once where the client knows it (google-gax 6). */
function callOptions({ signal, timeoutMs }: PlainCall): CallOptions {
  return {
    timeout: timeoutMs,
    signal,
    retry: {
      retryCodes: [UNAVAILABLE],
      backoffSettings: {
        initialRetryDelayMillis: 100,
        retryDelayMultiplier: 2,
        maxRetryDelayMillis: 1000,
        initialRpcTimeoutMillis: timeoutMs,
        rpcTimeoutMultiplier: 1,
        maxRpcTimeoutMillis: timeoutMs,
        maxRetries: MAX_ATTEMPTS,
      },
    },
  };
}

/** The part of google-gax's CallOptions used here. */
interface CallOptions {
  readonly timeout: number;
  readonly signal: AbortSignal;
  readonly retry: {
    readonly retryCodes: number[];
    readonly backoffSettings: {
      readonly initialRetryDelayMillis: number;
      readonly retryDelayMultiplier: number;
      readonly maxRetryDelayMillis: number;
      readonly initialRpcTimeoutMillis: number;
      readonly rpcTimeoutMultiplier: number;
      readonly maxRpcTimeoutMillis: number;
      readonly maxRetries: number;
    };
  };
}

function isVersionOf(keyName: string, versionName: string | null | undefined): boolean {
  const prefix = `${keyName}/cryptoKeyVersions/`;
  return versionName?.startsWith(prefix) === true && /^\d{1,19}$/.test(versionName.slice(prefix.length));
}

/** Bytes of an answer whose checksum is present and right; wiped otherwise. */
function checked(
  bytes: Uint8Array | string | null | undefined,
  checksum: { readonly value?: unknown } | null | undefined,
  what: string,
): Uint8Array {
  if (!(bytes instanceof Uint8Array) || bytes.length === 0) throw malformed(`no ${what} in the answer`);
  // A 64-bit integer arrives as number, string or Long.
  if (String(checksum?.value ?? '') !== String(crc32c(bytes))) {
    bytes.fill(0);
    throw malformed(`wrong ${what} checksum`);
  }
  return bytes;
}

function malformed(reason: string): KmsRefusal {
  return new KmsRefusal('crypto.kms_malformed_answer', reason);
}
