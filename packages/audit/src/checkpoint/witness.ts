/**
 * A witness (c2sp.org/tlog-witness, c2sp.org/tlog-cosignature): watches logs grow and cosigns each head that continues the
 * one it saw before. It keeps one head per log.
 *
 * Invariants: a head is persisted before its cosignature leaves; heads of one witness are judged one after the other, so
 * that none is rolled back; nothing but a consistent, log-signed checkpoint is cosigned.
 */

import { bytesOfBase64 } from '../verify/base64.ts';
import { openCheckpoint, parseCheckpoint } from '../verify/checkpoint.ts';
import { verifyConsistency } from '../verify/merkle-proof.ts';
import {
  cosignedMessage,
  formatSignatureLine,
  formatVerifierKey,
  parseNote,
  parseVerifierKey,
  type SignedNote,
  type VerifierKey,
  verifierKey,
} from '../verify/signed-note.ts';
import { type Signer, signatureOf } from './signer.ts';

/** A log that a witness watches. */
export interface WatchedLog {
  /** Its origin line. */
  readonly origin: string;
  /** Verifier keys of the log, in their one-line form. */
  readonly keys: readonly string[];
}

/** The last head of a log that a witness cosigned. */
export interface WitnessedHead {
  /** Leaves of the tree. */
  readonly size: number;
  /** Root of the tree, 32 bytes. */
  readonly root: Readonly<Uint8Array>;
  /** The note, with the log's signatures and the cosignature: evidence that the log signed it. */
  readonly note: string;
}

/** Where a witness keeps its heads. */
export interface WitnessState {
  /** The head of a log; undefined when none was cosigned. */
  read(origin: string): WitnessedHead | undefined;
  /** Replaces the head of a log; resolves when it is on disk. */
  write(origin: string, head: WitnessedHead): Promise<void>;
}

/** Settings of `createWitness`. */
export interface WitnessOptions {
  /** Who signs: a key that signs nothing else. */
  readonly signer: Signer;
  /** The logs to watch. */
  readonly logs: readonly WatchedLog[];
  /** Where heads are kept; no other witness may use it at the same time. */
  readonly state: WitnessState;
  /** Clock, ms since epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** An answer, in the terms of HTTP. */
export interface WitnessReply {
  /** Status. */
  readonly status: number;
  /** Media type of the body. */
  readonly contentType: string;
  /** Body. */
  readonly body: string;
}

/** A witness. */
export interface CheckpointWitness {
  /** Its verifier key, in its one-line form: what the log is configured with. */
  readonly key: string;
  /** Judges an `add-checkpoint` request. Rejects only when the state cannot be written or the signer fails. */
  addCheckpoint(body: Uint8Array): Promise<WitnessReply>;
  /** The last cosigned note of a log; undefined when there is none. */
  lastNote(origin: string): string | undefined;
}

/** The longest request that can be one, bytes: 63 hashes and a note. */
export const MOST_REQUEST_BYTES: number = 136 * 1024;

interface AddRequest {
  readonly oldSize: number;
  readonly proof: readonly Uint8Array[];
  readonly note: string;
}

/**
 * Makes a witness.
 *
 * @throws TypeError when a key is malformed, or is also the key of a log.
 */
export function createWitness({ signer, logs, state, now = Date.now }: WitnessOptions): CheckpointWitness {
  const own = verifierKey(signer.name, 'cosignature-v1', signer.publicKey);
  const keys = new Map<string, VerifierKey[]>();
  for (const { origin, keys: lines } of logs) {
    const found = [...(keys.get(origin) ?? []), ...lines.map((line) => logKey(line))];
    if (found.length === 0) throw new TypeError(`log ${origin} has no key`);
    keys.set(origin, found);
  }

  const judge = async (body: Uint8Array): Promise<WitnessReply> => {
    const request = parseRequest(body);
    const note = request === undefined ? undefined : parseNote(request.note);
    const claimed = note === undefined ? undefined : parseCheckpoint(note.text);
    if (request === undefined || note === undefined || claimed === undefined)
      return plain(400, 'malformed request');
    const { origin } = claimed;
    const trusted = keys.get(origin);
    if (trusted === undefined) return plain(404, 'unknown log');
    const opened = await openCheckpoint(request.note, { origin, keys: trusted });
    if (!opened.ok) return plain(403, 'not signed by a key of the log');
    const { size, root } = opened.checkpoint;
    const { oldSize, proof } = request;
    if (oldSize > size) return plain(400, 'the old size is larger than the checkpoint');
    const last = state.read(origin);
    if (oldSize !== (last?.size ?? 0)) {
      return { status: 409, contentType: 'text/x.tlog.size', body: `${last?.size ?? 0}\n` };
    }
    const oldRoot = last?.root ?? EMPTY_ROOT;
    if (!verifyConsistency({ oldSize, oldRoot, size, root, proof })) {
      return plain(422, 'the checkpoint does not continue the one seen before');
    }
    const line = await cosignature(note, own, signer, Math.floor(now() / 1_000));
    await state.write(origin, { size, root, note: `${note.text}\n${signedLines(note, trusted)}${line}` });
    return plain(200, line);
  };

  let turn: Promise<unknown> = Promise.resolve();
  return {
    key: formatVerifierKey(own),
    addCheckpoint: (body) => {
      const reply = turn.then(() => judge(body));
      turn = reply.catch(() => undefined);
      return reply;
    },
    lastNote: (origin) => state.read(origin)?.note,
  };
}

/** SHA-256 of nothing. */
const EMPTY_ROOT: Readonly<Uint8Array> = bytesOfBase64(
  '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
) as Uint8Array;

function parseRequest(body: Uint8Array): AddRequest | undefined {
  if (body.length > MOST_REQUEST_BYTES) return undefined;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return undefined;
  }
  const end = text.indexOf('\n\n');
  if (end === -1) return undefined;
  const [first = '', ...lines] = text.slice(0, end).split('\n');
  const digits = /^old (0|[1-9][0-9]{0,15})$/.exec(first)?.[1];
  const oldSize = Number(digits);
  const proof = lines.map(bytesOfBase64);
  if (digits === undefined || !Number.isSafeInteger(oldSize) || proof.length > 63) return undefined;
  if (!proof.every((hash) => hash?.length === 32)) return undefined;
  return { oldSize, proof: proof as Uint8Array[], note: text.slice(end + 2) };
}

async function cosignature(
  note: SignedNote,
  key: VerifierKey,
  signer: Signer,
  timestamp: number,
): Promise<string> {
  const raw = await signatureOf(cosignedMessage(note.text, timestamp), key, signer);
  const signature = new Uint8Array(8 + raw.length);
  new DataView(signature.buffer).setBigUint64(0, BigInt(timestamp));
  signature.set(raw, 8);
  return formatSignatureLine({ name: key.name, keyId: key.keyId, signature });
}

/** The lines of the log's keys; those of strangers were not verified and are left out. */
function signedLines(note: SignedNote, trusted: readonly VerifierKey[]): string {
  return note.signatures
    .filter(({ name, keyId }) => trusted.some((key) => key.name === name && key.keyId === keyId))
    .map(formatSignatureLine)
    .join('');
}

function logKey(line: string): VerifierKey {
  const key = parseVerifierKey(line);
  if (key.kind !== 'ed25519') throw new TypeError('the key of a log signs notes, not cosignatures');
  return key;
}

function plain(status: number, text: string): WitnessReply {
  return { status, contentType: 'text/plain; charset=utf-8', body: text.endsWith('\n') ? text : `${text}\n` };
}
