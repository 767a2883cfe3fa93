/**
 * Triggers that record every change of a table of the application, whoever makes it: also what is typed into psql. The
 * function behind them is part of schema `audit`; here are the two statements per table that switch it on.
 *
 * ENABLE ALWAYS, as the guards: session_replication_role = replica does not keep them from firing.
 */
import { identifier } from '../identifier.ts';
import type { SqlMigration } from '../migrations.ts';

/** What is captured, and what of it is recorded. */
export interface CaptureOptions {
  /** The table, `schema.table`. Whoever owns it is trusted: to drop its triggers, and with the types of its columns. */
  readonly table: string;
  /** Type of the event's target, e.g. `entry`. */
  readonly target: string;
  /** Columns that name a row, in order. Default `['id']`. They are recorded: choose no personal ones. */
  readonly idColumns?: readonly string[];
  /** Column of type uuid that says in whose chain a change belongs. Default `org_id`. */
  readonly orgColumn?: string;
  /** Columns that are not recorded; a change of nothing else makes no event. Default none. */
  readonly exclude?: readonly string[];
  /** Columns of which only the name is recorded when they change. Default none. */
  readonly redact?: readonly string[];
  /**
   * A change outside the application, without a context: `refuse` it (default), or `record` it in the chain of the row's
   * organisation with the actor `db:<login role>`.
   */
  readonly withoutContext?: 'refuse' | 'record';
}

/** The triggers of one table, as the doctor looks for them. */
export interface Capture {
  /** Schema of the table. */
  readonly schema: string;
  /** Name of the table. */
  readonly table: string;
  /** Definitions by name, in the words of `pg_get_triggerdef`. */
  readonly triggers: ReadonlyMap<string, string>;
  /** Statements that make them, by name. */
  readonly ddl: ReadonlyMap<string, string>;
}

const TABLE = /^([^.]+)\.([^.]+)$/;
const TARGET = /^[a-z][a-z0-9_]{0,62}$/;
const SHAPES: readonly (readonly [string, string])[] = [
  ['audit_capture', 'AFTER INSERT OR DELETE OR UPDATE ON {table} FOR EACH ROW'],
  ['audit_capture_truncate', 'BEFORE TRUNCATE ON {table} FOR EACH STATEMENT'],
];

/**
 * The migration that captures a table. Run it as the table's owner, who needs EXECUTE on `audit.capture_row()`: the owner of
 * schema `audit` has it, others are granted it.
 *
 * @throws RingfenceAuditError `audit.invalid_identifier` when the table's name is not plain.
 * @throws TypeError when the target is no lower-case word, a column is named in two lists, or an id or the organisation is hidden.
 * @example
 * ```ts
 * const { up } = captureTriggers({ table: 'ledger.entry', target: 'entry', exclude: ['updated_at'], redact: ['iban'] });
 * ```
 */
export function captureTriggers(options: CaptureOptions): SqlMigration {
  const { schema, table, ddl } = captureOf(options);
  return { name: `audit_capture_${schema}_${table}`, up: `${[...ddl.values()].join('\n')}\n` };
}

/**
 * The triggers of one table, and how to make them.
 *
 * @throws as `captureTriggers`.
 */
export function captureOf(options: CaptureOptions): Capture {
  const [, schema = '', table = ''] = TABLE.exec(options.table) ?? [];
  const name = `${identifier(schema)}.${identifier(table)}`;
  const argument = settingsOf(options);
  const triggers = new Map<string, string>();
  const ddl = new Map<string, string>();
  for (const [trigger, shape] of SHAPES) {
    const call = `EXECUTE FUNCTION audit.capture_row(${shape.includes('ROW') ? `'${argument.replaceAll("'", "''")}'` : ''})`;
    const definition = `CREATE TRIGGER ${trigger} ${shape.replace('{table}', name)} ${call}`;
    triggers.set(trigger, definition);
    ddl.set(trigger, `${definition};\nALTER TABLE ${name} ENABLE ALWAYS TRIGGER ${trigger};`);
  }
  return { schema, table, triggers, ddl };
}

function settingsOf({
  target,
  idColumns = ['id'],
  orgColumn = 'org_id',
  exclude = [],
  redact = [],
  withoutContext = 'refuse',
}: CaptureOptions): string {
  if (!TARGET.test(target))
    throw new TypeError('target: expected a lower-case word of at most 63 characters');
  if (idColumns.length === 0) throw new TypeError('idColumns: expected at least one column');
  if (withoutContext !== 'refuse' && withoutContext !== 'record')
    throw new TypeError('withoutContext: expected refuse or record');
  const hidden = [...exclude, ...redact];
  for (const column of hidden) {
    if ([...idColumns, orgColumn].includes(column))
      throw new TypeError(
        `column ${JSON.stringify(column)} names the row or its organisation: it cannot be hidden`,
      );
  }
  if (new Set(hidden).size !== hidden.length)
    throw new TypeError('exclude and redact: a column is named twice');
  for (const column of [...hidden, ...idColumns, orgColumn]) {
    // A backslash or a NUL would not reach the trigger as it is written here.
    if (!/^[^\\\p{Cc}\p{Surrogate}]{1,63}$/u.test(column))
      throw new TypeError(`column ${JSON.stringify(column)} is no name of a column`);
  }
  return JSON.stringify({
    exclude,
    id: idColumns,
    org: orgColumn,
    redact,
    target,
    without_context: withoutContext,
  });
}
