/**
 * The composition root: the four packages on three pools. Rows are reached through handles on the app role; the audit log
 * is sealed on a pool of the app role without context; data keys lie behind a login of their own.
 */
import { type Audit, createAudit } from '@ringfence/audit';
import { createKeyring, type Keyring, type KmsProvider } from '@ringfence/crypto';
import { postgresKeyStore } from '@ringfence/crypto/postgres';
import { type ContextKey, createTenancy, type OrgId, type Tenancy } from '@ringfence/tenancy';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { events } from './events.ts';
import type { Database } from './schema.ts';

/** What the ledger needs from its environment. */
export interface LedgerConfig {
  /** URL of the app role. */
  readonly appUrl: string;
  /** URL of the key store's own login; the app role has no right on its tables. */
  readonly keysUrl: string;
  /** Key that signs the organisation context. */
  readonly contextKey: ContextKey;
  /** Key-management services that wrap the organisations' data keys. */
  readonly kms: readonly KmsProvider[];
  /** URI of the key-encryption key of an organisation. */
  readonly kekFor: (org: OrgId) => string;
  /** Directory of the encrypted attachments. */
  readonly attachmentsDir: string;
  /** Longest time an organisation's keys work after its KMS last said yes, ms. Default 300 000. */
  readonly leaseMs?: number;
  /** Connections in the app pool. Default 10. */
  readonly poolSize?: number;
}

/** The running app. */
export interface Ledger {
  /** Handles bound to one organisation. */
  readonly tenancy: Tenancy<Database>;
  /** Leases of the organisations' keys. */
  readonly keyring: Keyring;
  /** Directory of the encrypted attachments. */
  readonly attachmentsDir: string;
  /** The audit log. */
  readonly audit: Audit<typeof events>;
  /** Ends the connections. */
  close(): Promise<void>;
}

/** A refusal of the KMS is remembered for 5 s, but never longer than a lease lives. */
function leaseLimits(maxAgeMs: number): { maxAgeMs: number; deniedForMs: number } {
  return { maxAgeMs, deniedForMs: Math.min(5_000, maxAgeMs) };
}

/** How often left-over audit events are sealed, ms. */
const SEAL_LEFTOVERS_MS = 5_000;

/** Wires the four packages together. */
export function createLedger(config: LedgerConfig): Ledger {
  const types = new pg.TypeOverrides();
  types.setTypeParser(pg.types.builtins.DATE, (text) => text); // a booking date has no time zone
  const pool = new pg.Pool({ connectionString: config.appUrl, max: config.poolSize ?? 10, types });
  const background = new pg.Pool({ connectionString: config.appUrl, max: 3 });
  const keyPool = new pg.Pool({ connectionString: config.keysUrl, max: 3 });
  // A lost connection is replaced on the next use; the statement under way on it reports the loss to its caller.
  for (const each of [pool, background, keyPool]) {
    each.on('error', () => {});
    each.on('connect', (client) => client.on('error', () => {}));
  }
  const system = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: background }) });
  const keyStore = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: keyPool }) });
  const keyring = createKeyring({
    app: 'ledger',
    kms: config.kms,
    lease: leaseLimits(config.leaseMs ?? 300_000),
    store: postgresKeyStore(keyStore),
    kekFor: config.kekFor,
  });
  const audit = createAudit({ events, db: system });
  // What a process that died between COMMIT and sealing left behind gets its place in the chain here.
  const leftovers = setInterval(() => {
    audit
      .sealPending()
      .catch((error: unknown) => console.error('sealing left-over audit events failed:', error));
  }, SEAL_LEFTOVERS_MS);
  leftovers.unref();
  return {
    tenancy: createTenancy<Database>({ pool, contextKey: config.contextKey }),
    keyring,
    attachmentsDir: config.attachmentsDir,
    audit,
    close: async () => {
      clearInterval(leftovers);
      await keyring.close();
      await Promise.all([pool.end(), system.destroy(), keyStore.destroy()]);
    },
  };
}
