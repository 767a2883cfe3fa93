/**
 * Signed notes (c2sp.org/signed-note): text, an empty line, and signature lines `— <key name> <base64>`, with the two
 * kinds of signature this package knows: Ed25519 over the text (0x01) and timestamped cosignatures of witnesses (0x04,
 * c2sp.org/tlog-cosignature).
 *
 * Invariant: what a note holds never makes it throw. A known key whose signature fails refuses the whole note. Browser-safe.
 */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { base64Of, bytesOfBase64 } from './base64.ts';

/** Longest note that is read, bytes. */
export const MOST_NOTE_BYTES: number = 128 * 1024;
const MOST_SIGNATURES = 64;
const EM_DASH = '\u2014';

/** One signature line. */
export interface NoteSignature {
  /** Name of the key. */
  readonly name: string;
  /** First four bytes of the hash over name, kind and key. */
  readonly keyId: number;
  /** What follows the key id. */
  readonly signature: Readonly<Uint8Array>;
}

/** A note that has been parsed, not verified. */
export interface SignedNote {
  /** The signed text, with its last newline. */
  readonly text: string;
  /** The signature lines, in order. */
  readonly signatures: readonly NoteSignature[];
}

/** What a key signs: `ed25519` the text, `cosignature-v1` the text with a time in front. */
export type NoteKeyKind = 'ed25519' | 'cosignature-v1';

/** A public key that notes are verified with. */
export interface VerifierKey {
  /** Name of the key, in its signature lines. */
  readonly name: string;
  /** What it signs. */
  readonly kind: NoteKeyKind;
  /** First four bytes of the hash over name, kind and key. */
  readonly keyId: number;
  /** Ed25519 public key, 32 bytes. */
  readonly publicKey: Readonly<Uint8Array>;
}

/** A signature that holds. */
export interface VerifiedSignature {
  /** The key. */
  readonly key: VerifierKey;
  /** When a witness signed, seconds since 1970; undefined for a log's own signature. */
  readonly timestamp: number | undefined;
}

/** Verifies one Ed25519 signature (RFC 8032). */
export type Ed25519Verify = (
  publicKey: Readonly<Uint8Array>,
  message: Uint8Array,
  signature: Readonly<Uint8Array>,
) => Promise<boolean>;

const KINDS: Readonly<Record<NoteKeyKind, number>> = { ed25519: 0x01, 'cosignature-v1': 0x04 };
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/**
 * Verifies with the platform's WebCrypto; a key or signature of the wrong shape is false.
 *
 * @throws TypeError when the platform has no Ed25519: then a signature is neither good nor bad.
 */
export const verifyEd25519: Ed25519Verify = async (publicKey, message, signature) => {
  try {
    const { subtle } = globalThis.crypto;
    const key = await subtle.importKey('raw', Uint8Array.from(publicKey), 'Ed25519', false, ['verify']);
    return await subtle.verify('Ed25519', key, Uint8Array.from(signature), Uint8Array.from(message));
  } catch (error) {
    if (error instanceof DOMException && error.name !== 'NotSupportedError') return false;
    throw new TypeError(
      'WebCrypto has no Ed25519 here (a page needs https, and a browser of 2025 or newer): hand in `trust.verify`',
      { cause: error },
    );
  }
};

/** Whether a string may name a key: not empty, no white space, no `+`. */
export function isKeyName(name: string): boolean {
  return name !== '' && isPlainText(name) && !/[\p{White_Space}+]/u.test(name);
}

/**
 * A key by its name, kind and bytes.
 *
 * @throws TypeError when the name or the key is malformed.
 */
export function verifierKey(name: string, kind: NoteKeyKind, publicKey: Readonly<Uint8Array>): VerifierKey {
  if (!isKeyName(name)) throw new TypeError('a key name is not empty and has no white space and no +');
  if (publicKey.length !== 32) throw new TypeError('an Ed25519 public key has 32 bytes');
  const head = utf8(`${name}\n`);
  const input = new Uint8Array(head.length + 1 + publicKey.length);
  input.set(head);
  input[head.length] = KINDS[kind];
  input.set(publicKey, head.length + 1);
  const id = nobleSha256(input);
  return { name, kind, keyId: new DataView(id.buffer, id.byteOffset).getUint32(0), publicKey };
}

/**
 * Reads a key from its one-line form, `<name>+<key id>+<base64 of kind and key>`.
 *
 * @throws TypeError when it is malformed, of an unknown kind, or its key id is not that of its key.
 */
