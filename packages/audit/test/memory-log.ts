/** A signed log in memory, for attacks a database would refuse; hashes word by word after RFC 6962. */
import { generateKeyPairSync, hash } from 'node:crypto';
import { localSigner, type Signer, verifierKeyOf } from '../src/checkpoint/index.ts';
import { consistencyPath } from '../src/checkpoint/merkle-paths.ts';
import { signNote } from '../src/checkpoint/signer.ts';
import { addCheckpointBody } from '../src/checkpoint/witness-client.ts';
import { formatCheckpoint } from '../src/verify/checkpoint.ts';

const sha256 = (...parts: Uint8Array[]): Uint8Array => hash('sha256', Buffer.concat(parts), 'buffer');

export class MemoryLog {
  readonly forkAt: number;
  readonly origin: string;
  readonly signer: Signer;
  readonly #label: string;

  /** Logs of one label have the same leaves; `forkAt` leaves are those of the unforked log. */
  constructor(origin: string, signer: Signer = newSigner(origin), label = '', forkAt = 0) {
    this.forkAt = forkAt;
    this.origin = origin;
    this.signer = signer;
    this.#label = label;
  }

  get key(): string {
    return verifierKeyOf(this.signer);
  }

  root(size: number, start = 0): Uint8Array {
    if (size === 0) return sha256();
    if (size === 1) return sha256(Buffer.from(`\0leaf ${start}${start < this.forkAt ? '' : this.#label}`));
    let left = 1;
    while (left * 2 < size) left *= 2;
    return sha256(Uint8Array.of(1), this.root(left, start), this.root(size - left, start + left));
  }

  note(size: number): Promise<string> {
    return signNote(formatCheckpoint({ origin: this.origin, size, root: this.root(size) }), this.signer);
  }

  proof(oldSize: number, size: number): Uint8Array[] {
    return consistencyPath(oldSize, size).map(({ start, end }) => this.root(end - start, start));
  }

  async body(oldSize: number, size: number): Promise<string> {
    return addCheckpointBody(oldSize, this.proof(oldSize, size), await this.note(size));
  }
}

export function newSigner(name: string): Signer {
  return localSigner({ name, privateKey: generateKeyPairSync('ed25519').privateKey });
}
