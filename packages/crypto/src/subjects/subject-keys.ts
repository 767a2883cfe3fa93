/**
 * The key of one data subject while its organisation's lease lives: synchronous seal and open, like `OrgKeys`, with the
 * subject bound into every message (format v1, suite 3, docs/formats/subject-key-v1.md).
 * Invariant: every use passes the organisation's lease first; an erased, evicted or ended key is wiped and does nothing.
 */
import { inspect } from 'node:util';
import { RingfenceCryptoError } from '../errors.ts';
import type { Cell } from '../field-context.ts';
import {
  checkFieldHeader,
  FIELD_MAX_PLAINTEXT_BYTES,
  FIELD_OVERHEAD_BYTES,
  fromTextForm,
  SUITE_SUBJECT_FIELD,
  toTextForm,
} from '../field-format.ts';
import { FieldKey } from '../field-key.ts';
import type { FileKeySource } from '../files/key-source.ts';
import { keyIdBytes } from '../key-id.ts';
import type { UseTally } from '../key-use/lease-use.ts';
import type { Lease } from '../lease.ts';
import { isWellFormed } from '../length-prefix.ts';
import type { OrgId } from '../org-id.ts';
import { meterOf, type PurposeKeyMeter, type PurposeKeyUse, type SealingParts } from '../org-keys.ts';
import { tooLarge } from '../row-encoding.ts';
import { deriveSubjectPurposeKey } from './subject-wrap.ts';

/**
 * The key of one data subject. All methods are synchronous and throw `crypto.key_shredded` once the subject was erased
 * in this process, and `crypto.lease_expired` once the organisation's lease has ended or the key was evicted.
 */
export interface SubjectKeys {
  /** The organisation. */
  readonly org: OrgId;
  /** The data subject. */
  readonly subject: string;
  /** Id of the subject key, 32 hex digits; every message names it. */
  readonly keyId: string;
  /** The subject's key for `@ringfence/crypto/files`: files sealed with it are erased with the subject. */
  readonly files: FileKeySource;
  /**
   * Seals up to 1 MiB for one cell; the message is 90 bytes longer.
   *
   * @throws RingfenceCryptoError `crypto.message_too_large`, `crypto.key_shredded`, `crypto.lease_expired`,
   * `crypto.lease_exhausted`.
   * @throws TypeError when a coordinate is empty, too long or not well-formed Unicode.
   */
  seal(cell: Cell, plaintext: Uint8Array): Uint8Array;
  /**
   * Opens a message sealed for this subject and cell.
   *
   * @throws RingfenceCryptoError `crypto.decrypt_failed`, `crypto.malformed_message`, `crypto.unsupported_version`,
   * `crypto.unknown_key_version` when the message names the key of another subject, and as `seal`.
   */
  open(cell: Cell, message: Uint8Array): Uint8Array;
  /**
   * Seals a text for a text column: `rf1.` and base64url.
   *
   * @throws TypeError when the text has a lone surrogate.
   * @throws RingfenceCryptoError as `seal`.
   */
  sealText(cell: Cell, text: string): string;
  /**
   * Opens what `sealText` made.
   *
   * @throws RingfenceCryptoError as `open`.
   */
  openText(cell: Cell, sealed: string): string;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `SubjectKeys` as their cache holds them. */
export interface LeasedSubjectKeys extends SubjectKeys {
  /** Overwrites the key. */
  wipe(why: 'erased' | 'evicted'): void;
  /** True while the key can be used. */
  isLive(): boolean;
}

/** Keys over an organisation's lease. Derives what it needs of `key`; the caller wipes it. */
export function leasedSubjectKeys(
  lease: Lease,
  parts: SealingParts,
  subject: string,
  keyId: string,
  key: Uint8Array,
): LeasedSubjectKeys {
  return new SubjectKeysOfLease(lease, parts, subject, keyId, key);
}

class SubjectKeysOfLease implements LeasedSubjectKeys {
  readonly org: OrgId;
  readonly subject: string;
  readonly keyId: string;
  readonly files: FileKeySource;
  readonly #id: Uint8Array;
  readonly #lease: Lease;
  readonly #parts: SealingParts;
  readonly #field: FieldKey;
  readonly #file: Uint8Array;
  /** Counters of the last table and purpose, which mostly repeat. */
  #counted: { readonly table: string; readonly purpose: string; readonly tally: UseTally } | undefined;
  #gone: 'erased' | 'evicted' | undefined;

  constructor(lease: Lease, parts: SealingParts, subject: string, keyId: string, key: Uint8Array) {
    this.org = lease.org;
    this.subject = subject;
    this.keyId = keyId;
    this.#id = keyIdBytes(keyId);
    this.#lease = lease;
    this.#parts = parts;
    const prk = deriveSubjectPurposeKey(key, lease.org, subject, keyId, 'field');
    this.#field = new FieldKey(prk, lease.org, this.#id, subject);
    prk.fill(0);
    this.#file = deriveSubjectPurposeKey(key, lease.org, subject, keyId, 'file');
    this.files = {
      org: lease.org,
      activeKeyId: this.#id.slice(),
      withFileKey: (named, use, kind) => this.#withFileKey(named, use, kind),
    };
  }

