/**
 * `migrate --print`: the SQL of the PostgreSQL stores, for a reviewer to read and the owner role to run. It connects to
 * nothing. Each migration stands in a transaction of its own, so that a script that fails half way leaves nothing, and
 * the change of role in it never outlasts it.
 */
import { type AuthzMigrationOptions, authzMigrations, type SqlMigration } from '../postgres/migrations.ts';
import { CliError, type Command, parsed } from './command.ts';

const OPTIONS = {
  print: { type: 'boolean' },
  'app-role': { type: 'string' },
  'owner-role': { type: 'string' },
  'system-role': { type: 'string' },
  org: { type: 'string' },
  json: { type: 'boolean' },
} as const;

/** The command. */
export const migrateCommand: Command = {
  usage: `  migrate --print       the SQL of the PostgreSQL stores, to be read and run by the owner
    --app-role <role>   the application's login; required
    --system-role <r>   the login that finds keys and reads and writes revocations
    --owner-role <role> owner of the schema (else the role that runs the SQL)
    --org <call>        the organisation of the transaction, e.g. "tenancy.org_id()"`,
  run: (args) => {
    const { values } = parsed(args, OPTIONS, []);
    if (values.print !== true)
      throw new CliError('cli.usage', 'migrate only prints: say --print, and run the SQL as the owner');
    const { 'app-role': appRole, 'owner-role': ownerRole, 'system-role': systemRole, org } = values;
    if (appRole === undefined) throw new CliError('cli.usage', 'needs --app-role');
    const migrations = checked({
      appRole,
      ...(ownerRole === undefined ? {} : { ownerRole }),
      ...(systemRole === undefined ? {} : { systemRole }),
      ...(org === undefined ? {} : { org }),
    });
    return Promise.resolve({
      exit: 0,
      document: { migrations },
      lines: migrations.flatMap(({ name, up }) => [`-- ${name}`, 'begin;', up.trim(), 'commit;']),
    });
  },
};

/** Names that are refused are wrong usage here, not a fault of the program. */
function checked(options: AuthzMigrationOptions): readonly SqlMigration[] {
  try {
    return authzMigrations(options);
  } catch (error) {
    if (error instanceof TypeError) throw new CliError('cli.usage', error.message);
    throw error;
  }
}
