/**
 * A TCP proxy whose target can be taken away: `refusing` ends every connection, as where a server is down; `silent` lets
 * nothing through and ends nothing, as where a network drops packets. A connection that was silent once stays so.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type Weather = 'open' | 'refusing' | 'silent';

export interface OutageProxy {
  /** URL of the target, through the proxy. */
  readonly url: string;
  /** What happens from now on. */
  become(weather: Weather): void;
  close(): Promise<void>;
}

export async function outageProxy(target: string): Promise<OutageProxy> {
  const upstream = new URL(target);
  const [host, port] = [upstream.hostname, Number(upstream.port)];
  let weather: Weather = 'open';
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((client) => {
    client.on('error', () => {});
    if (weather === 'refusing') return client.destroy();
    if (weather === 'silent') {
      client.pause();
      pairs.add([client, client]);
      return;
    }
    const real = connect(port, host);
    real.on('error', () => {});
    const pair = [client, real] as const;
    pairs.add(pair);
    client.pipe(real);
    real.pipe(client);
    for (const one of pair) {
      one.on('close', () => {
        if (weather === 'silent') return;
        pairs.delete(pair);
        client.destroy();
        real.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  upstream.port = String((server.address() as AddressInfo).port);
  return {
    url: upstream.href,
    become: (next) => {
      weather = next;
      if (next === 'open') return;
      for (const [client, real] of pairs) {
        client.unpipe(real).pause();
        real.unpipe(client).pause();
        // A silent network does not tell the server either that its client has gone.
        for (const one of [client, real]) if (next === 'silent') one.removeAllListeners('close');
        if (next === 'refusing') client.destroy();
        if (next === 'refusing') real.destroy();
      }
    },
    close: async () => {
      for (const pair of pairs) for (const one of pair) one.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
