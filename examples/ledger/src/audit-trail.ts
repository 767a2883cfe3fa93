/**
 * What makes the audit log hold against its own administrators: signed checkpoints, a customer's witness, a copy elsewhere.
 * In production each runs away from the app and from each other (`audit-trail-process.ts`): the signing key and the copy are
 * then out of reach of whoever has the database. The demo composes both in one place, on the logins of their own.
 *
 * Invariant: a database that stops answering fails a statement, and never holds the process back for good.
 */
import { Socket } from 'node:net';
import {
  type Checkpointer,
  createCheckpointer,
  type Signer,
  verifierKeyOf,
  type Witness,
} from '@ringfence/audit/checkpoint';
import { createWriteOnceCopy, type WriteOnceCopy, type WriteOnceStore } from '@ringfence/audit/write-once';
import type { OrgId } from '@ringfence/tenancy';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';

/** Name of this deployment in its checkpoints: a log's origin is this, `/` and its organisation. */
export const AUDIT_ORIGIN = 'ledger.example/audit';

/** Longest silence of the database, ms: the longest statement sorts the 10 000 links of a segment. */
const SILENCE_MS = 60_000;

/** A login of the audit trail. */
export interface LoginConfig {
  /** URL of the login, straight to PostgreSQL: pgbouncer refuses the settings of the session. */
  readonly databaseUrl: string;
  /** Time that the database may say nothing, to a statement or inside a transaction, ms. Default 60 000. */
  readonly silenceMs?: number;
}

/** What signing needs. */
export interface SigningConfig extends LoginConfig {
  /** Signs checkpoints. */
  readonly signer: Signer;
  /** Verifier keys that signed before the signer's. Default: none. */
  readonly formerKeys?: readonly string[];
  /** Who cosigns the log of an organisation. Default: nobody. */
  readonly witnesses?: (org: OrgId) => readonly Witness[];
}

/** What copying needs. The signing key is not among it. */
export interface CopyingConfig extends LoginConfig {
  /** Where the copy goes. */
  readonly store: WriteOnceStore;
  /** Verifier keys that sign the checkpoints, now or before. */
  readonly keys: readonly string[];
}

/** A checkpointer, connected as the login that reads places and hashes, and adds checkpoints. */
export interface Signing {
  /** Signs each organisation's log and has it cosigned. */
  readonly checkpointer: Checkpointer;
  /** Ends the connections. */
  close(): Promise<void>;
}

/** A copier, connected as the login that reads every log, and adds what it copied. */
export interface Copying {
  /** Copies what was signed. */
  readonly copy: WriteOnceCopy;
  /** The connection, for what else its login may read. */
  readonly db: Kysely<unknown>;
  /** Ends the connections. */
  close(): Promise<void>;
}

/** Connects a checkpointer. */
export function connectSigning({ signer, formerKeys, witnesses, ...login }: SigningConfig): Signing {
  const db = connected(login);
  return {
    checkpointer: createCheckpointer({
      db,
      signer,
      origin: AUDIT_ORIGIN,
      ...(formerKeys === undefined ? {} : { formerKeys }),
      ...(witnesses === undefined ? {} : { witnesses }),
    }),
    close: () => db.destroy(),
  };
}

/** Connects a copier. */
export function connectCopying({ store, keys, ...login }: CopyingConfig): Copying {
  const db = connected(login);
  return {
    copy: createWriteOnceCopy({ db, store, origin: AUDIT_ORIGIN, keys }),
    db,
    close: () => db.destroy(),
  };
}

/** What both in one process need. */
export interface AuditTrailConfig extends Pick<SigningConfig, 'signer' | 'witnesses'> {
  /** URL of the login that reads places and hashes, and adds checkpoints. */
  readonly checkpointerUrl: string;
  /** URL of the login that reads every log, and adds what it copied. */
  readonly copierUrl: string;
  /** Where the copy goes. */
  readonly store: WriteOnceStore;
}

/** Checkpointer and copier, connected. */
export interface AuditTrail extends Pick<Signing, 'checkpointer'>, Pick<Copying, 'copy'> {
  /** Ends the connections. */
  close(): Promise<void>;
}

/** Connects checkpointer and copier. */
export function createAuditTrail(config: AuditTrailConfig): AuditTrail {
  const { checkpointerUrl, copierUrl, signer, store, witnesses } = config;
  const signing = connectSigning({
    databaseUrl: checkpointerUrl,
    signer,
    ...(witnesses === undefined ? {} : { witnesses }),
  });
  const copying = connectCopying({ databaseUrl: copierUrl, store, keys: [verifierKeyOf(signer)] });
  return {
    checkpointer: signing.checkpointer,
    copy: copying.copy,
    close: async () => {
      await Promise.all([signing.close(), copying.close()]);
    },
  };
}

/**
 * A network that drops everything raises no error by itself. Here the client ends a connection that says nothing, and the
 * server ends a transaction whose client says nothing: its locks would hold back the next process for hours.
 */
function connected({ databaseUrl, silenceMs = SILENCE_MS }: LoginConfig): Kysely<unknown> {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: 3, // the lag is read beside the work that it watches
    connectionTimeoutMillis: silenceMs,
    idle_in_transaction_session_timeout: silenceMs,
    stream: () => {
      const socket = new Socket();
      return socket.setTimeout(silenceMs, () => socket.destroy(new Error('the database says nothing')));
    },
  });
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
}
