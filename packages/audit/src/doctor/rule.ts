/**
 * What a rule of the audit doctor is: one named weakness, why it is one, and a pure function that finds it.
 * Invariant: a rule reads nothing but the facts and what the migrations would have made.
 */
import type { Capture } from '../capture/capture-triggers.ts';
import type { ExpectedSchema } from './expected-schema.ts';
import type { Facts } from './facts.ts';

/** `error`: a guard is gone or can be passed. `warning`: a way to it is open, or the log will not work. */
export type DoctorLevel = 'error' | 'warning';

/** What a rule found. */
export interface Hit {
  /** The object, e.g. `audit.event.refuse_change`. */
  readonly object: string;
  /** What is wrong with it. */
  readonly message: string;
  /** SQL that mends it, or an SQL comment where a person has to decide. */
  readonly remedy: string;
}

/** A finding: a hit and its rule. */
export interface DoctorFinding extends Hit {
  /** Name of the rule. */
  readonly rule: string;
  /** Weight. */
  readonly level: DoctorLevel;
}

/** What rules read. */
export interface Examined {
  /** What is in the database. */
  readonly facts: Facts;
  /** What the migrations make. */
  readonly expected: ExpectedSchema;
  /** Capture triggers that must be there. */
  readonly captures: readonly Capture[];
  /** Name of the app role. */
  readonly app: string;
}

/** A named weakness. */
export interface Rule {
  /** Stable name, kebab case. */
  readonly name: string;
  /** Weight of its findings. */
  readonly level: DoctorLevel;
  /** Why it is one, in a sentence. */
  readonly rationale: string;
  /** Finds it. */
  check(examined: Examined): Iterable<Hit>;
}

/** A name as SQL writes it. */
export function quoted(name: string): string {
  return name === 'public' ? name : `"${name.replaceAll('"', '""')}"`;
}