export function parseVerifierKey(line: string): VerifierKey {
  const [, name = '', id = '', material = ''] =
    /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(line) ?? [];
  const bytes = bytesOfBase64(material);
  const kind = (Object.keys(KINDS) as NoteKeyKind[]).find((one) => KINDS[one] === bytes?.[0]);
  if (bytes === undefined || kind === undefined) {
    throw new TypeError('not a verifier key: expected name+key id+base64 of an Ed25519 key');
  }
  const key = verifierKey(name, kind, bytes.subarray(1));
  if (key.keyId !== Number.parseInt(id, 16))
    throw new TypeError('the key id is not that of this name and key');
  return key;
}

/** The one-line form of a key, to hand out and to configure. */
export function formatVerifierKey({ name, kind, keyId, publicKey }: VerifierKey): string {
  const material = Uint8Array.of(KINDS[kind], ...publicKey);
  return `${name}+${keyId.toString(16).padStart(8, '0')}+${base64Of(material)}`;
}

/** The note, when it is one: UTF-8, no control characters but newlines, at least one signature line. */
export function parseNote(note: string | Uint8Array): SignedNote | undefined {
  const all = typeof note === 'string' ? note : decode(note);
  if (all === undefined || all.length > MOST_NOTE_BYTES || !isPlainText(all)) return undefined;
  const end = all.lastIndexOf('\n\n');
  if (end === -1) return undefined;
  const signatures = parseSignatureLines(all.slice(end + 2));
  return signatures === undefined ? undefined : { text: all.slice(0, end + 1), signatures };
}

/** The signature lines, as a witness answers with them: one or more, each ended by a newline. */
export function parseSignatureLines(lines: string): NoteSignature[] | undefined {
  if (lines.length > MOST_NOTE_BYTES || !isPlainText(lines) || !lines.endsWith('\n')) return undefined;
  const found: NoteSignature[] = [];
  for (const line of lines.slice(0, -1).split('\n')) {
    const [dash, name = '', base64 = '', ...more] = line.split(' ');
    const bytes = bytesOfBase64(base64);
    if (dash !== EM_DASH || !isKeyName(name) || more.length > 0) return undefined;
    if (bytes === undefined || bytes.length < 5 || found.length === MOST_SIGNATURES) return undefined;
    const keyId = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    found.push({ name, keyId, signature: bytes.subarray(4) });
  }
  return found;
}

/** A signature line, with its newline. */
export function formatSignatureLine({ name, keyId, signature }: NoteSignature): string {
  const bytes = new Uint8Array(4 + signature.length);
  new DataView(bytes.buffer).setUint32(0, keyId);
  bytes.set(signature, 4);
  return `${EM_DASH} ${name} ${base64Of(bytes)}\n`;
}

/** What a witness signs: a header, the time in seconds, and the whole text of the checkpoint. */
export function cosignedMessage(text: string, timestamp: number): Uint8Array {
  return utf8(`cosignature/v1\ntime ${timestamp}\n${text}`);
}

/**
 * The signatures of known keys that hold; undefined when there is none, or when one of a known key fails. Signatures of
 * other keys are ignored, a second one of the same key too.
 */
export async function verifyNote(
  { text, signatures }: SignedNote,
  keys: readonly VerifierKey[],
  verify: Ed25519Verify = verifyEd25519,
): Promise<VerifiedSignature[] | undefined> {
  const verified: VerifiedSignature[] = [];
  for (const { name, keyId, signature } of signatures) {
    const key = keys.find((one) => one.name === name && one.keyId === keyId);
    if (key === undefined) continue;
    const timestamp = key.kind === 'ed25519' ? undefined : timeOf(signature);
    const message = timestamp === undefined ? utf8(text) : cosignedMessage(text, timestamp);
    const raw = key.kind === 'ed25519' ? signature : signature.subarray(8);
    const holds =
      raw.length === 64 &&
      (key.kind === 'ed25519' || timestamp !== undefined) &&
      (await verify(key.publicKey, message, raw));
    if (!holds) return undefined;
    if (!verified.some((one) => one.key === key)) verified.push({ key, timestamp });
  }
  return verified.length === 0 ? undefined : verified;
}

/** The time in front of a cosignature; undefined when it is none, zero, or past what a number holds. */
function timeOf(signature: Readonly<Uint8Array>): number | undefined {
  if (signature.length !== 72) return undefined;
  const time = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0);
  return time > 0n && time <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(time) : undefined;
}

function decode(bytes: Uint8Array): string | undefined {
  if (bytes.length > MOST_NOTE_BYTES) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** No control character but the newline, no lone surrogate. */
function isPlainText(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x20 && unit !== 0x0a) return false;
  }
  return !/\p{Surrogate}/u.test(text);
}
