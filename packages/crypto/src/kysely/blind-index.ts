/**
 * Blind index values, format v1 (docs/formats/blind-index-v1.md): HMAC-SHA-256 (RFC 2104) of the normalised text under a
 * key of its own per data-key version, organisation, table, column and index version, derived by HKDF-SHA-256 (RFC 5869).
 *
 *     v<version> . <first 16 hex digits of the key id> . <first n bits of the HMAC in hex>
 *
 * Invariant: equal values show that two rows of one column of one organisation are equal, and nothing across columns,
 * organisations or versions. Index keys live for one query and are wiped.
 */
import { createHmac, hkdfSync } from 'node:crypto';
import { encodePart, isWellFormed, lengthPrefixed, u32 } from '../length-prefix.ts';
import type { OrgKeys } from '../org-keys.ts';
import type { DeclaredColumn, DeclaredIndex, IndexVersion } from './declaration.ts';

const LABEL = new TextEncoder().encode('ringfence/blind-index/v1');
const NO_SALT = new Uint8Array(0);

/** Place of a blind index: what its key is derived for. */
export interface IndexPlace {
  /** Organisation. */
  readonly org: string;
  /** Table as declared. */
  readonly table: string;
  /** Sealed column. */
  readonly column: string;
  /** Index version. */
  readonly version: number;
}

/** Derives an index key from the purpose key `index` of a data-key version. The caller wipes it. */
export function deriveIndexKey(purposeKey: Uint8Array, place: IndexPlace): Uint8Array {
  const info = lengthPrefixed(
    LABEL,
    encodePart('org', place.org),
    encodePart('table', place.table),
    encodePart('column', place.column),
    u32(place.version),
  );
  return new Uint8Array(hkdfSync('sha256', purposeKey, NO_SALT, info, 32));
}

/** First part of an index value: its version and the tag of its key id. */
export function indexPrefix(version: number, keyId: string): string {
  return `v${version}.${keyId.slice(0, 16)}.`;
}

/** Index value of a normalised text. */
export function indexValue(
  key: Uint8Array,
  { version, bits }: Pick<IndexVersion, 'version' | 'bits'>,
  keyId: string,
  normalised: string,
): string {
  if (!isWellFormed(normalised)) throw new TypeError('an indexed text must not hold a lone surrogate');
  const mac = createHmac('sha256', key)
    .update(normalised, 'utf8')
    .digest()
    .subarray(0, Math.ceil(bits / 8));
  const spare = mac.length * 8 - bits;
  const last = mac.length - 1;
  mac[last] = ((mac[last] ?? 0) >>> spare) << spare;
  return indexPrefix(version, keyId) + mac.toString('hex');
}

/** Makes index values for one query; derives each key once and wipes all at the end. */
export class IndexValues {
  readonly #keys: OrgKeys;
  readonly #derived = new Map<string, Uint8Array>();

  constructor(keys: OrgKeys) {
    this.#keys = keys;
  }

  /** Value that is stored: current version, active key. */
  stored(column: DeclaredColumn, index: DeclaredIndex, text: string): string {
    return this.#value(column, index.current, this.#keys.activeKeyId, text);
  }

  /** Values a search asks for: every declared version under every living key. */
  searched(column: DeclaredColumn, index: DeclaredIndex, text: string): string[] {
    return index.versions.flatMap((version) =>
      this.#keys.keyIds.map((keyId) => this.#value(column, version, keyId, text)),
    );
  }

  /** Overwrites the keys. */
  wipe(): void {
    for (const key of this.#derived.values()) key.fill(0);
    this.#derived.clear();
  }

  #value(column: DeclaredColumn, version: IndexVersion, keyId: string, text: string): string {
    return indexValue(this.#key(column, version.version, keyId), version, keyId, version.normalise(text));
  }

  #key(column: DeclaredColumn, version: number, keyId: string): Uint8Array {
    const id = JSON.stringify([version, keyId, column.table, column.name]); // names may hold spaces
    const known = this.#derived.get(id);
    if (known !== undefined) return known;
    const place: IndexPlace = { org: this.#keys.org, table: column.table, column: column.name, version };
    const key = this.#keys.withPurposeKey('index', keyId, (purposeKey) => deriveIndexKey(purposeKey, place));
    this.#derived.set(id, key);
    return key;
  }
}
