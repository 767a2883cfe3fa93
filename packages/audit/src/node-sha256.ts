/** SHA-256 of Node as the verifier takes it. The digest comes as text: a buffer for each costs more than the hash itself. */
import { hash } from 'node:crypto';

/** SHA-256 of some bytes, 32 bytes. */
export function nodeSha256(bytes: Uint8Array): Uint8Array {
  const text = hash('sha256', bytes, 'latin1');
  const digest = new Uint8Array(32);
  for (let index = 0; index < 32; index++) digest[index] = text.charCodeAt(index);
  return digest;
}
