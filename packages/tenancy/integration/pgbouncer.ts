/** Debian's pgbouncer in transaction mode, in front of a server, on a free port and in a folder of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A running pooler. */
export interface Pgbouncer {
  /** The URL given, through the pooler. */
  through(url: string): string;
  stop(): Promise<void>;
}

/** uid and gid of `nobody`: pgbouncer refuses to run as root. */
const UNPRIVILEGED = 65_534;

/** Starts one with at most `sessions` sessions of the server per role. A missing binary fails, with the command that installs it. */
export async function startPgbouncer(serverUrl: string, sessions: number): Promise<Pgbouncer> {
  const target = new URL(serverUrl);
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-pgbouncer-'));
  const port = await freePort();
  const { username, password } = target;
  writeFileSync(join(folder, 'users.txt'), `"${username}" "${password}"\n`);
  writeFileSync(
    join(folder, 'pgbouncer.ini'),
    `[databases]
* = host=${target.hostname} port=${target.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${join(folder, 'users.txt')}
pool_mode = transaction
default_pool_size = ${sessions}
max_client_conn = 500
`,
  );
  const asRoot = process.getuid?.() === 0;
  const identity = asRoot ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {};
  chmodSync(folder, 0o755);
  if (asRoot) chownSync(folder, UNPRIVILEGED, UNPRIVILEGED);
  const pooler = spawn('/usr/sbin/pgbouncer', [join(folder, 'pgbouncer.ini')], { ...identity, cwd: folder });
  const ended = once(pooler, 'exit').catch(() => {});
  await new Promise<void>((resolve, reject) => {
    let log = '';
    const missing = 'pgbouncer is missing: apt-get install -y --no-install-recommends pgbouncer';
    pooler.once('error', (cause) => reject(new Error(missing, { cause })));
    pooler.once('exit', () => reject(new Error(`pgbouncer ended at start: ${log}`)));
    pooler.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString('utf8');
      if (log.includes('process up')) resolve();
    });
  });
  return {
    through: (url) => {
      const through = new URL(url);
      through.hostname = '127.0.0.1';
      through.port = String(port);
      return through.href;
    },
    stop: async () => {
      pooler.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port on 127.0.0.1');
  return address.port;
}
