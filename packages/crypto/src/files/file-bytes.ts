/**
 * Encrypted files that fit in memory, in one synchronous call each.
 * Invariant: `decryptBytes` returns only whole, authenticated files; after a failure what was decrypted is wiped.
 */
import { type ChunkMachine, OpeningMachine, SealingMachine } from './chunk-machine.ts';
import { type FileCell, sealedSize, shapeOfFile } from './file-format.ts';
import { type FileKeys, fileKeys } from './key-source.ts';

function run(machine: ChunkMachine, input: Uint8Array, outputSize: number): Uint8Array {
  const output = new Uint8Array(outputSize);
  let written = 0;
  const emit = (bytes: Uint8Array): void => {
    output.set(bytes, written);
    written += bytes.length;
    bytes.fill(0);
  };
  try {
    let position = 0;
    while (position < input.length) position = machine.update(input, position, emit);
    machine.final(emit);
  } catch (error) {
    output.fill(0);
    throw error;
  } finally {
    machine.wipe();
  }
  return output;
}

/**
 * Encrypts a file held in memory for its cell; returns `sealedSize(plaintext.length)` bytes.
 *
 * @throws TypeError when the cell has an empty, over-long or ill-formed part.
 * @throws RingfenceCryptoError whatever the key source throws.
 * @example
 * ```ts
 * const sealed = encryptBytes(keys, { table: 'users', column: 'avatar', row: userId }, png);
 * ```
 */
export function encryptBytes(keys: FileKeys, cell: FileCell, plaintext: Uint8Array): Uint8Array {
  const machine = new SealingMachine(fileKeys(keys), cell);
  return run(machine, plaintext, sealedSize(plaintext.length));
}

/**
 * Decrypts a file held in memory; all of it has been authenticated, including its end, when this returns.
 *
 * @throws RingfenceCryptoError `crypto.decrypt_failed`, `crypto.malformed_message`, `crypto.unsupported_version`,
 * `crypto.unknown_key_version`, or whatever the key source throws.
 * @throws TypeError when the cell has an empty, over-long or ill-formed part.
 * @example
 * ```ts
 * const png = decryptBytes(keys, { table: 'users', column: 'avatar', row: userId }, sealed);
 * ```
 */
export function decryptBytes(keys: FileKeys, cell: FileCell, sealed: Uint8Array): Uint8Array {
  const source = fileKeys(keys);
  return run(new OpeningMachine(source, cell), sealed, shapeOfFile(source.org, sealed.length).size);
}
