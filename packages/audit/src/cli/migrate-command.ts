/**
 * `migrate --print`: the SQL of schema `audit`, for a reviewer to read and the owner role to run. It connects to nothing. Each
 * migration stands in a transaction of its own, so that a script that fails half way leaves nothing.
 */
import { RingfenceAuditError } from '../errors.ts';
import { type AuditMigrationOptions, auditMigrations, type SqlMigration } from '../migrations.ts';
import { parsed } from './arguments.ts';
import { CliError, type Command, messageOf } from './command.ts';
import { MIGRATION_OPTIONS, migrationOptionsOf } from './migration-options.ts';

const OPTIONS = { ...MIGRATION_OPTIONS, print: { type: 'boolean' }, json: { type: 'boolean' } } as const;

/** The command. */
export const migrateCommand: Command = {
  usage: `  migrate --print --app-role <role>
                                   the SQL of the migrations, to be read and run by the owner; roles as for doctor
    --json                         one JSON document on stdout`,
  run: (args, { stdout }) => {
    const { values } = parsed(args, { options: OPTIONS });
    if (values.print !== true)
      throw new CliError('migrate only prints: say --print, and run the SQL as the owner');
    const migrations = checked(migrationOptionsOf('migrate', values));
    stdout.write(
      values.json === true
        ? `${JSON.stringify({ command: 'migrate', migrations })}\n`
        : migrations.map(({ name, up }) => `-- ${name}\nbegin;\n${up.trim()}\ncommit;\n`).join(''),
    );
    return Promise.resolve(0);
  },
};

/** Names that are refused are wrong usage here, not a fault of the program. */
function checked(options: AuditMigrationOptions): readonly SqlMigration[] {
  try {
    return auditMigrations(options);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RingfenceAuditError)
      throw new CliError(messageOf(error));
    throw error;
  }
}
