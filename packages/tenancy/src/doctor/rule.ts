/**
 * What a rule of the doctor is: one named hazard, why it is one, and a pure function that finds it.
 * Invariant: a rule reads nothing but the inspection, so that a kept snapshot gives the same findings again.
 */
import type { Inspection } from './inspection.ts';

/** `error`: a row or a fact can cross. `warning`: one step from it, or a trap. `note`: for the reviewer to know. */
export type Level = 'error' | 'warning' | 'note';

/** What a rule found. */
export interface Hit {
  /** The object, e.g. `app.note` or `app.note.ringfence_org`. */
  readonly object: string;
  /** What is wrong with it. */
  readonly message: string;
  /** SQL that mends it, or an SQL comment where a person has to decide. */
  readonly remedy: string;
}

/** A named hazard. */
export interface Rule {
  /** Stable id, `RF` and three digits. */
  readonly id: `RF${number}`;
  /** Stable name in kebab case. */
  readonly name: string;
  /** Weight of its findings. */
  readonly level: Level;
  /** The hazard in one line. */
  readonly title: string;
  /** Why it is one. */
  readonly rationale: string;
  /** Where that is documented or was measured. */
  readonly source: string;
  /** Finds it. */
  check(inspection: Inspection): Iterable<Hit>;
}

/** A hit together with its rule. */
export interface Finding extends Hit {
  /** Id of the rule. */
  readonly rule: string;
  /** Name of the rule. */
  readonly name: string;
  /** Level of the rule. */
  readonly level: Level;
}

/** Sections of the PostgreSQL documentation that several rules rest on. */
export const DOCS = {
  rowSecurity: 'PostgreSQL documentation, 5.9 Row Security Policies',
  createPolicy: 'PostgreSQL documentation, CREATE POLICY',
  privileges: 'PostgreSQL documentation, 5.8 Privileges',
  createFunction: 'PostgreSQL documentation, CREATE FUNCTION: Writing SECURITY DEFINER Functions Safely',
  createView: 'PostgreSQL documentation, CREATE VIEW: security_invoker',
  rules: 'PostgreSQL documentation, 39.5 Rules and Privileges',
  roles: 'PostgreSQL documentation, 21.2 Role Attributes',
  predefinedRoles: 'PostgreSQL documentation, 21.5 Predefined Roles',
  statistics: 'PostgreSQL documentation, 27.2 The Cumulative Statistics System',
  replication: 'PostgreSQL documentation, 29 Logical Replication: Security',
  measured: 'measured on PostgreSQL 18.4, 1 000 000 rows of 1 000 organisations',
  executed: 'executed on PostgreSQL 18.4',
} as const;

/** A name as SQL writes it: each part of `schema.name` quoted. */
export function quoted(name: string): string {
  const dot = name.indexOf('.');
  const parts = dot < 0 ? [name] : [name.slice(0, dot), name.slice(dot + 1)];
  return parts.map((part) => `"${part.replaceAll('"', '""')}"`).join('.');
}

/** A function as SQL writes it: its name quoted, its argument types as they are. */
export function quotedFunction(name: string): string {
  const open = name.indexOf('(');
  return quoted(name.slice(0, open)) + name.slice(open);
}

/** A role as SQL writes it; the pseudo-role `public` is a keyword. */
export function quotedRole(name: string): string {
  return name === 'public' ? 'public' : quoted(name).replace('"."', '.');
}
