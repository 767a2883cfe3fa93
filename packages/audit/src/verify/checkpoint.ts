/**
 * Checkpoints (c2sp.org/tlog-checkpoint): a signed note of three lines, which are the log's origin, the size of its tree
 * and the root in base 64. Extension lines are refused: nobody audits them, and this format has none.
 *
 * Invariant: what a note holds never makes it throw; nothing of a note is returned unless a log key signed it. Browser-safe.
 */
import { base64Of, bytesOfBase64 } from './base64.ts';
import {
  type Ed25519Verify,
  parseNote,
  type VerifiedSignature,
  type VerifierKey,
  verifyEd25519,
  verifyNote,
} from './signed-note.ts';

/** The head of a tree at one size. */
export interface Checkpoint {
  /** Name of the log: deployment and organisation. */
  readonly origin: string;
  /** Leaves: the `seq` of the last event. */
  readonly size: number;
  /** Root of the tree, 32 bytes. */
  readonly root: Readonly<Uint8Array>;
}

/** Who must have signed a checkpoint. */
export interface CheckpointTrust {
  /** The log's name; a checkpoint of any other log is refused. */
  readonly origin: string;
  /** Keys of the log: one must have signed. */
  readonly keys: readonly VerifierKey[];
  /** Keys of witnesses whose cosignatures are verified. Default: none. */
  readonly witnesses?: readonly VerifierKey[];
  /** How many different witnesses must have signed. Default 0. */
  readonly quorum?: number;
  /** Verifies one signature. Default: WebCrypto, which has Ed25519 in pages under https and browsers of 2025 or newer. */
  readonly verify?: Ed25519Verify;
}

/** A checkpoint that was verified, or why it was not. */
export type OpenedCheckpoint =
  | {
      /** It holds. */
      readonly ok: true;
      /** What was signed. */
      readonly checkpoint: Checkpoint;
      /** Cosignatures that hold, with their times. */
      readonly cosignatures: readonly VerifiedSignature[];
    }
  | {
      /** It does not hold. */
      readonly ok: false;
      /** Why. */
      readonly reason: 'malformed' | 'unsigned' | 'other_origin' | 'too_few_witnesses';
    };

const SIZE = /^(?:0|[1-9][0-9]{0,15})$/;

/** The text that is signed. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${base64Of(root)}\n`;
}

/** The checkpoint in a note's text, when it is one. */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const [origin = '', digits = '', base64 = '', ...rest] = text.split('\n');
  const root = bytesOfBase64(base64);
  if (origin === '' || rest.length !== 1 || rest[0] !== '' || !SIZE.test(digits)) return undefined;
  const size = Number(digits);
  if (!Number.isSafeInteger(size) || root?.length !== 32) return undefined;
  return { origin, size, root };
}

/**
 * Parses and verifies a checkpoint.
 *
 * @example
 * ```ts
 * const opened = await openCheckpoint(note, { origin, keys: [parseVerifierKey(logKey)] });
 * if (opened.ok) keep(opened.checkpoint);
 * ```
 */
export async function openCheckpoint(
  note: string | Uint8Array,
  { origin, keys, witnesses = [], quorum = 0, verify = verifyEd25519 }: CheckpointTrust,
): Promise<OpenedCheckpoint> {
  const parsed = parseNote(note);
  const checkpoint = parsed === undefined ? undefined : parseCheckpoint(parsed.text);
  if (parsed === undefined || checkpoint === undefined) return { ok: false, reason: 'malformed' };
  if (checkpoint.origin !== origin) return { ok: false, reason: 'other_origin' };
  const signatures = await verifyNote(parsed, [...keys, ...witnesses], verify);
  if (signatures?.some(({ key }) => keys.includes(key)) !== true) return { ok: false, reason: 'unsigned' };
  const cosignatures = signatures.filter(
    ({ key, timestamp }) => witnesses.includes(key) && timestamp !== undefined,
  );
  const different = new Set(cosignatures.map(({ key }) => base64Of(key.publicKey)));
  if (different.size < quorum) return { ok: false, reason: 'too_few_witnesses' };
  return { ok: true, checkpoint, cosignatures };
}
