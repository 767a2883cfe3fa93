/** Runs the command line of `@ringfence/audit` on a provisioned ledger, as CI and a customer do: another process. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { LedgerRoles } from './provision.ts';
import type { CliOutcome } from './tenancy-cli.ts';

/** The program from source; an installed package has it as `audit`. */
const PROGRAM = fileURLToPath(new URL('../../../packages/audit/src/cli/main.ts', import.meta.url));

/** Starts one command. */
export function auditCommand(...args: readonly string[]): ChildProcessByStdio<null, Readable, Readable> {
  return spawn(process.execPath, ['--conditions=@ringfence/source', PROGRAM, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Examines the guards of the audit log, with the roles they were made for. Reads catalogs only. */
export async function auditDoctor(
  { app, checkpointer, copier, ownerUrl }: LedgerRoles,
  ...args: readonly string[]
): Promise<CliOutcome> {
  const roles = ['--app-role', app, '--checkpointer-role', checkpointer, '--copier-role', copier];
  const database = ['--database', ownerUrl, '--context', 'tenancy.context()'];
  const child = auditCommand('doctor', ...database, ...roles, ...args);
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { exitCode: exitCode ?? 2, output: stdout + stderr };
}
