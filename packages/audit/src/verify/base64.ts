/**
 * Base 64 (RFC 4648 §4), strict: padded, and one spelling per value, so that nothing signed or compared has two forms.
 * Browser-safe.
 */

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** The base 64 of some bytes. */
export function base64Of(bytes: Readonly<Uint8Array>): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** The bytes, or undefined when the text is not their only spelling. */
export function bytesOfBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !BASE64.test(text)) return undefined;
  const bytes = Uint8Array.from(atob(text), (unit) => unit.charCodeAt(0));
  return base64Of(bytes) === text ? bytes : undefined;
}
