/**
 * What an application holds after `await keyring.org(id)`: synchronous seal and open for one organisation.
 * Invariant: every operation passes the lease first; nothing here prints, clones or serialises a key.
 */
import { inspect } from 'node:util';
import { RingfenceCryptoError } from './errors.ts';
import type { Cell, ColumnContexts, RowCell } from './field-context.ts';
import {
  checkFieldHeader,
  FIELD_MAX_PLAINTEXT_BYTES,
  FIELD_OVERHEAD_BYTES,
  fromTextForm,
  toTextForm,
} from './field-format.ts';
import type { UseTally } from './key-use/lease-use.ts';
import type { SharedKeyPurpose } from './key-version.ts';
import type { Lease } from './lease.ts';
import { isWellFormed } from './length-prefix.ts';
import type { MessageSlab } from './message-slab.ts';
import type { OrgId } from './org-id.ts';
import { decodeRow, encodeRow, tooLarge } from './row-encoding.ts';
import type { SaltSource } from './salt-source.ts';

/**
 * The leased keys of one organisation. All methods are synchronous and throw `crypto.lease_expired` once the lease has
 * ended and `crypto.lease_exhausted` once its messages or bytes are used up; `keyring.org()` gives a new lease.
 */
export interface OrgKeys {
  /** The organisation. */
  readonly org: OrgId;
  /** Key id of the version that seals, 32 hex digits. */
  readonly activeKeyId: string;
  /** Key ids of all versions that open, the active one first. */
  readonly keyIds: readonly string[];
  /**
   * Seals up to 1 MiB for one cell; the message is 90 bytes longer. Small messages share their `buffer`: give `slice()` to
   * whoever takes memory over or copies it whole, such as a worker or a byte stream.
   *
   * @throws RingfenceCryptoError `crypto.message_too_large`, `crypto.lease_expired`, `crypto.lease_exhausted`.
   * @throws TypeError when a coordinate is empty, too long or not well-formed Unicode.
   */
  seal(cell: Cell, plaintext: Uint8Array): Uint8Array;
  /**
   * Opens a message sealed for this cell of this organisation.
   *
   * @throws RingfenceCryptoError `crypto.decrypt_failed` for every failed authentication, `crypto.malformed_message`,
   * `crypto.unsupported_version`, `crypto.unknown_key_version`, `crypto.lease_expired`, `crypto.lease_exhausted`.
   */
  open(cell: Cell, message: Uint8Array): Uint8Array;
  /**
   * Seals a text for a text column: `rf1.` and base64url.
   *
   * @throws TypeError when the text has a lone surrogate, which UTF-8 could not give back.
   * @throws RingfenceCryptoError as `seal`.
   */
  sealText(cell: Cell, text: string): string;
  /**
   * Opens what `sealText` made.
   *
   * @throws RingfenceCryptoError as `open`.
   */
  openText(cell: Cell, sealed: string): string;
  /**
   * Seals up to 1024 named texts of a row as one message; ten cost little more than one.
   *
   * @throws RingfenceCryptoError as `seal`.
   */
  sealRow(cell: RowCell, fields: Readonly<Record<string, string>>): Uint8Array;
  /**
   * Opens what `sealRow` made.
   *
   * @throws RingfenceCryptoError as `open`.
   */
  openRow(cell: RowCell, message: Uint8Array): Record<string, string>;
  /**
   * Lends a copy of a 32-byte purpose key to a synchronous callback and wipes the copy when it returns. For building
   * other constructions (files, blind indexes) on the same hierarchy.
   *
   * @throws RingfenceCryptoError `crypto.unknown_key_version`, `crypto.lease_expired`, `crypto.lease_exhausted`.
   * @throws TypeError when the callback returns a promise.
   */
  withPurposeKey<T>(
    purpose: SharedKeyPurpose,
    keyId: string,
    use: (key: Uint8Array, keyId: string, meter: PurposeKeyMeter) => T,
    kind?: PurposeKeyUse,
  ): T;
}

/** What a lent purpose key is used for, for the key-use ledger. */
export interface PurposeKeyUse {
  /** Whether a message is sealed or opened with it. */
  readonly operation: 'seal' | 'open';
  /** Table of its cell. */
  readonly table: string;
}

/** Takes the outcome of the one message a purpose key was lent for; only the first one counts. */
export interface PurposeKeyMeter {
  /** The message is whole and authentic: counts its plaintext bytes, towards the limits of the lease too. */
  done(bytes: number): void;
  /** The message did not open. */
  failed(): void;
}

