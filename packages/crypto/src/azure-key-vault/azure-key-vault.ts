/**
 * Azure Key Vault and Managed HSM as a `KmsProvider`: wrapKey and unwrapKey with RSA-OAEP-256 (RFC 8017 section 7.1 with
 * SHA-256). RSA-OAEP takes no context; the envelope binds it by AES-256-GCM under the transport key the vault wraps.
 * Three traps of the platform are closed here:
 * - With RSA-OAEP (SHA-1) the SDK wraps in the process and never asks the vault. It is never used, and the SDK is given a
 *   key without public part, so that it has nothing to wrap with.
 * - A disabled key may still wrap (only unwrapping is refused). Every wrap is read back before it counts.
 * - Rotation makes a new key version. The name and version that wrapped are pinned in the wrap, so that unwrap
 *   names them.
 */
import { CryptographyClient, KeyClient, type KeyClientOptions } from '@azure/keyvault-keys';
import {
  type CloudCall,
  type CloudKms,
  cloudKmsProvider,
  KmsRefusal,
  MAX_ATTEMPTS,
  type PlainCall,
} from '../cloud-kms/cloud-provider.ts';
import { equal } from '../cloud-kms/wrap-envelope.ts';
import type { KekState, KmsProvider } from '../kms.ts';
import { classifyAzureError } from './azure-errors.ts';
import {
  type AzureKey,
  answeredVersion,
  isKeyVersion,
  keyUrl,
  parseKeyUrl,
  VERSION_LENGTH,
} from './key-url.ts';

/** A credential of `@azure/identity`, such as `DefaultAzureCredential`. */
export type AzureCredential = ConstructorParameters<typeof KeyClient>[1];

/** Options of `azureKeyVault`. */
export interface AzureKeyVaultOptions {
  /**
   * The credential, or a function that gives the credential for a vault (`https://<vault>.vault.azure.net`): one per
   * tenant when customers' vaults live in their own tenants. It should return the same object for the same tenant.
   */
  readonly credential: AzureCredential | ((vaultUrl: string) => AzureCredential);
  /** Options of the SDK's clients, e.g. a proxy. Retries default to 3 attempts within the time-out. */
  readonly clientOptions?: KeyClientOptions;
  /** Time-out of one provider call with all its requests and retries, in ms. Default 5000. */
  readonly timeoutMs?: number;
}

const ALGORITHM = 'RSA-OAEP-256';
const MAX_CLIENTS = 512;

/**
 * Makes a provider for KEKs in Azure Key Vault. KEK URIs are `azure-key-vault:` and the identifier of an RSA key, with a
 * version or without (then the newest version wraps). The caller needs the role "Key Vault Crypto Service Encryption User".
 *
 * @throws TypeError when the time-out is not an integer from 1 to 60000.
 * @example
 * ```ts
 * const kms = azureKeyVault({ credential: new DefaultAzureCredential() });
 * ```
 */
export function azureKeyVault(options: AzureKeyVaultOptions): KmsProvider {
  const clients = new VaultClients(options);
  const cloud: CloudKms<AzureKey> = {
    scheme: 'azure-key-vault',
    service: 'Azure Key Vault',

    resolve(name: string): AzureKey {
      const key = parseKeyUrl(name);
      if (key === undefined) {
        throw new TypeError(
          'not a KEK URI of Azure Key Vault: expected azure-key-vault:https://<vault>/keys/<name>[/<version>]',
        );
      }
      return key;
    },

    async encrypt(key, transportKey, call) {
      const seen = new SeenAnswer();
      // The SDK turns the bytes into base64url before sending; the answer is what the vault wrapped.
      const { result } = await clients.cryptography(key).wrapKey(ALGORITHM, transportKey, seen.options(call));
      const used: AzureKey = { ...key, version: seen.version(key) };
      if (!(await readsBack(used, result, transportKey, call))) {
        throw malformed('the wrap does not read back', seen.requestId);
      }
      return { kekVersion: pinOf(used), kmsCiphertext: result, requestId: seen.requestId };
    },

    async decrypt(key, header, call) {
      const used: AzureKey = { ...key, version: header.kekVersion.slice(-VERSION_LENGTH) };
      const ofThisKey = header.kekVersion === pinOf(used) && isKeyVersion(used.version);
      if (!ofThisKey || (key.version !== '' && key.version !== used.version)) {
        throw new KmsRefusal('crypto.wrap_tampered', 'wrapped under another key or key version');
      }
      return unwrap(used, header.kmsCiphertext, call);
    },

    async describe(key, call) {
      const keys = clients.keys(key.vaultUrl);
      const seen = new SeenAnswer();
      try {
        const version = key.version === '' ? {} : { version: key.version };
        const { properties } = await keys.getKey(key.name, { ...seen.options(call), ...version });
        if (answeredVersion(key, properties.id) === undefined) {
          throw malformed('another key answered', seen.requestId);
        }
        return properties.enabled === true ? 'enabled' : 'disabled';
      } catch (error) {
        if (classifyAzureError(error, 'describe').code !== 'crypto.key_destroyed') throw error;
        return await deletedState(keys, key, call);
      }
    },

    classify: classifyAzureError,
  };

  async function unwrap(used: AzureKey, ciphertext: Uint8Array, call: CloudCall): Promise<Unwrapped> {
    const seen = new SeenAnswer();
    const { result } = await clients.cryptography(used).unwrapKey(ALGORITHM, ciphertext, seen.options(call));
    if (!(result instanceof Uint8Array)) throw malformed('no value in the answer', seen.requestId);
    try {
      seen.version(used);
    } catch (error) {
      result.fill(0);
      throw error;
    }
    return { transportKey: result, requestId: seen.requestId };
  }

  async function readsBack(
    used: AzureKey,
    ciphertext: Uint8Array,
    transportKey: Uint8Array,
    call: CloudCall,
  ): Promise<boolean> {
    try {
      const { transportKey: readBack } = await unwrap(used, ciphertext, call);
      const same = equal(readBack, transportKey);
      readBack.fill(0);
      return same;
    } catch (error) {
      if (classifyAzureError(error, 'unwrap').code === 'crypto.wrap_tampered') return false;
      throw error;
    }
  }

  return cloudKmsProvider(cloud, options.timeoutMs);
}

