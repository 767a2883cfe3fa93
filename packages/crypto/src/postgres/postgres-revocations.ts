/**
 * Revocation channel over PostgreSQL LISTEN/NOTIFY. The listening session must be a direct one: a transaction-mode pooler
 * such as pgbouncer drops LISTEN. A lost session is made again, and subscribers are told that they may have missed
 * something.
 * Any role that may connect can notify: a forged message only evicts keys, which costs a KMS call and opens nothing.
 */
import type { OrgId } from '../org-id.ts';
import { parseOrgId } from '../org-id.ts';
import type { RevocationChannel, RevocationListener } from '../revocation.ts';

/** What the channel needs of a connected `pg` client. */
export interface ListeningClient {
  /** Runs one statement. */
  query(text: string, values?: unknown[]): Promise<unknown>;
  /** Registers for notifications, errors and the end of the session. */
  on(
    event: 'notification',
    listener: (message: { channel: string; payload?: string | undefined }) => void,
  ): unknown;
  /** Registers for errors. */
  on(event: 'error', listener: (error: Error) => void): unknown;
  /** Registers for the end of the session. */
  on(event: 'end', listener: () => void): unknown;
  /** Closes the session. */
  end(): Promise<void>;
}

/** Options of the channel. */
export interface PostgresRevocationsOptions {
  /** Opens a session of its own, connected: `async () => { const c = new pg.Client(url); await c.connect(); return c; }`. */
  readonly connect: () => Promise<ListeningClient>;
  /** Name of the notification channel; the same in all processes. Default `ringfence_crypto_revoked`. */
  readonly channel?: string;
  /** Wait before a lost session is made again, ms. Default 1000. */
  readonly reconnectMs?: number;
}

/**
 * Makes the channel.
 *
 * @throws TypeError when the channel name is not 1 to 63 of `a-z 0-9 _`.
 * @example
 * ```ts
 * const revocations = postgresRevocations({ connect: () => connectedClient(url) });
 * const keyring = createKeyring({ ...options, revocations });
 * await keyring.revokeEverywhere(org);
 * ```
 */
export function postgresRevocations(options: PostgresRevocationsOptions): RevocationChannel {
  const channel = options.channel ?? 'ringfence_crypto_revoked';
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(channel)) throw new TypeError('a channel name is 1 to 63 of a-z 0-9 _');
  return new PostgresRevocations(options.connect, channel, options.reconnectMs ?? 1000);
}

class PostgresRevocations implements RevocationChannel {
  readonly #connect: () => Promise<ListeningClient>;
  readonly #channel: string;
  readonly #reconnectMs: number;

  constructor(connect: () => Promise<ListeningClient>, channel: string, reconnectMs: number) {
    this.#connect = connect;
    this.#channel = channel;
    this.#reconnectMs = reconnectMs;
  }

  async publish(org: OrgId): Promise<void> {
    const client = await this.#connect();
    client.on('error', () => {}); // reported by the query below, and no other use is made of the session
    try {
      await client.query('select pg_notify($1, $2)', [this.#channel, parseOrgId(org)]);
    } finally {
      await client.end();
    }
  }

  async subscribe(listener: RevocationListener): Promise<() => Promise<void>> {
    const session: Session = { client: undefined, timer: undefined, closed: false };
    await this.#listen(session, listener);
    return async () => {
      session.closed = true;
      clearTimeout(session.timer);
      await session.client?.end();
    };
  }

  async #listen(session: Session, listener: RevocationListener): Promise<void> {
    const client = await this.#connect();
    let lost = false;
    const lose = () => {
      if (lost) return;
      lost = true;
      session.client = undefined;
      this.#reconnect(session, listener);
    };
    client.on('error', lose);
    client.on('end', lose);
    client.on('notification', ({ channel, payload }) => {
      if (channel === this.#channel) deliver(payload, listener);
    });
    try {
      await client.query(`listen "${this.#channel}"`);
    } catch (error) {
      lost = true; // the caller learns it from the error and decides
      await client.end().catch(() => {});
      throw error;
    }
    session.client = client;
    if (session.closed) await client.end();
  }

  #reconnect(session: Session, listener: RevocationListener): void {
    if (session.closed) return;
    session.timer = setTimeout(() => {
      this.#listen(session, listener).then(
        () => listener.missed(),
        () => this.#reconnect(session, listener),
      );
    }, this.#reconnectMs);
    session.timer.unref();
  }
}

interface Session {
  client: ListeningClient | undefined;
  timer: NodeJS.Timeout | undefined;
  closed: boolean;
}

/** A message that names no organisation is no less a reason to look: everything is evicted. */
function deliver(payload: string | undefined, listener: RevocationListener): void {
  let org: OrgId;
  try {
    org = parseOrgId(payload);
  } catch {
    listener.missed();
    return;
  }
  listener.revoked(org);
}
