/**
 * A leaf of the deployment's log: one checkpoint of one organisation, blinded (docs/formats/audit-checkpoint-v1.md §6).
 *
 *     leaf = SHA-256(0x00 || "ringfence-org-checkpoint/v1\n" || salt (32) || org (16) || be64(size) || root (32))
 *
 * The salt is random and new for each entry, so a leaf tells nothing, not even that two are of one organisation.
 * Browser-safe.
 */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { type Sha256, uuidBytes } from './link.ts';

/** What a leaf stands for; who has it can find the organisation in the deployment's log. */
export interface DeploymentEntry {
  /** Organisation, lower-case UUID. */
  readonly org: string;
  /** Size of its checkpoint. */
  readonly size: number;
  /** Root of its checkpoint, 32 bytes. */
  readonly root: Readonly<Uint8Array>;
  /** Random bytes of this entry alone, 32. */
  readonly salt: Readonly<Uint8Array>;
}

const LABEL = '\0ringfence-org-checkpoint/v1\n';
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The hash of an entry's leaf.
 *
 * @throws TypeError when the entry is malformed.
 */
export function deploymentLeaf(
  { org, size, root, salt }: DeploymentEntry,
  sha256: Sha256 = nobleSha256,
): Uint8Array {
  const sized = Number.isSafeInteger(size) && size > 0 && root.length === 32 && salt.length === 32;
  if (!UUID.test(org) || !sized) throw new TypeError('not an entry of the log of a deployment');
  const label = new TextEncoder().encode(LABEL);
  const input = new Uint8Array(label.length + 32 + 16 + 8 + 32);
  input.set(label);
  input.set(salt, label.length);
  input.set(uuidBytes(org), label.length + 32);
  new DataView(input.buffer).setBigUint64(label.length + 48, BigInt(size));
  input.set(root, label.length + 56);
  return sha256(input);
}
