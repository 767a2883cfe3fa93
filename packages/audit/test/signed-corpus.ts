/** Signed exports, with notes made from the words of the standards, and a second history of the same log. */
import { createHash } from 'node:crypto';
import { verifierKeyOf } from '../src/checkpoint/index.ts';
import { signNote } from '../src/checkpoint/signer.ts';
import { formatCheckpoint } from '../src/verify/checkpoint.ts';
import { exportOf, honest, type Log, recordOf, sealed } from './export-corpus.ts';
import { ORG_A } from './fixture.ts';
import { newSigner } from './memory-log.ts';

export const DEPLOYMENT = 'ledger.example/audit';
export const ORIGIN = `${DEPLOYMENT}/${ORG_A}`;
const signer = newSigner(DEPLOYMENT);
export const key = verifierKeyOf(signer);
export const log = honest();
/** Another history from the sixth record on, sealed anew. */
export const other: Log = sealed([
  ...log.slice(0, 5),
  ...Array.from({ length: 9 }, (_, index) => recordOf(index + 6, 7)),
]);

const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest();

/** RFC 6962 §2.1, word by word. */
function root(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length < 2) return leaves[0] ?? sha256();
  const split = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return sha256(Uint8Array.of(1), root(leaves.slice(0, split)), root(leaves.slice(split)));
}

export function noteOf(of: Log, size: number, origin = ORIGIN, by = signer): Promise<string> {
  const leaves = of.slice(0, size).map(({ canon }) => sha256(Uint8Array.of(0), Buffer.from(canon)));
  return signNote(formatCheckpoint({ origin, size, root: root(leaves) }), by);
}

export function exportWith(of: Log, ...notes: string[]): Uint8Array {
  const text = Buffer.from(exportOf(of)).toString();
  const first = text.indexOf('\n') + 1;
  const lines = notes.map((note) => `{"note":${JSON.stringify(note)}}\n`).join('');
  return Buffer.from(text.slice(0, first) + lines + text.slice(first));
}