/** Names a key version inside a wrap. Without the vault, so that a key restored into another vault opens its wraps. */
function pinOf(key: AzureKey): string {
  return `${key.name.toLowerCase()}/${key.version}`;
}

/** Reads what the SDK leaves out of its results: which key the vault says it used, and the request id. */
class SeenAnswer {
  requestId: string | undefined;
  #body: unknown;

  options(call: PlainCall): RequestOptions {
    return {
      abortSignal: call.signal,
      onResponse: (response) => {
        this.requestId = response.headers.get('x-ms-request-id');
        call.noteRequestId(this.requestId);
        this.#body = response.parsedBody;
      },
    };
  }

  /** The answering key version; rejects when another key answered or a part is missing. */
  version(asked: AzureKey): string {
    const { kid, value } = (this.#body ?? {}) as { readonly kid?: unknown; readonly value?: unknown };
    this.#body = undefined;
    if (typeof value !== 'string' || value === '') throw malformed('no value in the answer', this.requestId);
    const version = answeredVersion(asked, kid);
    if (version === undefined) throw malformed('another key answered', this.requestId);
    return version;
  }
}

interface Unwrapped {
  readonly transportKey: Uint8Array;
  readonly requestId: string | undefined;
}

interface RequestOptions {
  readonly abortSignal: AbortSignal;
  readonly onResponse: (response: {
    readonly headers: { get(name: string): string | undefined };
    readonly parsedBody?: unknown;
  }) => void;
}

/** SDK clients by vault and key: they hold connections and tokens, no keys. The oldest go first when there are many. */
class VaultClients {
  readonly #options: AzureKeyVaultOptions;
  readonly #keys = new Map<string, KeyClient>();
  readonly #cryptography = new Map<string, CryptographyClient>();

  constructor(options: AzureKeyVaultOptions) {
    this.#options = options;
  }

  keys(vaultUrl: string): KeyClient {
    return remembered(
      this.#keys,
      vaultUrl,
      () => new KeyClient(vaultUrl, this.#credential(vaultUrl), this.#clientOptions()),
    );
  }

  cryptography(key: AzureKey): CryptographyClient {
    const id = keyUrl(key);
    return remembered(this.#cryptography, id, () => {
      // A key without its public part: the SDK then neither fetches the key nor wraps in this process.
      const remoteOnly = {
        id,
        name: key.name,
        properties: { name: key.name, vaultUrl: key.vaultUrl, version: key.version },
      };
      return new CryptographyClient(remoteOnly, this.#credential(key.vaultUrl), this.#clientOptions());
    });
  }

  #credential(vaultUrl: string): AzureCredential {
    const { credential } = this.#options;
    return typeof credential === 'function' ? credential(vaultUrl) : credential;
  }

  /** A fresh object each time: the SDK writes into it. */
  #clientOptions(): KeyClientOptions {
    const given = this.#options.clientOptions;
    return {
      ...given,
      retryOptions: {
        maxRetries: MAX_ATTEMPTS - 1,
        retryDelayInMs: 100,
        maxRetryDelayInMs: 1000,
        ...given?.retryOptions,
      },
    };
  }
}

function remembered<T>(map: Map<string, T>, key: string, make: () => T): T {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  if (map.size >= MAX_CLIENTS) map.delete(map.keys().next().value as string);
  map.set(key, made);
  return made;
}

/** A deleted key stays recoverable for a while, if the caller may see that. */
async function deletedState(keys: KeyClient, key: AzureKey, call: PlainCall): Promise<KekState> {
  try {
    await keys.getDeletedKey(key.name, new SeenAnswer().options(call));
    return 'pending_deletion';
  } catch (error) {
    const { code } = classifyAzureError(error, 'describe');
    if (code === 'crypto.key_destroyed' || code === 'crypto.key_denied') return 'destroyed';
    throw error;
  }
}

function malformed(reason: string, requestId: string | undefined): KmsRefusal {
  return new KmsRefusal('crypto.kms_malformed_answer', reason, requestId);
}
