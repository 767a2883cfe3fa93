/** `doctor`: examines the guards of the log in a database. Reads catalogs only, so any role can run it. */
import { auditDoctor } from '../doctor/doctor.ts';
import { formatAuditDoctor } from '../doctor/text-report.ts';
import { auditMigrations } from '../migrations.ts';
import { orUsage, parsed } from './arguments.ts';
import { CliError, type Command } from './command.ts';
import { withDatabase } from './database.ts';
import { MIGRATION_OPTIONS, MIGRATION_USAGE, migrationOptionsOf } from './migration-options.ts';

const OPTIONS = {
  database: { type: 'string' },
  ...MIGRATION_OPTIONS,
  strict: { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

/** The command. */
export const doctorCommand: Command = {
  usage: `  doctor --database <url> --app-role <role>
                                   examine the guards of the log, with the settings of its migrations
${MIGRATION_USAGE}
    --strict                       warnings, too, end with exit code 1
    --json                         one JSON document on stdout`,
  run: async (args, { stdout }) => {
    const { values } = parsed(args, { options: OPTIONS });
    const { database, json, strict } = values;
    if (database === undefined) throw new CliError('doctor needs --database');
    const options = migrationOptionsOf('doctor', values);
    await orUsage(() => auditMigrations(options)); // roles that no migration has are told before anything is asked
    const report = await withDatabase(database, (db) => auditDoctor(db, options));
    stdout.write(
      json === true ? `${JSON.stringify({ command: 'doctor', ...report })}\n` : formatAuditDoctor(report),
    );
    return report.counts.error > 0 || (strict === true && report.counts.warning > 0) ? 1 : 0;
  },
};
