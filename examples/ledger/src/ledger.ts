/**
 * The composition root: the four packages on their pools. Rows are reached through handles on the app role; the audit log
 * is sealed on a pool of the app role without context; data keys and the job queue lie behind logins of their own, so that
 * SQL injected into a handle reaches neither.
 */
import { createSecretKey } from 'node:crypto';
import { type Audit, createAudit } from '@ringfence/audit';
import { type ApiKeyStore, type ApiKeys, createApiKeys } from '@ringfence/authz/keys';
import { type OrgWork, postgresApiKeyStore, postgresRevocations } from '@ringfence/authz/postgres';
import { type IssuerConfig, Revocations } from '@ringfence/authz/session';
import { createKeyring, type Keyring, type KmsProvider } from '@ringfence/crypto';
import { postgresKeyStore } from '@ringfence/crypto/postgres';
import { type ContextKey, createTenancy, type OrgId, type Tenancy } from '@ringfence/tenancy';
import { createJobs, type JobKey, type JobRefusal, type Jobs } from '@ringfence/tenancy/jobs';
import type { ObjectStorage, OrgObjects } from '@ringfence/tenancy/storage';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { DoorRefusals } from './door-refusals.ts';
import { events } from './events.ts';
import { createIdentity, type Identity } from './identity.ts';
import { type LedgerResources, policy } from './policy.ts';
import { payloads, type Queues } from './queues.ts';
import { recordKnock, recordRefusedKey, reportUnrecorded } from './refusals.ts';
import type { Database } from './schema.ts';

/** What the ledger needs from its environment. */
export interface LedgerConfig {
  /** URL of the app role. */
  readonly appUrl: string;
  /** URL of the login of the stores of data keys and API keys; the app role has no right on their tables. */
  readonly keysUrl: string;
  /** URL of the job queue's own login; the app role has no right on its tables. */
  readonly queueUrl: string;
  /** Key that signs the organisation context. */
  readonly contextKey: ContextKey;
  /** Key that seals jobs. Not the context key: the database holds that one. */
  readonly jobKey: JobKey;
  /** Key-management services that wrap the organisations' data keys. */
  readonly kms: readonly KmsProvider[];
  /** URI of the key-encryption key of an organisation. */
  readonly kekFor: (org: OrgId) => string;
  /** Objects per organisation: statements and attachments, encrypted. It needs no `delete`. The caller ends it. */
  readonly storage: ObjectStorage;
  /** Identity providers whose access tokens open sessions. */
  readonly issuers: readonly IssuerConfig[];
  /** Pepper of the MACs of API keys, and secret behind the digests of who was not let in; at least 32 bytes. Not in the database. */
  readonly apiKeyPepper: Uint8Array;
  /** How long roles and settings that were read count for the session they were read for, ms. Default 1 000. */
  readonly admissionMaxAgeMs?: number;
  /** Hears of a job that was refused before anything of it could be believed; nobody's audit log can. Default: stderr. */
  readonly onForgedJob?: (refusal: JobRefusal) => void;
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
  /** Objects per organisation. */
  readonly storage: ObjectStorage;
  /** Who is who: tokens, members, revocations. */
  readonly identity: Identity;
  /** Who was not let in. */
  readonly atTheDoor: DoorRefusals;
  /** API keys of integrations. */
  readonly apiKeys: ApiKeys<LedgerResources>;
  /** Where they are stored: their MACs, never the keys. */
  readonly apiKeyStore: ApiKeyStore;
  /** The same in a transaction of an organisation, so that its change commits with whatever else the transaction does. */
  readonly apiKeyStoreIn: (trx: Kysely<Database>) => ApiKeyStore;
  /** How long an admission counts, ms. */
  readonly admissionMaxAgeMs: number;
  /** The audit log. */
  readonly audit: Audit<typeof events>;
  /** Seals jobs, and verifies them in workers. */
  readonly jobs: Jobs<Queues, Database, OrgObjects>;
  /** The queue that carries them. It is not trusted. */
  readonly queue: PgBoss;
  /** Ends workers and connections. */
  close(): Promise<void>;
}

/** A refusal of the KMS is remembered for 5 s, but never longer than a lease lives. */
function leaseLimits(maxAgeMs: number): { maxAgeMs: number; deniedForMs: number } {
  return { maxAgeMs, deniedForMs: Math.min(5_000, maxAgeMs) };
}

