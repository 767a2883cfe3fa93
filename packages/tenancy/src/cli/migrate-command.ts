/**
 * `migrate --print`: the SQL of schema `tenancy`, for a reviewer to read and the owner role to run. It connects to nothing and reads no
 * configuration. Each migration stands in a transaction of its own, so that a script that fails half way leaves nothing.
 */
import { RingfenceTenancyError } from '../errors.ts';
import {
  breakGlassMigrations,
  jobMigrations,
  type SqlMigration,
  tenancyMigrations,
} from '../migrations/index.ts';
import { type CliArguments, usage } from './arguments.ts';
import { causeText } from './cli-error.ts';
import type { CommandResult } from './command.ts';

/** Runs `migrate`. */
export function migrate(args: CliArguments): CommandResult {
  if (!args.on.has('print')) throw usage('migrate only prints: say --print, and run the SQL as the owner');
  const migrations = checked(args);
  return {
    exit: 0,
    document: { command: 'migrate', migrations },
    lines: migrations.flatMap(({ name, up }) => [`-- ${name}`, 'begin;', up.trim(), 'commit;']),
  };
}

/** Names that are refused are wrong usage here, not a fault of the program. */
function checked({ on, text }: CliArguments): readonly SqlMigration[] {
  const { 'app-role': appRole, 'break-glass-role': role } = text;
  if (appRole === undefined) throw usage('migrate needs --app-role');
  if (role === appRole) throw usage('the roles of application and break-glass are not two different ones');
  try {
    return [
      ...tenancyMigrations({ appRole, signedContext: true }),
      ...(on.has('jobs') ? jobMigrations({ appRole }) : []),
      ...(role === undefined ? [] : breakGlassMigrations({ role })),
    ];
  } catch (error) {
    throw error instanceof RingfenceTenancyError ? usage(causeText(error)) : error;
  }
}
