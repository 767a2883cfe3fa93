/** `doctor`: examines the guards of the log in a database. Reads catalogs only, so any role can run it. */
import { type AuditDoctorOptions, auditDoctor } from '../doctor/doctor.ts';
import { formatAuditDoctor } from '../doctor/text-report.ts';
import { auditMigrations } from '../migrations.ts';
import { orUsage, parsed } from './arguments.ts';
import { CliError, type Command } from './command.ts';
import { withDatabase } from './database.ts';

const OPTIONS = {
  database: { type: 'string' },
  'app-role': { type: 'string' },
  'owner-role': { type: 'string' },
  'auditor-role': { type: 'string' },
  'checkpointer-role': { type: 'string' },
  'copier-role': { type: 'string' },
  'retention-role': { type: 'string' },
  'retention-days': { type: 'string' },
  context: { type: 'string' },
  strict: { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

/** The command. */
export const doctorCommand: Command = {
  usage: `  doctor --database <url> --app-role <role>
                                   examine the guards of the log, with the settings of its migrations
    --owner-role <role>            owner of schema audit
    --auditor-role <role>          a role that reads every log
    --checkpointer-role <role>     the role that adds checkpoints
    --copier-role <role>           the role that copies to a write-once store
    --retention-role <role>        the role that prunes, with
    --retention-days <days>        the days that events are kept at the least
    --context <call>               the context function, e.g. tenancy.context()
    --strict                       warnings, too, end with exit code 1
    --json                         one JSON document on stdout`,
  run: async (args, { stdout }) => {
    const { values } = parsed(args, { options: OPTIONS });
    const { database, json, strict } = values;
    if (database === undefined) throw new CliError('doctor needs --database');
    const options = optionsOf(values);
    await orUsage(() => auditMigrations(options)); // roles that no migration has are told before anything is asked
    const report = await withDatabase(database, (db) => auditDoctor(db, options));
    stdout.write(
      json === true ? `${JSON.stringify({ command: 'doctor', ...report })}\n` : formatAuditDoctor(report),
    );
    return report.counts.error > 0 || (strict === true && report.counts.warning > 0) ? 1 : 0;
  },
};

function optionsOf(
  values: ReturnType<typeof parsed<{ options: typeof OPTIONS }>>['values'],
): AuditDoctorOptions {
  const { context } = values;
  const appRole = values['app-role'];
  const ownerRole = values['owner-role'];
  const auditorRole = values['auditor-role'];
  const checkpointerRole = values['checkpointer-role'];
  const copierRole = values['copier-role'];
  const role = values['retention-role'];
  const days = values['retention-days'];
  if ((role === undefined) !== (days === undefined))
    throw new CliError('doctor needs --retention-role and --retention-days together');
  if (days !== undefined && !/^[1-9]\d{0,4}$/.test(days))
    throw new CliError('--retention-days: expected a number of days, 1 to 36500');
  if (appRole === undefined) throw new CliError('doctor needs --app-role, the login role of the application');
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
