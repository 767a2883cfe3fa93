/**
 * The vocabulary of the differences engine: what a difference is, and the steps that mend it with the locks they take.
 * Invariant: a step is plain SQL that can be printed, read and run by hand; running it twice is refused or harmless.
 */

/** The stable kind of a difference. */
export type DifferenceKind =
  /** A relation is not declared, so that nobody has said what it is to isolation. */
  | 'unclassified'
  /** A declared table or view does not exist. */
  | 'missing_relation'
  /** A relation is of another kind than its declaration can hold, such as a foreign table. */
  | 'relation_kind'
  /** The app role owns an object, and so decides over its own guards. */
  | 'owner'
  /** The app role has an attribute or membership that row-level security does not bind. */
  | 'app_role'
  /** `tenancy.org_id()`, which every policy calls, is missing or not a function of this package. */
  | 'context_function'
  /** An org-owned table has no column `org_id`. */
  | 'org_column'
  /** `org_id` is not a uuid. */
  | 'org_column_type'
  /** `org_id` may be null. */
  | 'org_column_null'
  /** `org_id` does not default to the organisation of the context. */
  | 'org_column_default'
  /** Row-level security is not enabled, or not forced. */
  | 'row_security'
  /** A policy is missing, differs from the generated one, or stands beside it. */
  | 'policy'
  /** The app role or PUBLIC has other rights on a relation than declared. */
  | 'grants'
  /** The app role or PUBLIC has rights on single columns. */
  | 'column_grants'
  /** The trigger that fills `org_id` during a migration is still there. */
  | 'backfill_trigger'
  /** The primary key is not the declared one led by `org_id`. */
  | 'primary_key'
  /** A declared unique key is missing. */
  | 'unique'
  /** A unique constraint or index is not led by `org_id`, and tells of other organisations' values. */
  | 'unique_without_org'
  /** An exclusion constraint does not compare `org_id`. */
  | 'exclusion'
  /** A declared foreign key is missing, or not validated. */
  | 'foreign_key'
  /** A foreign key is there that is not declared. */
  | 'foreign_key_undeclared'
  /** A partition is reachable by itself without the guards of its table. */
  | 'partition'
  /** A table inherits from another, which keys and policies do not follow. */
  | 'inheritance'
  /** A rewrite rule runs with its owner's rights. */
  | 'rule'
  /** A view runs with its owner's rights. */
  | 'view_invoker'
  /** A view reads a relation that its declaration does not name. */
  | 'view_reads'
  /** The app role may read a materialized view, whose rows no policy filters. */
  | 'materialized_view'
  /** A function with its owner's rights is reachable by the app role and not declared. */
  | 'definer_function'
  /** A reachable function with its owner's rights lets its caller choose what its names mean. */
  | 'search_path'
  /** The app role may read or set a sequence, which counts every organisation's rows. */
  | 'sequence'
  /** A publication that is not declared carries rows past row-level security. */
  | 'publication'
  /** The app role or PUBLIC may create in a schema, or the app role lacks usage of one. */
  | 'schema_grants'
  /** The app role or PUBLIC may create schemas. */
  | 'database_grants'
  /** Objects yet to be made will give rights to the app role or PUBLIC. */
  | 'default_privileges';

/** Phases of a migration in their order: each needs those before it. */
export type Phase = 'fill' | 'index' | 'reference' | 'release' | 'key' | 'guard' | 'surroundings';

/** The strongest table lock of a step, and for how long it is held. */
export interface StepLock {
  /** Table lock mode as PostgreSQL names it. */
  readonly mode:
    | 'ACCESS EXCLUSIVE'
    | 'SHARE ROW EXCLUSIVE'
    | 'SHARE UPDATE EXCLUSIVE'
    | 'ROW EXCLUSIVE'
    | 'none';
  /** `moment`: no row is read. `batch`: a bounded number of rows at a time. `scan`: as long as reading the whole table takes. */
  readonly duration: 'moment' | 'batch' | 'scan';
}

/** One step: plain SQL, how to run it, and what it costs others. */
export interface MigrationStep {
  /** Relation it changes, or what else it is about. */
  readonly relation: string;
  /** Phase it belongs to. */
  readonly phase: Phase;
  /** Statements, each ended by a semicolon. */
  readonly sql: string;
  /** `own`: in one transaction of its own. `none`: PostgreSQL refuses it in a transaction, so it is one statement. */
  readonly transaction: 'own' | 'none';
  /** The strongest table lock it takes. */
  readonly lock: StepLock;
  /** What it is for, in a few words. */
  readonly why: string;
}

/** What the catalog would have to be, what it is, and the steps between. */
export interface Difference {
  /** Stable kind. */
  readonly kind: DifferenceKind;
  /** `schema.name`, or what else it is about, such as `role app`. */
  readonly relation: string;
  /** What the declaration asks for. */
  readonly expected: string;
  /** What is there. */
  readonly found: string;
  /** Steps that mend it; empty when a person has to decide. Differences of one table may share a step. */
  readonly mend: readonly MigrationStep[];
}

/** Makes a step in a transaction of its own. */
export function ownStep(
  phase: Phase,
  relation: string,
  why: string,
  sql: readonly string[],
  mode: StepLock['mode'] = 'ACCESS EXCLUSIVE',
  duration: StepLock['duration'] = 'moment',
): MigrationStep {
  return { relation, phase, sql: sql.join('\n'), transaction: 'own', lock: { mode, duration }, why };
}

/** Makes a step outside a transaction: one statement that lets reads and writes pass. */
export function concurrentStep(
  phase: Phase,
  relation: string,
  why: string,
  sql: string,
  mode: StepLock['mode'] = 'SHARE UPDATE EXCLUSIVE',
  duration: StepLock['duration'] = 'scan',
): MigrationStep {
  return { relation, phase, sql, transaction: 'none', lock: { mode, duration }, why };
}
