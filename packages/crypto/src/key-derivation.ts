/**
 * Purpose keys: HKDF-SHA-512 (RFC 5869) from an organisation's data key (DEK) to one 32-byte key per use.
 * Invariant: application, organisation and key id enter the derivation, so a data key put under another name yields
 * other keys; no two purposes share a key.
 */
import { createHmac, hkdfSync } from 'node:crypto';
import { encodePart, lengthPrefixed, u32 } from './length-prefix.ts';
import type { OrgId } from './org-id.ts';

/** What a purpose key is for. */
export type KeyPurpose = 'field' | 'file' | 'index' | 'subject' | 'binding';

/** The data-key version a purpose key belongs to. */
export interface KeyIdentity {
  /** Application name. */
  readonly app: string;
  /** Owner of the data key. */
  readonly org: OrgId;
  /** Key id, 16 bytes. */
  readonly keyId: Uint8Array;
}

const encoder = new TextEncoder();

/** Derives the 32-byte key of one purpose. The caller owns the bytes and wipes them. */
export function derivePurposeKey(dek: Uint8Array, identity: KeyIdentity, purpose: KeyPurpose): Uint8Array {
  if (dek.length !== 32) throw new TypeError('a data key has 32 bytes');
  const info = lengthPrefixed(
    encoder.encode('ringfence/purpose-key/v1'),
    encoder.encode(purpose),
    encodePart('app', identity.app),
    encoder.encode(identity.org),
  );
  return new Uint8Array(hkdfSync('sha512', dek, identity.keyId, info, 32));
}

/** What a wrap binding covers beside the binding key. */
export interface BoundWrap {
  /** Application name. */
  readonly app: string;
  /** Owner of the data key. */
  readonly org: OrgId;
  /** Key id, 16 bytes. */
  readonly keyId: Uint8Array;
  /** Number of the data-key version, from 1. */
  readonly version: number;
  /** KEK the wrap was made under. */
  readonly kekUri: string;
  /** The wrapped key. */
  readonly wrapped: Uint8Array;
}

/**
 * HMAC-SHA-256 (RFC 2104) over a wrap and its place, under a key that only the unwrapped data key yields. It makes a
 * wrap moved to another organisation, version or KEK recognisable even where the cloud binds no context.
 */
export function bindWrap(bindingKey: Uint8Array, wrap: BoundWrap): Uint8Array {
  const input = lengthPrefixed(
    encoder.encode('ringfence/wrap-binding/v1'),
    encodePart('app', wrap.app),
    encoder.encode(wrap.org),
    u32(wrap.version),
    wrap.keyId,
    encodePart('kekUri', wrap.kekUri),
    wrap.wrapped,
  );
  return new Uint8Array(createHmac('sha256', bindingKey).update(input).digest());
}