/** How often left-over audit events are sealed, ms. */
const SEAL_LEFTOVERS_MS = 5_000;

/** Wires the four packages together and connects to the queue. */
export async function createLedger(config: LedgerConfig): Promise<Ledger> {
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
  const tenancy = createTenancy<Database>({ pool, contextKey: config.contextKey });
  const feed = postgresRevocations({
    db: keyStore,
    connect: async () => {
      const client = new pg.Client({ connectionString: config.keysUrl });
      await client.connect();
      return client;
    },
    onError: (error) => console.error('revocations of other processes are not seen:', error),
  });
  const revocations = new Revocations({ publish: feed.publish });
  const identity = createIdentity(tenancy, config.issuers, revocations);
  const unfollow = await feed.follow(revocations);
  const { admissionMaxAgeMs = 1_000 } = config;
  // A key is looked up before its organisation is known: not by the app role.
  const apiKeysBehind = (inOrg: OrgWork) => postgresApiKeyStore({ db: keyStore, inOrg });
  const apiKeyStore = apiKeysBehind((org, work) =>
    work(tenancy.forOrg(org, { actor: 'system:keys', kind: 'system' })),
  );
  const apiKeys = createApiKeys({
    prefix: 'ledger',
    type: 'live',
    peppers: { current: 'p1', keys: { p1: createSecretKey(config.apiKeyPepper) } },
    store: apiKeyStore,
    policy: () => policy,
    directory: identity.directory,
    revocations: identity.revocations,
    onLastUsedError: (error) => console.error('the last use of API keys could not be written:', error),
    onRefused: (refused) => recordRefusedKey({ audit, tenancy }, refused),
    onRefusedError: reportUnrecorded,
  });
  const atTheDoor = new DoorRefusals(config.apiKeyPepper, (knock) => recordKnock({ audit, tenancy }, knock));
  const queue = new PgBoss({ connectionString: config.queueUrl, max: 3, migrate: false, schedule: false });
  queue.on('error', (error) => console.error('the job queue reports an error:', error));
  await queue.start();
  // What a process that died between COMMIT and sealing left behind gets its place in the chain here.
  const stop = new AbortController();
  const sealing = audit.keepSealed({
    signal: stop.signal,
    pollMs: SEAL_LEFTOVERS_MS,
    onUnsealed: ({ pending, oldestPendingAgeMs }) =>
      console.error(`${pending} audit events wait to be sealed, the oldest for ${oldestPendingAgeMs} ms`),
    onError: (error) => console.error('sealing left-over audit events failed:', error),
  });
  return {
    tenancy,
    keyring,
    storage: config.storage,
    identity,
    atTheDoor,
    apiKeys,
    apiKeyStore,
    apiKeyStoreIn: (trx) => apiKeysBehind((_, work) => work(trx)),
    admissionMaxAgeMs,
    audit,
    jobs: createJobs<Queues, Database, OrgObjects>({
      tenancy,
      keys: [config.jobKey],
      signingKeyId: config.jobKey.id,
      schemas: payloads,
      storage: config.storage,
      onRefused: (refusal) => reportRefusal(refusal, { tenancy, audit, config }),
    }),
    queue,
    close: async () => {
      stop.abort();
      await sealing;
      await queue.stop({ timeout: 5_000 });
      await Promise.all([apiKeys.flush(), atTheDoor.flush()]);
      await unfollow();
      await keyring.close();
      await Promise.all([pool.end(), system.destroy(), keyStore.destroy()]);
    },
  };
}

/** A refused job of a known organisation goes into its audit log. If that fails, the queue delivers again. */
async function reportRefusal(
  refusal: JobRefusal,
  { tenancy, audit, config }: Pick<Ledger, 'tenancy' | 'audit'> & { readonly config: LedgerConfig },
): Promise<void> {
  const { code, queue, jobId = 'unknown', org } = refusal;
  if (org === undefined) {
    if (config.onForgedJob !== undefined) config.onForgedJob(refusal);
    else console.error(`job ${jobId} of queue ${queue} refused: ${code}`);
    return;
  }
  const db = tenancy.forOrg(org, { actor: 'system:jobs', kind: 'system' });
  await audit.record(db, 'job.refused', { target: jobId, outcome: 'denied', data: { queue, code } });
}