/** Shared parts of one keyring that sealing needs. */
export interface SealingParts {
  /** Encoded columns. */
  readonly contexts: ColumnContexts;
  /** Random salts. */
  readonly salts: SaltSource;
  /** Message memory. */
  readonly slab: MessageSlab;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `OrgKeys` over a lease. */
export function orgKeysOf(lease: Lease, parts: SealingParts): OrgKeys {
  return new LeasedOrgKeys(lease, parts);
}

/**
 * The lease and parts behind keys that a keyring handed out, for other parts of this package.
 *
 * @throws TypeError for anything else.
 */
export function leaseBehind(keys: OrgKeys): { readonly lease: Lease; readonly parts: SealingParts } {
  return behind(keys);
}

// Set by the class, whose private fields it reads; not a static method, which `keys.constructor` would lead to.
let behind: typeof leaseBehind;

class LeasedOrgKeys implements OrgKeys {
  static {
    behind = (keys) => {
      if (!(#lease in keys)) throw new TypeError('the keys of an organisation come from keyring.org()');
      return { lease: keys.#lease, parts: keys.#parts };
    };
  }

  readonly #lease: Lease;
  readonly #parts: SealingParts;

  constructor(lease: Lease, parts: SealingParts) {
    this.#lease = lease;
    this.#parts = parts;
  }

  get org(): OrgId {
    return this.#lease.org;
  }

  get activeKeyId(): string {
    return this.#lease.active.keyId;
  }

  get keyIds(): readonly string[] {
    return this.#lease.keyIds();
  }

  seal(cell: Cell, plaintext: Uint8Array): Uint8Array {
    if (!(plaintext instanceof Uint8Array))
      throw new TypeError('the plaintext must be a Uint8Array; use sealText for text');
    return this.#seal(cell.table, fieldColumn(cell), cell, plaintext, plaintext.length);
  }

  open(cell: Cell, message: Uint8Array): Uint8Array {
    return this.#open(cell.table, fieldColumn(cell), cell, message);
  }

  sealText(cell: Cell, text: string): string {
    if (typeof text !== 'string') throw new TypeError('the text must be a string; use seal for bytes');
    if (!isWellFormed(text))
      throw new TypeError('the text holds a lone surrogate, which UTF-8 would not preserve');
    return toTextForm(this.#seal(cell.table, fieldColumn(cell), cell, text, Buffer.byteLength(text)));
  }

  openText(cell: Cell, sealed: string): string {
    const bytes = this.#open(cell.table, fieldColumn(cell), cell, fromTextForm(sealed));
    try {
      return decoder.decode(bytes);
    } catch {
      throw new RingfenceCryptoError('crypto.malformed_message', 'the opened content is no UTF-8 text', {
        org: this.#lease.org,
      });
    } finally {
      bytes.fill(0);
    }
  }

  sealRow(cell: RowCell, fields: Readonly<Record<string, string>>): Uint8Array {
    const plaintext = encodeRow(fields);
    try {
      return this.#seal(cell.table, '', cell, plaintext, plaintext.length);
    } finally {
      plaintext.fill(0);
    }
  }

  openRow(cell: RowCell, message: Uint8Array): Record<string, string> {
    const plaintext = this.#open(cell.table, '', cell, message);
    try {
      return decodeRow(plaintext);
    } finally {
      plaintext.fill(0);
    }
  }

  withPurposeKey<T>(
    purpose: SharedKeyPurpose,
    keyId: string,
    use: (key: Uint8Array, keyId: string, meter: PurposeKeyMeter) => T,
    kind?: PurposeKeyUse,
  ): T {
    if (purpose !== 'file' && purpose !== 'index') throw new TypeError('the purpose must be file or index');
    this.#lease.use(0);
    const tally = this.#lease.keyUse?.of(purpose, purpose, kind?.table ?? '');
    if (tally !== undefined) tally.lent += 1;
    const version = this.#lease.versionById(keyId);
    const meter = meterOf(this.#lease, tally, kind);
    return version.withPurposeKey(purpose, (key) => use(key, version.keyId, meter));
  }

  toJSON(): string {
    return `[OrgKeys ${this.#lease.org}]`;
  }

  toString(): string {
    return this.toJSON();
  }

  [inspect.custom](): string {
    return this.toJSON();
  }

  #seal(
    table: string,
    column: string,
    cell: RowCell,
    plaintext: Uint8Array | string,
    bytes: number,
  ): Uint8Array {
    if (bytes > FIELD_MAX_PLAINTEXT_BYTES) throw tooLarge();
    const context = this.#parts.contexts.get(table, column, cell.purpose);
    this.#lease.use(bytes);
    const lease = this.#lease;
    const message = lease.active.field.seal(
      context,
      cell.row,
      plaintext,
      this.#parts.salts,
      this.#parts.slab,
    );
    if (lease.keyUse !== undefined) {
      const tally = lease.keyUse.ofField(context);
      tally.sealed += 1;
      tally.sealedBytes += bytes;
    }
    return message;
  }

  #open(table: string, column: string, cell: RowCell, message: Uint8Array): Uint8Array {
    checkFieldHeader(message);
    const context = this.#parts.contexts.get(table, column, cell.purpose);
    const lease = this.#lease;
    lease.use(message.length - FIELD_OVERHEAD_BYTES);
    if (lease.keyUse === undefined) return lease.versionOf(message).field.open(context, cell.row, message);
    const tally = lease.keyUse.ofField(context);
    tally.tried += 1;
    const plaintext = lease.versionOf(message).field.open(context, cell.row, message);
    tally.opened += 1;
    tally.openedBytes += plaintext.length;
    return plaintext;
  }
}

/** Counts one message, once. */
export function meterOf(
  lease: Lease,
  tally: UseTally | undefined,
  kind: PurposeKeyUse | undefined,
): PurposeKeyMeter {
  let counted = false;
  const count = (outcome: (tally: UseTally) => void): void => {
    if (counted) return;
    counted = true;
    if (tally === undefined || kind === undefined) return;
    outcome(tally);
    lease.keyUse?.touched();
  };
  return {
    done: (bytes) => {
      if (!counted) lease.bytes += bytes;
      count((uses) => {
        if (kind?.operation === 'seal') {
          uses.sealed += 1;
          uses.sealedBytes += bytes;
        } else {
          uses.tried += 1;
          uses.opened += 1;
          uses.openedBytes += bytes;
        }
      });
    },
    failed: () =>
      count((uses) => {
        uses.tried += 1;
      }),
  };
}

/** Column of a field; the empty one is kept for whole rows. */
function fieldColumn(cell: Cell): string {
  if (cell.column === '') throw new TypeError('column must not be empty');
  return cell.column;
}
