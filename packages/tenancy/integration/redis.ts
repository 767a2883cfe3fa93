/** A redis-server of one test file, on a free port and in a folder of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A running server. */
export interface RedisServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** Starts one. A missing binary fails, with the command that installs it. */
export async function startRedis(): Promise<RedisServer> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-redis-'));
  const server = spawn('redis-server', [
    ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
    ...['--save', '', '--appendonly', 'no', '--daemonize', 'no'],
  ]);
  const ended = once(server, 'exit').catch(() => {});
  await new Promise<void>((resolve, reject) => {
    let log = '';
    server.once('error', (cause) =>
      reject(
        new Error('redis-server is missing: apt-get install -y --no-install-recommends redis-server', {
          cause,
        }),
      ),
    );
    server.once('exit', () => reject(new Error(`redis-server ended: ${log}`)));
    server.stdout.on('data', (chunk: Buffer) => {
      log += chunk.toString('utf8');
      if (/ready to accept connections/i.test(log)) resolve();
    });
  });
  return {
    port,
    stop: async () => {
      server.kill();
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
