/**
 * A proxy in front of PostgreSQL that knows where its messages begin and end, so that a test can cut the connection at each
 * boundary and within each message, and hold back cancel requests. Speaks no TLS.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Which way a message goes. */
export type Direction = 'toServer' | 'toClient';

/** Where to cut: before the message of this index, or after half of its bytes. */
export interface Cut {
  readonly direction: Direction;
  readonly index: number;
  readonly within: boolean;
}

export interface WireProxy {
  /** URL of the target, through the proxy. */
  readonly url: string;
  /** Sessions opened so far. */
  readonly sessions: number;
  /** Messages that passed since `arm`. */
  readonly passed: Readonly<Record<Direction, number>>;
  /** Cuts made so far. */
  readonly cuts: number;
  /** Counts messages from now on, and cuts once. */
  arm(cut?: Cut): void;
  /** From now on cancel requests are answered at once but kept back; the result delivers them, and resolves when done. */
  holdCancels(): () => Promise<number>;
  close(): void;
}

const CANCEL_REQUEST = 80_877_102;

export async function startWireProxy(target: string): Promise<WireProxy> {
  const upstream = new URL(target);
  const open = () => connect(Number(upstream.port), upstream.hostname);
  let sessions = 0;
  let cuts = 0;
  let passed = { toServer: 0, toClient: 0 };
  let armed: Cut | undefined;
  let held: Buffer[] | undefined;

  /** Bytes of the next whole message, or 0: the first one of a client has no type byte. */
  const lengthOf = (bytes: Buffer, typed: boolean) => {
    const at = typed ? 1 : 0;
    if (bytes.length < at + 4) return 0;
    const length = bytes.readInt32BE(at) + at;
    return bytes.length < length ? 0 : length;
  };

  const relay = (from: Socket, to: Socket, direction: Direction, cut: () => void) => {
    let rest: Buffer = Buffer.alloc(0);
    let typed = direction === 'toClient';
    from.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (let length = lengthOf(rest, typed); length > 0; length = lengthOf(rest, typed)) {
        const message = rest.subarray(0, length);
        rest = rest.subarray(length);
        if (!typed) {
          typed = true;
          if (held !== undefined && message.readInt32BE(4) === CANCEL_REQUEST) {
            held.push(Buffer.from(message));
            from.end();
            return;
          }
          to.write(message);
          continue;
        }
        if (armed?.direction === direction && armed.index === passed[direction]) {
          if (armed.within) to.write(message.subarray(0, Math.ceil(length / 2)));
          armed = undefined;
          cuts++;
          cut();
          return;
        }
        passed[direction]++;
        to.write(message);
      }
    });
  };

  const server = createServer((client) => {
    sessions++;
    const real = open();
    // What was written before the cut still arrives: only then is the place of the cut the one that was asked for.
    const cut = () => {
      client.removeAllListeners('data');
      real.removeAllListeners('data');
      client.resume();
      real.resume();
      client.end();
      real.end();
    };
    relay(client, real, 'toServer', cut);
    relay(real, client, 'toClient', cut);
    for (const socket of [client, real]) {
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        real.end();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  upstream.port = String((server.address() as AddressInfo).port);
  const url = upstream.href;
  upstream.port = new URL(target).port;
  return {
    url,
    get sessions() {
      return sessions;
    },
    get passed() {
      return passed;
    },
    get cuts() {
      return cuts;
    },
    arm: (cut) => {
      passed = { toServer: 0, toClient: 0 };
      armed = cut;
    },
    holdCancels: () => {
      const requests: Buffer[] = [];
      held = requests;
      return async () => {
        held = undefined;
        for (const request of requests) {
          const socket = open();
          socket.resume();
          socket.write(request);
          await new Promise((resolve) => socket.once('close', resolve).on('error', resolve));
        }
        return requests.length;
      };
    },
    close: () => server.close(),
  };
}
