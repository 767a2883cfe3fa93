/** Faults the protocol servers of the KMS tests play, and a listener that resets every connection. */
import { createServer, type Server, type Socket } from 'node:net';

/** What a protocol server does instead of answering properly. */
export type ServerFault =
  | 'throttled'
  | 'timeout'
  | 'server_error'
  | 'gateway_page'
  | 'malformed'
  | 'denied'
  | 'truncated'
  | 'missing_fields'
  | 'short_key'
  | 'wrong_key_named'
  | 'other_org_key'
  | 'refused_unknown';

/** A port that accepts connections and resets them. */
export interface ResettingListener {
  readonly port: number;
  readonly connections: () => number;
  close(): Promise<void>;
}

/** Listens on the loopback and answers every connection with RST. */
export async function listenAndReset(): Promise<ResettingListener> {
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections += 1;
    socket.on('error', () => undefined);
    socket.resetAndDestroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: portOf(server),
    connections: () => connections,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** The port a listening server was given. */
export function portOf(server: { address(): ReturnType<Server['address']> }): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on TCP');
  return address.port;
}

/** Keeps track of sockets, so that a server with hanging requests can be closed at once. */
export function trackSockets(server: Server): () => void {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}
