/** A TCP proxy in a process of its own that adds 1 ms to each answer of the server: what a network in one region adds. */
import { fork } from 'node:child_process';
import { type AddressInfo, connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

/** A running proxy. */
export interface SlowNetwork {
  /** The URL through it. */
  readonly url: string;
  /** Ends it. */
  close(): void;
}

/** Starts a proxy in front of the server of `url`. */
export function slowNetwork(url: string): Promise<SlowNetwork> {
  const target = new URL(url);
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [target.port]);
    child.once('error', reject);
    child.once('message', (port) => {
      const through = new URL(url);
      through.port = String(port);
      resolve({ url: through.href, close: () => child.kill() });
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.argv[2]);
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true });
    client.pipe(upstream);
    upstream.on('data', (chunk) => setTimeout(() => client.write(chunk), 1));
    for (const [end, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      end.on('error', () => other.destroy());
      end.on('close', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
  process.on('disconnect', () => process.exit());
}
