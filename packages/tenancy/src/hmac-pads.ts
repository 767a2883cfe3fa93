/**
 * A secret as the database keeps it: the two padded blocks of HMAC-SHA-256 (RFC 2104, section 2), so that plain SQL can verify
 * with two calls of sha256().
 */

/** Block length of SHA-256, bytes. */
const BLOCK = 64;

/** The inner and the outer block of a secret of at most 64 bytes. */
export function hmacPads(secret: Uint8Array): { readonly inner: Buffer; readonly outer: Buffer } {
  const pad = (byte: number): Buffer => {
    const block = Buffer.alloc(BLOCK, byte);
    for (const [index, each] of secret.entries()) block[index] = byte ^ each;
    return block;
  };
  return { inner: pad(0x36), outer: pad(0x5c) };
}
