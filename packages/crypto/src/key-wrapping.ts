/**
 * Between key store and KMS, for the keyring: makes new data-key versions and turns stored ones into keys.
 * Invariant: a data key in the clear leaves this file only inside a `KeyVersion`.
 */
import { KekCalls } from './kek-calls.ts';
import { keyIdText } from './key-id.ts';
import type { DekRecord } from './key-store.ts';
import type { LeaseUse } from './key-use/lease-use.ts';
import { KeyVersion } from './key-version.ts';
import type { KmsProvider } from './kms.ts';
import type { OrgId } from './org-id.ts';
import type { RandomFill } from './salt-source.ts';

/** Reaches the KMS of a KEK URI, with a time limit per call. */
export class KmsGateway {
  readonly #calls: KekCalls;

  constructor(app: string, providers: readonly KmsProvider[], timeoutMs: number) {
    this.#calls = KekCalls.to(app, providers, timeoutMs);
  }

  /** Calls made so far. */
  get calls(): number {
    return this.#calls.calls;
  }

  /** Makes version `version` of an organisation's data key, wrapped under `kekUri`. */
  async makeVersion(
    org: OrgId,
    version: number,
    kekUri: string,
    random: RandomFill,
    createdAt: number,
    keyUse?: LeaseUse,
  ): Promise<DekRecord> {
    const dek = new Uint8Array(32);
    const id = new Uint8Array(16);
    random(dek);
    random(id);
    const identity = { org, keyId: keyIdText(id), version };
    try {
      const wrap = await this.#calls.noting(keyUse).wrap(dek, identity, kekUri);
      return { ...identity, state: 'active', wraps: [wrap], createdAt };
    } finally {
      dek.fill(0);
    }
  }

  /** Unwraps a stored version and derives its keys. */
  async unwrapVersion(record: DekRecord, keyUse?: LeaseUse): Promise<KeyVersion> {
    const calls = this.#calls.noting(keyUse);
    return calls.withDek(record, record.wraps, (dek) => new KeyVersion(dek, calls.app, record));
  }
}
