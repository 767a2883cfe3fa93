/** The settings of the migrations as options: `doctor` compares a database with them, `migrate` prints them. */
import type { AuditMigrationOptions } from '../migrations.ts';
import { CliError } from './command.ts';

/** The options. */
export const MIGRATION_OPTIONS = {
  'app-role': { type: 'string' },
  'owner-role': { type: 'string' },
  'auditor-role': { type: 'string' },
  'checkpointer-role': { type: 'string' },
  'copier-role': { type: 'string' },
  'retention-role': { type: 'string' },
  'retention-days': { type: 'string' },
  context: { type: 'string' },
} as const;

/** Their lines of `--help`, but for `--app-role`, which both commands need. */
export const MIGRATION_USAGE = `    --owner-role <role>            owner of schema audit
    --auditor-role <role>          a role that reads every log
    --checkpointer-role <role>     the role that adds checkpoints
    --copier-role <role>           the role that copies to a write-once store
    --retention-role <role>        the role that prunes, with
    --retention-days <days>        the days that events are kept at the least
    --context <call>               the context function, e.g. tenancy.context()`;

/**
 * What was given, as the migrations take it.
 *
 * @throws CliError `cli.usage`.
 */
export function migrationOptionsOf(
  command: string,
  values: { readonly [name in keyof typeof MIGRATION_OPTIONS]?: string | undefined },
): AuditMigrationOptions {
  const { context } = values;
  const appRole = values['app-role'];
  const ownerRole = values['owner-role'];
  const auditorRole = values['auditor-role'];
  const checkpointerRole = values['checkpointer-role'];
  const copierRole = values['copier-role'];
  const role = values['retention-role'];
  const days = values['retention-days'];
  if ((role === undefined) !== (days === undefined))
    throw new CliError(`${command} needs --retention-role and --retention-days together`);
  if (days !== undefined && !/^[1-9]\d{0,4}$/.test(days))
    throw new CliError('--retention-days: expected a number of days, 1 to 36500');
  if (appRole === undefined)
    throw new CliError(`${command} needs --app-role, the login role of the application`);
  return {
    appRole,
    ...(ownerRole === undefined ? {} : { ownerRole }),
    ...(auditorRole === undefined ? {} : { auditorRole }),
    ...(checkpointerRole === undefined ? {} : { checkpointerRole }),
    ...(copierRole === undefined ? {} : { copierRole }),
    ...(role === undefined ? {} : { retention: { role, afterDays: Number(days) } }),
    ...(context === undefined ? {} : { context }),
  };
}
