/**
 * Cancels what a connection runs, by a CancelRequest of the wire protocol on a connection of its own ("Canceling Requests in
 * Progress"): encrypted where the pool's are. Not by `pg_cancel_backend(pid)`: behind a pooler the process id the client
 * knows is the pooler's, and may be that of another session; a CancelRequest carries the secret of the session it is for.
 *
 * The server takes no notice of which statement was meant: a late request ends whatever the session runs by then. So
 * whoever calls this must not lend the session again.
 */
import pg, { type ClientConfig, type PoolClient } from 'pg';

/** Longest wait for the server to take the request, ms. */
const CANCEL_MS = 10_000;

/** The parts of the driver's connection that speak before there is a session; not in the published types. */
interface ControlConnection {
  readonly ssl: unknown;
  readonly sslNegotiation: string;
  readonly stream: { destroy(error: Error): void };
  on(event: 'connect' | 'sslconnect' | 'end', listener: () => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
  connect(port: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processId: number, secretKey: number): void;
}

/** Sends the request; resolves once the server has closed its connection, which is after it has signalled the session. */
export function requestCancel(options: ClientConfig, client: PoolClient): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const control = new pg.Client(options);
  const { connection } = control as unknown as { connection: ControlConnection };
  return new Promise((resolve, reject) => {
    const send = () => connection.cancel(processID, secretKey);
    const late = setTimeout(() => connection.stream.destroy(new Error('no answer in time')), CANCEL_MS);
    connection.on('error', reject);
    connection.on('end', () => {
      clearTimeout(late);
      resolve();
    });
    connection.on('sslconnect', send);
    connection.on('connect', () => {
      if (!connection.ssl) send();
      else if (connection.sslNegotiation !== 'direct') connection.requestSsl();
    });
    if (control.host.startsWith('/')) connection.connect(`${control.host}/.s.PGSQL.${control.port}`);
    else connection.connect(control.port, control.host);
  });
}
