/**
 * Key identifiers of Azure Key Vault and Managed HSM: `https://<vault>/keys/<name>[/<version>]`.
 * Invariant: host and name are compared without regard to case, as the vault does; versions exactly.
 */

/** A key in a vault, by its identifier. */
export interface AzureKey {
  /** Origin of the vault, e.g. `https://acme.vault.azure.net`. */
  readonly vaultUrl: string;
  /** Name of the key. */
  readonly name: string;
  /** Version, 32 hex digits; empty for the newest. */
  readonly version: string;
}

const NAME = /^[A-Za-z0-9-]{1,127}$/;
const VERSION = /^[0-9a-f]{32}$/;

/** Characters of a key version. */
export const VERSION_LENGTH = 32;

/** True for the form of a key version: it goes into a request path. */
export function isKeyVersion(text: string): boolean {
  return VERSION.test(text);
}

/** Parses a key identifier; undefined when it is not one. */
export function parseKeyUrl(text: string): AzureKey | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const [empty, keys, name, version = '', ...rest] = url.pathname.split('/');
  const plain = url.search === '' && url.hash === '' && url.username === '' && url.password === '';
  if (url.protocol !== 'https:' || !plain || empty !== '' || keys !== 'keys' || rest.length > 0) {
    return undefined;
  }
  if (name === undefined || !NAME.test(name)) return undefined;
  if (url.pathname.split('/').length === 4 && !VERSION.test(version)) return undefined;
  return { vaultUrl: url.origin, name, version };
}

/** The version an answer's `kid` names, when it is of the asked key; else undefined. */
export function answeredVersion(asked: AzureKey, kid: unknown): string | undefined {
  const answered = typeof kid === 'string' ? parseKeyUrl(kid) : undefined;
  if (answered === undefined || answered.version === '') return undefined;
  if (answered.vaultUrl !== asked.vaultUrl) return undefined;
  if (answered.name.toLowerCase() !== asked.name.toLowerCase()) return undefined;
  if (asked.version !== '' && answered.version !== asked.version) return undefined;
  return answered.version;
}

/** The identifier of a key version. */
export function keyUrl(key: AzureKey): string {
  const base = `${key.vaultUrl}/keys/${key.name}`;
  return key.version === '' ? base : `${base}/${key.version}`;
}
