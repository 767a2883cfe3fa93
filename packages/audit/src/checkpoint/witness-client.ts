/**
 * Has checkpoints cosigned by witnesses (c2sp.org/tlog-witness, `add-checkpoint`) and keeps their signature lines beside
 * the checkpoint.
 *
 * Invariants: only a cosignature that was verified with the witness's configured key is stored; whatever a witness answers
 * is that witness's failure and holds up no other. One that says it has seen more of a log than the database holds means
 * that the database was set back, or that the witness lies: an alarm, not a retry.
 */
import { RingfenceAuditError } from '../errors.ts';
import type { QueryExecutor } from '../executor.ts';
import { base64Of } from '../verify/base64.ts';
import {
  formatSignatureLine,
  parseNote,
  parseSignatureLines,
  type VerifierKey,
  verifyNote,
} from '../verify/signed-note.ts';
import { rowsOf, sizeOf } from './database.ts';
import { proveConsistency } from './proofs.ts';
import { historyChanged, lastCheckpoint, type StoredCheckpoint } from './signed-tree.ts';

/** What a witness answers. */
export interface WitnessAnswer {
  /** HTTP status. */
  readonly status: number;
  /** Body, at most a few signature lines. */
  readonly body: string;
}

/** Somebody who watches a log and cosigns it. */
export interface Witness {
  /** Its key, of kind `cosignature-v1`. */
  readonly key: VerifierKey;
  /** Sends an `add-checkpoint` request body. Rejects when there is no answer in a time that it sets: `cosign` waits for it. */
  addCheckpoint(body: string): Promise<WitnessAnswer>;
}

/** What came of asking the witnesses. */
export interface CosignReport {
  /** Size of the checkpoint; 0 when there is none. */
  readonly size: number;
  /** Names of the witnesses whose cosignature is stored. */
  readonly cosigned: readonly string[];
  /** What failed, by witness. */
  readonly failed: readonly CosignFailure[];
}

/** A witness that did not cosign. */
export interface CosignFailure {
  /** Name of its key. */
  readonly witness: string;
  /** Why. */
  readonly error: RingfenceAuditError;
}

/** Longest answer, characters: a few signature lines. */
const MOST_ANSWER = 64 * 1024;

const KNOWN = `
select s.size from audit.cosignature s where s.org_id = $1::uuid and s.witness = $2 order by s.size desc limit 1`;

const INSERT = `
insert into audit.cosignature (org_id, size, witness, line) values ($1::uuid, $2::bigint, $3, $4)
on conflict (org_id, size, witness) do nothing`;

/** Asks each witness that has not cosigned the last checkpoint yet. */
export async function cosign(
  db: QueryExecutor,
  org: string,
  witnesses: readonly Witness[],
): Promise<CosignReport> {
  const last = witnesses.length === 0 ? undefined : await lastCheckpoint(db, org);
  if (last === undefined) return { size: 0, cosigned: [], failed: [] };
  const answers = await Promise.allSettled(witnesses.map((witness) => cosignBy(db, org, last, witness)));
  const failed: CosignFailure[] = [];
  const cosigned: string[] = [];
  for (const [index, answer] of answers.entries()) {
    const witness = witnesses[index]?.key.name ?? '';
    if (answer.status === 'rejected') throw answer.reason; // of ours: the database, or stored tiles
    if (answer.value === undefined) cosigned.push(witness);
    else failed.push({ witness, error: answer.value });
  }
  return { size: last.size, cosigned, failed };
}

/** The body of a request: old size, proof, an empty line, the note. */
export function addCheckpointBody(
  oldSize: number,
  proof: readonly Readonly<Uint8Array>[],
  note: string,
): string {
  return `old ${oldSize}\n${proof.map((hash) => `${base64Of(hash)}\n`).join('')}\n${note}`;
}

/** Asks one witness; returns what it failed with. */
async function cosignBy(
  db: QueryExecutor,
  org: string,
  last: StoredCheckpoint,
  witness: Witness,
): Promise<RingfenceAuditError | undefined> {
  const { key } = witness;
  const [known] = await rowsOf<{ size: unknown }>(db, KNOWN, [org, key.name]);
  let oldSize = sizeOf(known?.size ?? 0);
  if (oldSize === last.size) return undefined;
  // Once with the size of the last cosignature, once with the size the witness names: a cosignature may have been lost.
  for (let attempt = 1; ; attempt++) {
    const proof = await proveConsistency(db, org, oldSize, last);
    const answer = await ask(witness, addCheckpointBody(oldSize, proof, last.note));
    if (answer instanceof RingfenceAuditError) return answer;
    if (answer.status === 200) {
      const line = await verifiedLine(key, last.note, answer.body);
      if (line === undefined)
        return unavailable(key.name, 'answered without a cosignature of its key', undefined);
      await rowsOf(db, INSERT, [org, last.size, key.name, line]);
      return undefined;
    }
    if (answer.status !== 409 || attempt === 2) {
      return new RingfenceAuditError(
        'audit.witness_refused',
        `witness ${key.name} refused the checkpoint of log ${org} at ${last.size} with status ${answer.status}`,
        { retryable: answer.status === 409 || answer.status >= 500 },
      );
    }
    const size = /^(?:0|[1-9][0-9]{0,15})\n$/.test(answer.body) ? Number(answer.body) : Number.NaN;
    if (!Number.isSafeInteger(size))
      return unavailable(key.name, 'answered 409 without the size of a log', undefined);
    oldSize = size;
    if (oldSize > last.size) {
      return historyChanged(
        org,
        `witness ${key.name} has seen ${oldSize} events, there are ${last.size} signed`,
      );
    }
  }
}

/** The answer of a witness, in the shape of one, or its failure: a port may be anybody's code. */
async function ask(witness: Witness, request: string): Promise<WitnessAnswer | RingfenceAuditError> {
  const { name } = witness.key;
  try {
    const { status, body } = await witness.addCheckpoint(request);
    if (Number.isInteger(status) && typeof body === 'string' && body.length <= MOST_ANSWER)
      return { status, body };
    return unavailable(name, 'answered what is no answer', undefined);
  } catch (cause) {
    return unavailable(name, 'did not answer', cause);
  }
}

async function verifiedLine(key: VerifierKey, note: string, body: string): Promise<string | undefined> {
  const parsed = parseNote(note);
  const lines = parseSignatureLines(body) ?? [];
  for (const signature of lines) {
    if (parsed === undefined) break;
    const verified = await verifyNote({ text: parsed.text, signatures: [signature] }, [key]);
    if (verified !== undefined) return formatSignatureLine(signature);
  }
  return undefined;
}

function unavailable(witness: string, what: string, cause: unknown): RingfenceAuditError {
  return new RingfenceAuditError('audit.witness_unavailable', `witness ${witness} ${what}`, {
    retryable: true,
    cause,
  });
}
