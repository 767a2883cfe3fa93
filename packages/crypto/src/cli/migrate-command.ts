/**
 * `migrate --print`: the SQL of schema `crypto`, for a reviewer to read and the owner role to run. It connects to nothing and reads no
 * configuration. Each migration stands in a transaction of its own, so that a script that fails half way leaves nothing.
 */
import { cryptoMigrations, type SqlMigration } from '../postgres/migrations.ts';
import { type CliArguments, usage } from './arguments.ts';
import { causeText } from './cli-error.ts';
import type { CommandResult } from './command.ts';

/** Runs `migrate`. */
export function migrate(args: CliArguments): CommandResult {
  if (!args.on.has('print')) throw usage('migrate only prints: say --print, and run the SQL as the owner');
  const migrations = checked(args.text['app-role'], args.text['operator-role']);
  return {
    exit: 0,
    document: { command: 'migrate', migrations },
    lines: migrations.flatMap(({ name, up }) => [`-- ${name}`, 'begin;', up.trim(), 'commit;']),
  };
}

/** Names that are refused are wrong usage here, not a fault of the program. */
function checked(appRole: string | undefined, operatorRole: string | undefined): readonly SqlMigration[] {
  if (appRole === undefined) throw usage('migrate needs --app-role');
  try {
    return cryptoMigrations({ appRole, ...(operatorRole === undefined ? {} : { operatorRole }) });
  } catch (error) {
    throw error instanceof TypeError ? usage(causeText(error)) : error;
  }
}
