/**
 * `@ringfence/audit/migrations`: the DDL of schema `audit`, plain SQL that a reviewer reads before the owner role runs it.
 * Nothing here runs by itself, and a process that only records does not load it. Needs PostgreSQL 15 or later.
 *
 * @packageDocumentation
 */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { functionCall, identifier } from './identifier.ts';
import { appendFunctions } from './schema/append.ts';
import { appendBatchFunction } from './schema/append-batch.ts';
import { appendFromTemplate } from './schema/append-template.ts';
import { EVENT_BODY } from './schema/body.ts';
import { BODY_FRAME } from './schema/body-frame.ts';
import { CANONICAL_JSON } from './schema/canonical-json.ts';
import { captureFunctions } from './schema/capture.ts';
import { CHECKPOINTS, checkpointAccess } from './schema/checkpoints.ts';
import { DEFAULT_CONTEXT } from './schema/context.ts';
import { COPIES, copyAccess } from './schema/copy.ts';
import { GUARDS } from './schema/guards.ts';
import type { SchemaNames } from './schema/names.ts';
import { PERSONAL_CALLABLE, personalValues } from './schema/personal.ts';
import { QUERY_INDEXES } from './schema/query-indexes.ts';
import { readerCheck } from './schema/reading.ts';
import { PRUNED, prunedAccess, pruning } from './schema/retention.ts';
import { SEALING } from './schema/seal.ts';
import { TABLES, tableAccess } from './schema/tables.ts';

export {
  type AuditDeclaration,
  auditDeclaration,
  type DeclaredFunction,
  type DeclaredTable,
} from './schema/declaration.ts';

/** Settings of the migrations. */
export interface AuditMigrationOptions {
  /** The application's login role: may append, seal and read its own organisation, nothing else. */
  readonly appRole: string;
  /** Owner of the schema, best a NOLOGIN role of which the migrating role is a member. Default: the migrating role. */
  readonly ownerRole?: string;
  /** A role that reads every organisation's log, to verify it. Default: none. */
  readonly auditorRole?: string;
  /** The login role of the process that signs checkpoints: reads places and hashes of every organisation, adds checkpoints. Default: none. */
  readonly checkpointerRole?: string;
  /** The login role of the process that copies to a write-once store: reads every organisation's log, adds what it copied. Default: none. */
  readonly copierRole?: string;
  /**
   * Lets a login role prune what is older than a number of days: see `@ringfence/audit/retention`. The number is part of the
   * function: no caller can undercut it. Default: nobody prunes.
   */
  readonly retention?: {
    /** The login role of the process that prunes. It may do nothing else. */
    readonly role: string;
    /** Days that an event is kept at the least, an integer from 1 to 36 500. */
    readonly afterDays: number;
  };
  /**
   * Who acts: a call without arguments, `schema.function()`, that returns `org_id uuid`, `actor text` and `request_id text`
   * and raises when there is no organisation or no actor. One call, so that a signed context is verified once an event.
   * The owner needs USAGE on its schema and EXECUTE. Default: the settings `ringfence.org_id`, `ringfence.actor` and
   * `ringfence.request_id` of the transaction.
   */
  readonly context?: string;
}

/** One migration: a name that sorts, and its SQL. */
export interface SqlMigration {
  /** Name, in the order of application. */
  readonly name: string;
  /** Statements, separated by semicolons. Run them in one transaction. */
  readonly up: string;
}

/**
 * The migrations of schema `audit`, in order.
 *
 * @throws RingfenceAuditError `audit.invalid_identifier` when a role or a context expression is not plain.
 * @throws TypeError when the role of the app, of the owner or of retention is named for another part too, or `retention.afterDays` is out of range.
 * @example
 * ```ts
 * const [first] = auditMigrations({
 *   appRole: 'ledger_app',
 *   context: 'tenancy.context()',
 * });
 * ```
 */
