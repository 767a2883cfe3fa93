/**
 * The DDL of schema `audit`: plain SQL that a reviewer reads before the owner role runs it. Nothing here runs by itself.
 * Needs PostgreSQL 16 or later (IS JSON … WITH UNIQUE KEYS).
 */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { functionCall, identifier } from './identifier.ts';
import { appendFunction } from './schema/append.ts';
import { DEFAULT_CONTEXT } from './schema/context.ts';
import { GUARDS } from './schema/guards.ts';
import type { SchemaNames } from './schema/names.ts';
import { readerCheck } from './schema/reading.ts';
import { SEALING } from './schema/seal.ts';
import { TABLES, tableAccess } from './schema/tables.ts';

/** Settings of the migrations. */
export interface AuditMigrationOptions {
  /** The application's login role: may append, seal and read its own organisation, nothing else. */
  readonly appRole: string;
  /** Owner of the schema, best a NOLOGIN role of which the migrating role is a member. Default: the migrating role. */
  readonly ownerRole?: string;
  /** A role that reads every organisation's log, to verify it. Default: none. */
  readonly auditorRole?: string;
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
  const names: SchemaNames = {
    app: identifier(options.appRole),
    auditor: options.auditorRole === undefined ? undefined : identifier(options.auditorRole),
    context,
    org: `(${context}).org_id`,
  };
  const callable = [
    'append(uuid, text, boolean)',
    'seal_pending(uuid[], uuid[])',
    'pending()',
    'assert_reads(uuid)',
  ];
  if (options.context === undefined) callable.push('context()');
  return [
    {
      name: '0001_audit_chain',
      up: `
create schema audit${owner === undefined ? '' : ` authorization ${owner}`};
${owner === undefined ? '' : `set local role ${owner};`}
revoke all on schema audit from public;
grant usage on schema audit to ${names.app}${names.auditor === undefined ? '' : `, ${names.auditor}`};
${options.context === undefined ? DEFAULT_CONTEXT : ''}
${TABLES}
${tableAccess(names)}
${GUARDS}
${appendFunction(names)}
${SEALING}
${readerCheck(names)}
revoke all on all functions in schema audit from public, ${names.app};
${callable.map((signature) => `grant execute on function audit.${signature} to ${names.app};`).join('\n')}
${names.auditor === undefined ? '' : `grant execute on function audit.assert_reads(uuid) to ${names.auditor};`}
${owner === undefined ? '' : 'set local role none;'}
`,
    },
  ];
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
