/**
 * The keys of a deployment's job envelopes: several are accepted, one signs. Rotation is then: accept the new one
 * everywhere, sign with it, and drop the old one once its last job has expired.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';

/** A key that signs and verifies job envelopes. Not the context key: that one is in the database too. */
export interface JobKey {
  /** Id of the key, 1 to 32 characters of `a-z 0-9 _`. */
  readonly id: string;
  /** Secret of 32 to 64 bytes. */
  readonly secret: Uint8Array;
}

/** The keys as the runtime holds them. */
export interface JobKeys {
  /** Id of the key that signs. */
  readonly signingId: string;
  /** The key that signs. */
  readonly signing: KeyObject;
  /** A key that is accepted, by id. */
  of(id: string): KeyObject | undefined;
}

/**
 * @throws TypeError when a key is malformed or named twice, or the signing one is not among them.
 */
export function jobKeys(keys: readonly JobKey[], signingId: string): JobKeys {
  const held = new Map<string, KeyObject>();
  for (const { id, secret } of keys) {
    if (!/^[a-z0-9_]{1,32}$/.test(id))
      throw new TypeError('job key id: expected 1 to 32 characters of a-z 0-9 _');
    if (secret.length < 32 || secret.length > 64)
      throw new TypeError(`job key ${id}: expected a secret of 32 to 64 bytes`);
    if (held.has(id)) throw new TypeError(`job key ${id} is given twice`);
    held.set(id, createSecretKey(secret));
  }
  const signing = held.get(signingId);
  if (signing === undefined) throw new TypeError('signingKeyId names none of the job keys');
  return { signingId, signing, of: (id) => held.get(id) };
}
