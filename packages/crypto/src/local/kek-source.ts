/**
 * Where local key-encryption keys come from: an environment variable or a file, read once when the provider is made.
 * Invariant: a key file that others can read is refused; no error text repeats what was read.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Reads 32 key bytes; the caller wipes them. */
export type KekSource = () => Uint8Array;

/**
 * Reads a KEK from an environment variable that holds 32 bytes in base64 or base64url.
 *
 * @throws TypeError (when the provider is made) if the variable is unset or does not hold 32 bytes.
 */
export function kekFromEnv(name: string): KekSource {
  return () => {
    const text = process.env[name];
    if (text === undefined) throw new TypeError(`the environment variable ${name} is not set`);
    return parseKek(text.trim(), `the environment variable ${name}`);
  };
}

/**
 * Reads a KEK from a file that holds 32 raw bytes, or 32 bytes in base64. The file must be a regular one that group and
 * others can neither read nor write (mode 0600 or 0400).
 *
 * @throws TypeError (when the provider is made) if the file is open to others or does not hold 32 bytes.
 */
export function kekFromFile(path: string): KekSource {
  return () => {
    const file = openSync(path, 'r');
    const content = Buffer.alloc(128);
    try {
      const stat = fstatSync(file); // of the open file, so that it can't be exchanged after the check
      if (!stat.isFile()) throw new TypeError(`the key file ${path} is no regular file`);
      if (process.platform !== 'win32' && (stat.mode & 0o077) !== 0) {
        throw new TypeError(`the key file ${path} is open to group or others: set its mode to 0600`);
      }
      const length = readSync(file, content, 0, content.length, 0);
      if (length === 32) return Uint8Array.from(content.subarray(0, 32));
      return parseKek(content.toString('latin1', 0, length).trim(), `the key file ${path}`);
    } finally {
      content.fill(0);
      closeSync(file);
    }
  };
}

function parseKek(text: string, where: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  try {
    const ok = bytes.length === 32 && /^[A-Za-z0-9+/_-]{43}=?$/.test(text);
    if (!ok) throw new TypeError(`${where} does not hold 32 bytes in base64`);
    return Uint8Array.from(bytes);
  } finally {
    bytes.fill(0);
  }
}
