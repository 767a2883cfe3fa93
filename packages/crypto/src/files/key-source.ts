/**
 * Where the file functions get their keys: a port of one organisation's file keys, one 32-byte key per key version.
 * Invariant: the key bytes are only lent for the length of a synchronous callback; nothing here keeps them.
 */
import { keyIdBytes, keyIdText } from '../key-id.ts';
import type { OrgId } from '../org-id.ts';
import type { OrgKeys, PurposeKeyMeter, PurposeKeyUse } from '../org-keys.ts';

/** The file keys of one organisation, one per data-key version. */
export interface FileKeySource {
  /** Organisation that owns the keys; enters the key derivation of every file. */
  readonly org: OrgId;
  /** Id of the key version that seals new files, 16 bytes. */
  readonly activeKeyId: Uint8Array;
  /**
   * Lends the 32-byte file key of one version to `use` and returns its result. The key is the lender's: `use` neither
   * changes nor keeps it. `kind` and the meter are for the key-use ledger; a source may leave them out.
   *
   * @throws RingfenceCryptoError `crypto.unknown_key_version` when the organisation has no such version, and the codes of
   * an ended lease or a revoked key.
   */
  withFileKey<T>(
    keyId: Uint8Array,
    use: (key: Uint8Array, meter?: PurposeKeyMeter) => T,
    kind?: PurposeKeyUse,
  ): T;
}

/** What the file functions take as keys: the leased keys of an organisation, or another source of file keys. */
export type FileKeys = OrgKeys | FileKeySource;

/**
 * File keys of an organisation's leased keys. The file functions do this themselves when they are given `OrgKeys`. Each
 * use of a key counts as one message of the lease; once the lease has ended, so have these keys.
 *
 * @example
 * ```ts
 * const source = fileKeys(await keyring.org(org));
 * ```
 */
export function fileKeys(keys: FileKeys): FileKeySource {
  if ('withFileKey' in keys) return keys;
  return {
    get org() {
      return keys.org;
    },
    get activeKeyId() {
      return keyIdBytes(keys.activeKeyId);
    },
    withFileKey: (keyId, use, kind) =>
      keys.withPurposeKey('file', keyIdText(keyId), (key, _, meter) => use(key, meter), kind),
  };
}
