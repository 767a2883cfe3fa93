/**
 * The published keys of one issuer (JWK Set, RFC 7517 section 5), fetched by nobody's wish but ours: from the configured
 * address, one request at a time, at most one per cooldown however many unknown `kid`s arrive, bounded in time and
 * size, without redirects. After a failure the keys at hand serve on, but no longer than an hour past their age. `jku`,
 * `x5u` and `jwk` headers are never looked at. Only public signature keys are taken.
 */
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWK, type JWTVerifyGetKey } from 'jose';
import { AuthzKeysUnavailableError } from './errors.ts';

/** Requests the keys; the signature of `fetch`. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Times and sizes of the key set. */
export interface KeySetLimits {
  /** Age in ms from which keys are fetched again. Default 600,000. */
  readonly maxAgeMs?: number;
  /** How long after `maxAgeMs` old keys may serve while the issuer fails, in ms. Default 3,600,000. */
  readonly maxStaleMs?: number;
  /** Least time between two requests, in ms: unknown keys and failures cannot cause more. Default 30,000. */
  readonly cooldownMs?: number;
  /** Time limit of a request in ms. Default 5,000. */
  readonly timeoutMs?: number;
}

/** A set of keys in use. */
export interface Keys {
  /** Finds the key for a header. */
  readonly find: JWTVerifyGetKey;
  /** Changes whenever the content of the set does. */
  readonly generation: number;
}

const MAX_BYTES = 262_144;
const MAX_KEYS = 100;
const PUBLIC_TYPES: ReadonlySet<unknown> = new Set(['RSA', 'EC', 'OKP']);
const MEDIA_TYPE = /^application\/(?:json|jwk-set\+json)\s*(?:;|$)/i;

/** Keys of an issuer from its JWKS address. */
export class RemoteKeySet {
  readonly #issuer: string;
  readonly #uri: string;
  readonly #now: () => number;
  readonly #fetch: Fetch;
  readonly #limits: Required<KeySetLimits>;
  #keys: Keys | undefined;
  #text = '';
  #generation = 0;
  #fetchedAt = -Infinity;
  #triedAt = -Infinity;
  #failure: unknown;
  #pending: Promise<void> | undefined;

  constructor(issuer: string, uri: string, now: () => number, fetch: Fetch, limits: KeySetLimits) {
    this.#issuer = issuer;
    this.#uri = uri;
    this.#now = now;
    this.#fetch = fetch;
    this.#limits = {
      maxAgeMs: duration('maxAgeMs', limits.maxAgeMs ?? 600_000),
      maxStaleMs: duration('maxStaleMs', limits.maxStaleMs ?? 3_600_000),
      cooldownMs: duration('cooldownMs', limits.cooldownMs ?? 30_000),
      timeoutMs: duration('timeoutMs', limits.timeoutMs ?? 5_000),
    };
  }

  /** The generation in force, or -1 when the keys are too old to vouch for what was verified with them. */
  get generation(): number {
    return this.#age() < this.#limits.maxAgeMs ? this.#generation : -1;
  }

  /**
   * Keys that may be used now.
   *
   * @throws AuthzKeysUnavailableError when there are none young enough and fetching fails.
   */
  async current(): Promise<Keys> {
    if (this.#age() >= this.#limits.maxAgeMs) await this.#refresh();
    return this.#usable();
  }

  /** Keys fetched because one was unknown; those at hand within the cooldown. */
  async afterUnknown(): Promise<Keys> {
    await this.#refresh();
    return this.#usable();
  }

  #usable(): Keys {
    const { maxAgeMs, maxStaleMs } = this.#limits;
    if (this.#keys !== undefined && this.#age() < maxAgeMs + maxStaleMs) return this.#keys;
    throw new AuthzKeysUnavailableError(
      this.#issuer,
      Math.max(0, this.#triedAt + this.#limits.cooldownMs - this.#now()),
      { cause: this.#failure },
    );
  }

  #age(): number {
    return this.#now() - this.#fetchedAt;
  }

  async #refresh(): Promise<void> {
    if (this.#pending === undefined) {
      if (this.#now() - this.#triedAt < this.#limits.cooldownMs) return;
      this.#triedAt = this.#now();
      this.#pending = this.#load().finally(() => {
        this.#pending = undefined;
      });
    }
    await this.#pending;
  }

  /** Never rejects: what failed is the cause of the error that `#usable` throws, if it must. */
  async #load(): Promise<void> {
    try {
      const text = await this.#download();
      if (text !== this.#text) {
        const find = createLocalJWKSet(publicKeys(JSON.parse(text)));
        this.#generation += 1;
        this.#keys = { find, generation: this.#generation };
        this.#text = text;
      }
      this.#fetchedAt = this.#now();
      this.#failure = undefined;
    } catch (cause) {
      this.#failure = cause;
    }
  }

  async #download(): Promise<string> {
    const response = await this.#fetch(this.#uri, {
      redirect: 'manual',
      headers: { accept: 'application/jwk-set+json, application/json' },
      signal: AbortSignal.timeout(this.#limits.timeoutMs),
    });
    try {
      if (response.status !== 200) throw new errors.JWKSInvalid(`the status is ${response.status}, not 200`);
      if (!MEDIA_TYPE.test(response.headers.get('content-type') ?? '')) {
        throw new errors.JWKSInvalid('the content type is not that of JSON');
      }
      return await boundedText(response);
    } finally {
      // The rest of a refused answer is not read; cancelling a stream that is read to its end does nothing.
      await response.body?.cancel().catch(() => undefined);
    }
  }
}

async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BYTES) throw new errors.JWKSInvalid(`the key set is longer than ${MAX_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** The public signature keys of a set; symmetric and private ones are left out. An empty set is a failure. */
function publicKeys(value: unknown): JSONWebKeySet {
  const { keys } = (value ?? {}) as { readonly keys?: unknown };
  if (!Array.isArray(keys) || keys.length > MAX_KEYS)
    throw new errors.JWKSInvalid('the key set has no list of keys');
  const usable = keys.filter(
    (key: JWK | null) => PUBLIC_TYPES.has(key?.kty) && key?.d === undefined && key?.use !== 'enc',
  );
  if (usable.length === 0) throw new errors.JWKSInvalid('the key set has no public signature key');
  return { keys: usable as JWK[] };
}

function duration(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`${name} is not a number of ms`);
  return value;
}