  seal(cell: Cell, plaintext: Uint8Array): Uint8Array {
    if (!(plaintext instanceof Uint8Array)) throw new TypeError('the plaintext must be a Uint8Array');
    return this.#seal(cell, plaintext, plaintext.length);
  }

  open(cell: Cell, message: Uint8Array): Uint8Array {
    checkFieldHeader(message, SUITE_SUBJECT_FIELD);
    const context = this.#parts.contexts.get(cell.table, columnOf(cell), cell.purpose);
    this.#use(message.length - FIELD_OVERHEAD_BYTES);
    const tally = this.#tally(cell);
    if (tally !== undefined) tally.tried += 1;
    for (let i = 0; i < this.#id.length; i += 1) if (message[i + 2] !== this.#id[i]) throw this.#foreign();
    const plaintext = this.#field.open(context, cell.row, message);
    if (tally !== undefined) {
      tally.opened += 1;
      tally.openedBytes += plaintext.length;
    }
    return plaintext;
  }

  sealText(cell: Cell, text: string): string {
    if (typeof text !== 'string') throw new TypeError('the text must be a string; use seal for bytes');
    if (!isWellFormed(text)) throw new TypeError('the text holds a lone surrogate');
    return toTextForm(this.#seal(cell, text, Buffer.byteLength(text)));
  }

  openText(cell: Cell, sealed: string): string {
    const bytes = this.open(cell, fromTextForm(sealed));
    try {
      return decoder.decode(bytes);
    } catch {
      throw new RingfenceCryptoError('crypto.malformed_message', 'the opened content is no UTF-8 text', {
        org: this.org,
      });
    } finally {
      bytes.fill(0);
    }
  }

  wipe(why: 'erased' | 'evicted'): void {
    this.#gone ??= why;
    this.#field.wipe();
    this.#file.fill(0);
  }

  isLive(): boolean {
    return this.#gone === undefined && this.#lease.isLive();
  }

  toJSON(): string {
    return `[SubjectKeys ${this.keyId}]`;
  }

  toString(): string {
    return this.toJSON();
  }

  [inspect.custom](): string {
    return this.toJSON();
  }

  #seal(cell: Cell, plaintext: Uint8Array | string, bytes: number): Uint8Array {
    if (bytes > FIELD_MAX_PLAINTEXT_BYTES) throw tooLarge();
    const context = this.#parts.contexts.get(cell.table, columnOf(cell), cell.purpose);
    this.#use(bytes);
    const message = this.#field.seal(context, cell.row, plaintext, this.#parts.salts, this.#parts.slab);
    const tally = this.#tally(cell);
    if (tally !== undefined) {
      tally.sealed += 1;
      tally.sealedBytes += bytes;
    }
    return message;
  }

  #withFileKey<T>(
    named: Uint8Array,
    use: (key: Uint8Array, meter?: PurposeKeyMeter) => T,
    kind: PurposeKeyUse | undefined,
  ): T {
    this.#use(0);
    if (Buffer.compare(named, this.#id) !== 0) throw this.#foreign();
    const tally = this.#lease.keyUse?.of('subject', 'file', kind?.table ?? '');
    if (tally !== undefined) tally.lent += 1;
    const copy = this.#file.slice();
    try {
      return use(copy, meterOf(this.#lease, tally, kind));
    } finally {
      copy.fill(0);
    }
  }

  /** Every use of the key goes through here first. */
  #use(bytes: number): void {
    if (this.#gone === 'erased') throw erased(this.org, this.keyId);
    this.#lease.use(bytes);
    if (this.#gone !== undefined) {
      throw new RingfenceCryptoError(
        'crypto.lease_expired',
        'the key of this subject was evicted: call subjects.of() again',
        { org: this.org, keyId: this.keyId },
        true,
      );
    }
  }

  #tally(cell: Cell): UseTally | undefined {
    if (this.#lease.keyUse === undefined) return undefined;
    const { table, purpose = 'field' } = cell;
    if (this.#counted?.table !== table || this.#counted.purpose !== purpose) {
      this.#counted = { table, purpose, tally: this.#lease.keyUse.of('subject', purpose, table) };
    }
    return this.#counted.tally;
  }

  #foreign(): RingfenceCryptoError {
    return new RingfenceCryptoError(
      'crypto.unknown_key_version',
      'the message names a key that is not the key of this data subject',
      { org: this.org, keyId: this.keyId },
    );
  }
}

/** The error for a subject whose key was destroyed. */
export function erased(org: OrgId, keyId: string | null): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.key_shredded',
    'the key of this data subject was destroyed on purpose; what was sealed with it cannot be read again',
    keyId === null ? { org } : { org, keyId },
  );
}

function columnOf(cell: Cell): string {
  if (cell.column === '') throw new TypeError('column must not be empty');
  return cell.column;
}
