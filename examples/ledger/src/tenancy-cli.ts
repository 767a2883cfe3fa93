/** Runs the command line of `@ringfence/tenancy` on a provisioned ledger, as CI does: another process, its exit code. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { ContextKey } from '@ringfence/tenancy';

/** Where the ledger is, and the key its handles sign with. */
export interface ProvisionedDatabase {
  readonly appUrl: string;
  readonly app: string;
  readonly ownerUrl: string;
  readonly superuserUrl: string;
  readonly contextKey: ContextKey;
}

/** How a command ended. */
export interface CliOutcome {
  /** 0 fine, 1 findings, 2 wrong usage or no answer from the database. */
  readonly exitCode: number;
  /** What it printed. */
  readonly output: string;
}

/** The program from source; an installed package has it as `tenancy`. */
const PROGRAM = fileURLToPath(new URL('../../../packages/tenancy/src/cli/main.ts', import.meta.url));
/** Where the configuration lies. */
const FOLDER = fileURLToPath(new URL('..', import.meta.url));

/** Runs one command, e.g. `doctor`, `--strict`. */
export async function tenancyCli(
  { appUrl, app, ownerUrl, superuserUrl, contextKey }: ProvisionedDatabase,
  ...args: readonly string[]
): Promise<CliOutcome> {
  const child = spawn(process.execPath, ['--conditions=@ringfence/source', PROGRAM, ...args], {
    cwd: FOLDER,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      LEDGER_APP_ROLE: app,
      LEDGER_APP_URL: appUrl,
      LEDGER_DATABASE_URL: args[0] === 'probe' ? superuserUrl : ownerUrl,
      LEDGER_CONTEXT_KEY_ID: contextKey.id,
      LEDGER_CONTEXT_SECRET: Buffer.from(contextKey.secret).toString('base64'),
    },
  });
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { exitCode: exitCode ?? 2, output: stdout + stderr };
}
