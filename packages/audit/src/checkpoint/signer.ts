/**
 * Who signs checkpoints, as a port: a key in a file, or one in a KMS that never leaves it (AWS KMS: key spec
 * ECC_NIST_EDWARDS25519, algorithm ED25519_SHA_512, message type RAW). The signature is plain Ed25519 (RFC 8032).
 * Invariant: a signature is verified with the signer's own public key before anything is stored.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { RingfenceAuditError } from '../errors.ts';
import {
  formatSignatureLine,
  formatVerifierKey,
  type VerifierKey,
  verifierKey,
  verifyEd25519,
} from '../verify/signed-note.ts';

/** Holds an Ed25519 key and signs with it. */
export interface Signer {
  /** Name of the key, in its signature lines: the deployment's origin, e.g. `ledger.example/audit`. */
  readonly name: string;
  /** The only algorithm so far. */
  readonly algorithm: 'ed25519';
  /** Public key, 32 bytes. */
  readonly publicKey: Readonly<Uint8Array>;
  /** Signs the bytes; the signature has 64. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** Settings of `localSigner`. */
export interface LocalSignerOptions {
  /** Name of the key, in its signature lines. */
  readonly name: string;
  /** The private key: PEM text of PKCS #8, as `openssl genpkey -algorithm ed25519` writes it, or a `KeyObject`. */
  readonly privateKey: string | KeyObject;
}

/**
 * A signer whose key is in this process.
 *
 * @throws TypeError when the key is not a private Ed25519 key or the name is malformed.
 * @example
 * ```ts
 * const signer = localSigner({ name: 'ledger.example/audit', privateKey: process.env.CHECKPOINT_KEY });
 * ```
 */
export function localSigner({ name, privateKey }: LocalSignerOptions): Signer {
  const key = typeof privateKey === 'string' ? parsePrivateKey(privateKey) : privateKey;
  if (key.type !== 'private' || key.asymmetricKeyType !== 'ed25519') {
    throw new TypeError('the private key of a signer is an Ed25519 key');
  }
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' });
  const publicKey = Uint8Array.from(Buffer.from(x, 'base64url'));
  verifierKey(name, 'ed25519', publicKey);
  return {
    name,
    algorithm: 'ed25519',
    publicKey,
    sign: (bytes) => Promise.resolve(Uint8Array.from(sign(null, bytes, key))),
  };
}

/** The line that verifiers and witnesses are configured with for checkpoints of this signer. */
export function verifierKeyOf(signer: Pick<Signer, 'name' | 'publicKey'>): string {
  return formatVerifierKey(verifierKey(signer.name, 'ed25519', signer.publicKey));
}

/**
 * The signature line of a text.
 *
 * @throws RingfenceAuditError `audit.signer_failed` when the signer fails or its signature is not one of its key.
 */
export async function signNote(text: string, signer: Signer): Promise<string> {
  const key = verifierKey(signer.name, 'ed25519', signer.publicKey);
  const signature = await signatureOf(new TextEncoder().encode(text), key, signer);
  return `${text}\n${formatSignatureLine({ name: key.name, keyId: key.keyId, signature })}`;
}

/** A verified signature over some bytes, by the key that stands for the signer. */
export async function signatureOf(
  message: Uint8Array,
  key: VerifierKey,
  signer: Signer,
): Promise<Uint8Array> {
  let signature: Uint8Array;
  try {
    signature = await signer.sign(message);
  } catch (cause) {
    throw new RingfenceAuditError('audit.signer_failed', `the signer ${signer.name} failed`, {
      retryable: true,
      cause,
    });
  }
  if (!(await verifyEd25519(key.publicKey, message, signature))) {
    throw new RingfenceAuditError(
      'audit.signer_failed',
      `what the signer ${signer.name} returned is not a signature of its public key`,
    );
  }
  return signature;
}

function parsePrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The parser's message may quote the input.
    throw new TypeError('the private key of a signer is not PEM');
  }
}
