/**
 * The organisation context as it travels to PostgreSQL: one setting `ringfence.context`, local to the transaction.
 *
 *     1|<key id>|<expires, ms since epoch>|<org>|<kind>|<actor>|<request id>|<mac>
 *
 * `mac` is HMAC-SHA-256 (RFC 2104) over everything before it, in 64 lower-case hex digits; the policy verifies it in
 * plain SQL, so that an injected `set_config` names no other organisation. Without a signing key the key id is `-` and
 * the mac is empty. Invariant: no field can contain the delimiter, so no field can shift another.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { RingfenceTenancyError } from './errors.ts';
import type { OrgId } from './org-id.ts';

/** A key that signs contexts; the database holds the same key in `tenancy.context_key`. */
export interface ContextKey {
  /** Id of the key, 1 to 32 characters of `a-z 0-9 _`. */
  readonly id: string;
  /** Secret of 32 to 64 bytes. */
  readonly secret: Uint8Array;
}

/** Who acts, in which capacity, on behalf of which request. */
export interface Principal {
  /** Who acts, e.g. `user:0190…`: 1 to 200 characters of `A-Z a-z 0-9 . _ : @ / + = -`. */
  readonly actor: string;
  /** Capacity in which the actor acts: a lower-case word of at most 32 letters, digits and `_`. Default `member`. */
  readonly kind?: string;
  /** Id of the request, for the audit log; characters as in `actor`. Default empty. */
  readonly requestId?: string;
}

/** A context ready to travel. */
export interface SignedContext {
  /** Value of the setting `ringfence.context`. */
  readonly value: string;
  /** Time after which a fresh one is minted, ms since epoch. */
  readonly renewAtMs: number;
}

const ACTOR = /^[A-Za-z0-9._:@/+=-]{1,200}$/;
const REQUEST = /^[A-Za-z0-9._:@/+=-]{0,200}$/;
const CHARACTERS = 'letters, digits and . _ : @ / + = -';
const KIND = /^[a-z][a-z0-9_]{0,31}$/;
const KEY_ID = /^[a-z0-9_]{1,32}$/;

/** Mints contexts for one organisation and principal. */
export interface ContextMint {
  /** A context valid at `nowMs`; the same value is reused until half of its life has passed. */
  at(nowMs: number): SignedContext;
}

/** Signs (or, without a key, only formats) contexts. */
export class ContextSigner {
  readonly #key: KeyObject | undefined;
  readonly #keyId: string;
  readonly #lifetimeMs: number;

  /**
   * @throws TypeError when the key id or the length of the secret is out of bounds.
   */
  constructor(key: ContextKey | undefined, lifetimeMs: number) {
    if (key !== undefined) {
      if (!KEY_ID.test(key.id))
        throw new TypeError('context key id: expected 1 to 32 characters of a-z 0-9 _');
      if (key.secret.length < 32 || key.secret.length > 64) {
        throw new TypeError('context key secret: expected 32 to 64 bytes');
      }
    }
    if (!(Number.isInteger(lifetimeMs) && lifetimeMs >= 1_000 && lifetimeMs <= 3_600_000)) {
      throw new TypeError('contextLifetimeMs must be a whole number from 1 000 to 3 600 000');
    }
    this.#key = key === undefined ? undefined : createSecretKey(key.secret);
    this.#keyId = key?.id ?? '-';
    this.#lifetimeMs = lifetimeMs;
  }

  /**
   * @throws RingfenceTenancyError `tenancy.invalid_context` when a field has a character the format refuses.
   */
  mintFor(org: OrgId, principal: Principal): ContextMint {
    const { actor, kind = 'member', requestId = '' } = principal;
    refuseUnless(
      typeof actor === 'string' && ACTOR.test(actor),
      `actor: 1 to 200 ${CHARACTERS}, such as user:ada`,
    );
    refuseUnless(KIND.test(kind), 'kind: 1 to 32 of a-z 0-9 _, beginning with a letter');
    refuseUnless(REQUEST.test(requestId), `requestId: at most 200 ${CHARACTERS}`);
    const fields = `${org}|${kind}|${actor}|${requestId}|`;
    let minted: SignedContext | undefined;
    return {
      at: (nowMs) => {
        if (
          minted === undefined ||
          nowMs >= minted.renewAtMs ||
          nowMs < minted.renewAtMs - this.#lifetimeMs
        ) {
          minted = this.#mint(fields, nowMs);
        }
        return minted;
      },
    };
  }

  #mint(fields: string, nowMs: number): SignedContext {
    const body = `1|${this.#keyId}|${Math.ceil(nowMs) + this.#lifetimeMs}|${fields}`;
    const mac = this.#key === undefined ? '' : createHmac('sha256', this.#key).update(body).digest('hex');
    return { value: body + mac, renewAtMs: nowMs + this.#lifetimeMs / 2 };
  }
}

function refuseUnless(valid: boolean, expected: string): void {
  if (valid) return;
  throw new RingfenceTenancyError(
    'tenancy.invalid_context',
    `the organisation context needs another ${expected}`,
  );
}
