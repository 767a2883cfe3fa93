/**
 * What the probe found, as plain data and as text. Evidence names relations, constraints, SQLSTATEs and numbers of rows;
 * never a value of a row.
 */
import { printable } from '../printable.ts';

/** Kinds of attack. */
export type AttackName =
  | 'own rows'
  | 'read by organisation'
  | 'read by key'
  | 'read all'
  | 'lock'
  | 'insert'
  | 'move'
  | 'update'
  | 'delete'
  | 'upsert'
  | 'insert or ignore'
  | 'truncate'
  | 'become owner'
  | 'become role'
  | 'no context'
  | 'forged context'
  | 'expired context'
  | 'stale plan'
  | 'unique value'
  | 'foreign key'
  | 'cascade'
  | 'view'
  | 'function'
  | 'sequence'
  | 'write'
  | 'reach';

/** `contained`: the attack failed for a known reason. `inconclusive`: neither held nor broken, which counts as a failure. */
export type Outcome = 'contained' | 'crossed' | 'accepted' | 'inconclusive';

/** One attack on one relation. */
export interface AttackResult {
  /** `schema.name` of the relation, view, sequence or function. */
  readonly relation: string;
  /** Name of the attack. */
  readonly attack: AttackName;
  /** Foreign key, index, privilege or command the attack went for. */
  readonly object?: string;
  /** How it ended. */
  readonly outcome: Outcome;
  /** What contained it, or what crossed. */
  readonly evidence: string;
}

/** A table that has not been attacked, which counts as a failure. */
export interface Unprobed {
  /** `schema.table`. */
  readonly relation: string;
  /** Why, and what to do. */
  readonly reason: string;
}

/** The result of one probe. */
export interface ProbeReport {
  /** True when every attack on every table was contained or accepted. */
  readonly clean: boolean;
  /** The role the attacks ran as. */
  readonly appRole: string;
  /** Whether the database verifies signed contexts. */
  readonly signedContext: boolean;
  /** Org-owned tables that were attacked. */
  readonly tables: number;
  /** All attacks, in order of relation. */
  readonly attacks: readonly AttackResult[];
  /** Tables that were not attacked. */
  readonly unprobed: readonly Unprobed[];
  /** Acceptances that met no finding: to be removed. */
  readonly stale: readonly Acceptance[];
  /** Length of the probe, ms. */
  readonly durationMs: number;
}

/** A crossing that is wanted, and why. */
export interface Acceptance {
  /** `schema.name` of the relation. */
  readonly relation: string;
  /** Name of the attack. */
  readonly attack: AttackName;
  /** Foreign key, index, privilege or command, where the finding names one: it accepts no other. */
  readonly object?: string;
  /** Why it is safe here: for the reviewer. */
  readonly reason: string;
}

/** The report for people: findings first, each on one line, then one line of numbers. */
export function formatProbeReport(report: ProbeReport): string {
  const lines: string[] = [];
  for (const { relation, reason } of report.unprobed) lines.push(`NOT PROBED    ${relation}: ${reason}`);
  for (const outcome of ['crossed', 'inconclusive', 'accepted'] as const) {
    for (const { relation, attack, object, evidence } of report.attacks.filter(
      (result) => result.outcome === outcome,
    )) {
      lines.push(
        `${outcome.toUpperCase().padEnd(13)} ${relation}: ${attack}${object === undefined ? '' : ` (${object})`}: ${evidence}`,
      );
    }
  }
  for (const { relation, attack, object } of report.stale)
    lines.push(
      `STALE         ${relation}: ${attack}${object === undefined ? '' : ` (${object})`} is accepted and was contained: remove the acceptance`,
    );
  const count = (outcome: Outcome) => report.attacks.filter((result) => result.outcome === outcome).length;
  lines.push(
    `${report.clean ? 'clean' : 'FAILED'}: ${report.tables} ${report.tables === 1 ? 'table' : 'tables'}, ${report.attacks.length} attacks as ${report.appRole}: ` +
      `${count('contained')} contained, ${count('crossed')} crossed, ${count('inconclusive')} inconclusive, ` +
      `${count('accepted')} accepted, ${report.unprobed.length} not probed; ${Math.round(report.durationMs)} ms, rolled back`,
  );
  return lines.map(printable).join('\n');
}
