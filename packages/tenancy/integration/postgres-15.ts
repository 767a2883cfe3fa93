/** Starts Debian's PostgreSQL 15, the oldest one supported, in a folder of its own. A missing one fails with the command that installs it. */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BIN = '/usr/lib/postgresql/15/bin';
/** uid and gid of `nobody`: PostgreSQL refuses to run as root. */
const UNPRIVILEGED = 65_534;

/** A running server. */
export interface Postgres15 {
  /** Superuser connection URL. */
  readonly url: string;
  stop(): Promise<void>;
}

export async function startPostgres15(): Promise<Postgres15> {
  if (!existsSync(join(BIN, 'postgres')))
    throw new Error('PostgreSQL 15 is missing: apt-get install -y --no-install-recommends postgresql-15');
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-pg15-'));
  const asRoot = process.getuid?.() === 0;
  const identity = asRoot ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {};
  chmodSync(folder, 0o755);
  if (asRoot) chownSync(folder, UNPRIVILEGED, UNPRIVILEGED);
  const data = join(folder, 'data');
  const initdb = ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '--locale=C', '--encoding=UTF8'];
  execFileSync(join(BIN, 'initdb'), initdb, { ...identity, cwd: folder, stdio: 'pipe' });
  const port = await freePort();
  const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', `port=${port}`, 'fsync=off'];
  const server = spawn(join(BIN, 'postgres'), ['-D', data, ...settings.flatMap((one) => ['-c', one])], {
    ...identity,
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = new Promise((resolve) => server.once('exit', resolve));
  let log = '';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    void exited.then(() => reject(new Error(`PostgreSQL 15 ended at start:\n${log}`)));
    server.stderr.on('data', (chunk: Buffer) => {
      if (log.length < 20_000) log += chunk.toString();
      if (log.includes('ready to accept connections')) resolve();
    });
  });
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    stop: async () => {
      server.kill('SIGINT');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port on 127.0.0.1');
  return address.port;
}