export function auditMigrations(options: AuditMigrationOptions): readonly SqlMigration[] {
  const context = functionCall(options.context ?? 'audit.context()');
  const owner = options.ownerRole === undefined ? undefined : identifier(options.ownerRole);
  refuseSharedRoles(options);
  const names: SchemaNames = {
    app: identifier(options.appRole),
    auditor: options.auditorRole === undefined ? undefined : identifier(options.auditorRole),
    checkpointer: options.checkpointerRole === undefined ? undefined : identifier(options.checkpointerRole),
    copier: options.copierRole === undefined ? undefined : identifier(options.copierRole),
    retention: options.retention === undefined ? undefined : retentionOf(options.retention),
    context,
    org: `(${context}).org_id`,
  };
  const callable = [
    'append(uuid, text, boolean)',
    'append_from_template(uuid, text, bytea, boolean, text, bigint[], boolean)',
    'append_batch(uuid[], text[], integer[], text[], text[], boolean)',
    'seal_pending(uuid[], uuid[])',
    'seal_next(double precision)',
    'pending()',
    'assert_reads(uuid)',
    ...PERSONAL_CALLABLE,
  ];
  if (options.context === undefined) callable.push('context()');
  return [
    {
      name: '0001_audit_chain',
      up: `
-- Of other encodings neither the order of names in a record nor its bytes are what a verifier expects.
do $$ begin
  if current_setting('server_encoding') <> 'UTF8' then
    raise exception 'the audit log needs a database in UTF8' using errcode = '0A000', schema = 'audit';
  end if;
end $$;
create schema audit${owner === undefined ? '' : ` authorization ${owner}`};
${owner === undefined ? '' : `set local role ${owner};`}
revoke all on schema audit from public;
grant usage on schema audit to ${names.app}${names.auditor === undefined ? '' : `, ${names.auditor}`};
${options.context === undefined ? DEFAULT_CONTEXT : ''}
${TABLES}
${tableAccess(names)}
${PRUNED}
${GUARDS}
${EVENT_BODY}
${BODY_FRAME}
${appendFunctions(names)}
${appendFromTemplate(names)}
${appendBatchFunction(names)}
${SEALING}
${readerCheck(names)}
${personalValues(names)}
${QUERY_INDEXES}
${CANONICAL_JSON}
${captureFunctions(names)}
${CHECKPOINTS}
${checkpointAccess(names)}
${COPIES}
${copyAccess(names)}
${prunedAccess(names)}
${pruning(names)}
revoke all on all functions in schema audit from public, ${names.app};
${callable.map((signature) => `grant execute on function audit.${signature} to ${names.app};`).join('\n')}
${names.auditor === undefined ? '' : `grant execute on function audit.assert_reads(uuid) to ${names.auditor};`}
${names.copier === undefined ? '' : `grant execute on function audit.assert_reads(uuid) to ${names.copier};`}
${names.retention === undefined ? '' : `grant execute on function audit.prune(uuid, timestamp with time zone, text) to ${names.retention.role};`}
${owner === undefined ? '' : 'set local role none;'}
`,
    },
  ];
}

function retentionOf({ role, afterDays }: NonNullable<AuditMigrationOptions['retention']>) {
  if (!Number.isSafeInteger(afterDays) || afterDays < 1 || afterDays > 36_500) {
    throw new TypeError('retention.afterDays: expected an integer from 1 to 36500');
  }
  return { role: identifier(role), afterDays };
}

/**
 * An owner is above its own guards, and whoever signs, copies or audits reads every organisation: the app is neither. Whoever prunes
 * must not say what was signed and copied.
 */
function refuseSharedRoles(options: AuditMigrationOptions): void {
  const { appRole, ownerRole, auditorRole, checkpointerRole, copierRole, retention } = options;
  const others = [auditorRole, checkpointerRole, copierRole];
  const alone = [appRole, ownerRole, retention?.role].filter((role) => role !== undefined);
  if (new Set(alone).size < alone.length || others.some((role) => role !== undefined && alone.includes(role)))
    throw new TypeError(
      'the roles of app, owner and retention are for nothing else: name another role for each other part',
    );
}

/** The same migrations for Kysely's migrator, by name. */
export function auditKyselyMigrations(options: AuditMigrationOptions): Record<string, Migration> {
  return Object.fromEntries(
    auditMigrations(options).map(({ name, up }) => [
      name,
      {
        up: async (db: Kysely<unknown>): Promise<void> => {
          await sql.raw(up).execute(db);
        },
      },
    ]),
  );
}
