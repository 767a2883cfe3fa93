/**
 * HMAC-SHA-256 (RFC 2104) of a key under a pepper that the database does not hold: who reads the store can neither
 * present a key nor test a guess. Peppers have ids, so that a new one can be introduced while keys under the old one live.
 * Invariant: one HMAC and one comparison in constant time per check, whether or not there is such a key or pepper.
 */
import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';

/** The peppers of an application. */
export interface Peppers {
  /** Id of the pepper for new keys. */
  readonly current: string;
  /** Peppers by id, secret keys of at least 32 bytes (`createSecretKey`). Keep an old one while keys under it live. */
  readonly keys: Readonly<Record<string, KeyObject>>;
}

const MAC_LENGTH = 32;
const LEAST_PEPPER = 32;
/** Keeps the MAC apart from any other use of the same pepper. */
const DOMAIN = 'ringfence/authz/api-key/v1\0';

/** Makes and checks the MACs of keys. */
export class KeyMac {
  /** Id of the pepper for new keys. */
  readonly current: string;
  readonly #peppers: ReadonlyMap<string, KeyObject>;
  /** What a key that does not exist is checked against: known to nobody. */
  readonly #decoyPepper: KeyObject = createSecretKey(randomBytes(LEAST_PEPPER));
  readonly #decoy: Uint8Array = randomBytes(MAC_LENGTH);

  /** @throws TypeError when a pepper is no secret key of at least 32 bytes, or the current one is not there. */
  constructor({ current, keys }: Peppers) {
    const peppers = new Map(Object.entries(keys));
    for (const [id, key] of peppers) {
      if (key.type !== 'secret' || (key.symmetricKeySize ?? 0) < LEAST_PEPPER)
        throw new TypeError(`pepper ${id} is not a secret key of at least ${LEAST_PEPPER} bytes`);
    }
    if (!peppers.has(current)) throw new TypeError('the current pepper is not among the keys');
    this.current = current;
    this.#peppers = peppers;
  }

  /** The MAC of a new key, 32 bytes. */
  of(authenticated: string): Uint8Array {
    return Uint8Array.from(mac(this.#peppers.get(this.current) as KeyObject, authenticated));
  }

  /** Checks a key against what is stored; `undefined` for a key that does not exist is as much work, and false. */
  matches(
    authenticated: string,
    stored: { readonly mac: Uint8Array; readonly pepper: string } | undefined,
  ): boolean {
    const pepper = stored === undefined ? undefined : this.#peppers.get(stored.pepper);
    const found = pepper !== undefined && stored !== undefined && stored.mac.length === MAC_LENGTH;
    const computed = mac(pepper ?? this.#decoyPepper, authenticated);
    return timingSafeEqual(computed, found ? stored.mac : this.#decoy) && found;
  }
}

/** One update, and a digest as text: Node allocates a store outside its heap for every digest that is a Buffer. */
function mac(pepper: KeyObject, authenticated: string): Buffer {
  const digest = createHmac('sha256', pepper).update(`${DOMAIN}${authenticated}`).digest('latin1');
  return Buffer.from(digest, 'latin1');
}
