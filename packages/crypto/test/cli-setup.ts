/** What the tests of the command line share: a key store, the program as a process of its own, and on a terminal. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createKeyring, type Keyring, type KmsProvider, type OrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { runOnTerminal, type TerminalRun } from './cli-terminal.ts';
import { anyOrg, type KeyDatabase, keyDatabase } from './operations-setup.ts';

const CONDITION = '--conditions=@ringfence/source';
const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
export const CONFIG: string = fileURLToPath(new URL('./cli-config.ts', import.meta.url));

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly started?: (child: ChildProcess) => void;
  readonly config?: string | null;
}

/** Surroundings of the command line. */
export class CliStage {
  readonly database: KeyDatabase;
  readonly keyring: Keyring;
  readonly kms: KmsProvider;
  readonly folder: string = mkdtempSync(join(tmpdir(), 'crypto-cli-'));
  readonly #keks = { a: randomBytes(32), b: randomBytes(32) };

  private constructor(database: KeyDatabase) {
    this.database = database;
    this.kms = localKms({ keks: this.#keks });
    this.keyring = createKeyring({
      app: 'test',
      kms: [this.kms],
      store: database.store,
      kekFor: () => 'local:a',
    });
  }

  static async open(serverUrl: string): Promise<CliStage> {
    return new CliStage(await keyDatabase(serverUrl, 'cli'));
  }

  async close(): Promise<void> {
    rmSync(this.folder, { recursive: true });
    await this.keyring.close();
    await this.database.close();
  }

  /** Runs the program as a process of its own, its output piped. */
  cli(args: readonly string[], options: RunOptions = {}): Promise<Run> {
    const config = options.config === null ? [] : ['--config', options.config ?? CONFIG];
    const child = spawn(process.execPath, [CONDITION, MAIN, ...args, ...config], {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        DATABASE_URL: this.database.ownerUrl,
        KEK_A: this.#keks.a.toString('hex'),
        KEK_B: this.#keks.b.toString('hex'),
        ...options.env,
      },
    });
    const out = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => {
      out.stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      out.stderr += chunk;
    });
    options.started?.(child);
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, ...out }));
    });
  }

  /** Runs the command line in this process, on a terminal. */
  onTerminal(
    args: readonly string[],
    input: string,
    env?: Readonly<Record<string, string>>,
  ): Promise<TerminalRun> {
    return runOnTerminal(
      { folder: this.folder, store: this.database.store, kms: this.kms },
      args,
      input,
      env,
    );
  }

  async madeOrg(id: OrgId = anyOrg()): Promise<OrgId> {
    await this.keyring.createOrg(id);
    return id;
  }
}
