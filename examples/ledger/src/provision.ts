/**
 * Puts the ledger into a fresh database: the migrations of each package as the owner role, those of the queue as the
 * queue's own, the key that signs contexts, and two organisations with their members, each written through its own handle.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { auditMigrations } from '@ringfence/audit/migrations';
import { authzMigrations } from '@ringfence/authz/migrations';
import type { IssuerConfig } from '@ringfence/authz/session';
import type { KmsProvider } from '@ringfence/crypto';
import { localKms } from '@ringfence/crypto/local';
import { cryptoMigrations } from '@ringfence/crypto/migrations';
import { createKeyOperations, type KeyOperations } from '@ringfence/crypto/operations';
import { postgresKeyStore } from '@ringfence/crypto/postgres';
import { type ContextKey, type OrgId, parseOrgId } from '@ringfence/tenancy';
import type { JobKey, JobRefusal } from '@ringfence/tenancy/jobs';
import { installContextKey, jobMigrations, tenancyMigrations } from '@ringfence/tenancy/migrations';
import type { ObjectStorage } from '@ringfence/tenancy/storage';
import { directoryStorage } from '@ringfence/tenancy/storage-directory';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { createLedger, type Ledger } from './ledger.ts';
import type { Role } from './policy.ts';
import { STATEMENT_IMPORT } from './queues.ts';
import { ledgerSchema } from './schema.ts';

/** Connection URLs and names of the roles. */
export interface LedgerRoles {
  /** URL of the owner, who runs migrations. */
  readonly ownerUrl: string;
  /** URL of the app role. */
  readonly appUrl: string;
  /** Name of the app role. */
  readonly app: string;
  /** URL of the login that only the key store uses: SQL injected into the app cannot reach a key row. */
  readonly keysUrl: string;
  /** Name of the key store's role. */
  readonly keys: string;
  /** URL of the login that only the job queue uses: SQL injected into the app cannot reach a job. */
  readonly queueUrl: string;
  /** Name of the job queue's role. */
  readonly queue: string;
  /** Name of the role that only signs checkpoints of the audit log. */
  readonly checkpointer: string;
  /** Name of the role that only copies the audit log to a write-once store. */
  readonly copier: string;
}

/** A member as seeded. */
export interface SeededMember {
  readonly userId: string;
  /** How the identity provider knows them. */
  readonly subject: string;
  readonly name: string;
  readonly roles: readonly Role[];
}

/** An organisation as seeded. */
export interface SeededOrg {
  readonly id: OrgId;
  readonly name: string;
  readonly statement: string;
  readonly owner: SeededMember;
  readonly controller: SeededMember;
  readonly bookkeeper: SeededMember;
  readonly reviewer: SeededMember;
  readonly auditor: SeededMember;
}

const member = (userId: string, name: string, role: Role): SeededMember => ({
  userId,
  subject: name.toLowerCase().replace(' ', '.'),
  name,
  roles: [role],
});

/** The organisations of the demo. */
export const NORTHWIND: SeededOrg = {
  id: parseOrgId('0199a4c0-1111-7a00-8000-00000000a001'),
  name: 'Northwind Advisory',
  statement: 'northwind-statement.csv',
  owner: member('0199a4c0-1111-7a00-8000-00000000a104', 'Olivia Nakamura', 'owner'),
  controller: member('0199a4c0-1111-7a00-8000-00000000a102', 'Carlos Okafor', 'controller'),
  bookkeeper: member('0199a4c0-1111-7a00-8000-00000000a101', 'Bea Lindqvist', 'bookkeeper'),
  reviewer: member('0199a4c0-1111-7a00-8000-00000000a105', 'Rafael Costa', 'reviewer'),
  auditor: member('0199a4c0-1111-7a00-8000-00000000a103', 'Ada Moreau', 'auditor'),
};

/** The second organisation of the demo. */
export const IRONBRIDGE: SeededOrg = {
  id: parseOrgId('0199a4c0-2222-7b00-8000-00000000b001'),
  name: 'Ironbridge Builders',
  statement: 'ironbridge-statement.csv',
  owner: member('0199a4c0-2222-7b00-8000-00000000b104', 'Otto Bernard', 'owner'),
  controller: member('0199a4c0-2222-7b00-8000-00000000b102', 'Chiara Singh', 'controller'),
  bookkeeper: member('0199a4c0-2222-7b00-8000-00000000b101', 'Boris Tanaka', 'bookkeeper'),
  reviewer: member('0199a4c0-2222-7b00-8000-00000000b105', 'Ruth Adeyemi', 'reviewer'),
  auditor: member('0199a4c0-2222-7b00-8000-00000000b103', 'Amos Petit', 'auditor'),
};

/** What a deployment keeps secret, beside its passwords. */
export interface LedgerSecrets {
  /** Key that signs organisation contexts. */
  readonly contextKey: ContextKey;
  /** Key that seals jobs. */
  readonly jobKey: JobKey;
  /** The platform's key-encryption key, 32 bytes. */
  readonly platformKek: Uint8Array;
  /** Pepper of API keys, 32 bytes. */
  readonly apiKeyPepper: Uint8Array;
}

/** Fresh secrets. */
export function newSecrets(): LedgerSecrets {
  const secret = () => new Uint8Array(randomBytes(32));
  return {
    contextKey: { id: 'demo', secret: secret() },
    jobKey: { id: 'j1', secret: secret() },
    platformKek: secret(),
    apiKeyPepper: secret(),
  };
}

/** What a run may set. */
export interface ProvisionOptions {
  /** Default: fresh ones. */
  readonly secrets?: LedgerSecrets;
  /** The identity provider that knows the members. Default: none, and nobody signs in. */
  readonly issuer?: IssuerConfig;
  /** How long roles and settings that were read count, ms. */
  readonly admissionMaxAgeMs?: number;
  /** Where objects lie. Default: a temporary directory, which goes when it ends. */
  readonly storage?: ObjectStorage;
  /** Hears of jobs that were refused before anything of them could be believed. Default: stderr. */
  readonly onForgedJob?: (refusal: JobRefusal) => void;
  /** Connections in the app pool. Default 10. */
  readonly poolSize?: number;
  /** Longest time an organisation's keys work after its KMS last said yes, ms. */
  readonly leaseMs?: number;
  /** Key-management services of customers, beside the platform's own. */
  readonly customerKms?: readonly KmsProvider[];
}

/** A ledger that is up, and what its operator holds besides. */
export interface Provisioned {
  /** The running app. */
  readonly ledger: Ledger;
  /** Operations on keys, as the owner role. */
  readonly operations: KeyOperations;
  /** Directory of the objects; empty when another storage was given. */
  readonly objectsDir: string;
  /** Ends the connections of both. */
  close(): Promise<void>;
}

/** URI of the platform's key-encryption key. */
export const PLATFORM_KEK = 'local:platform';

/** Runs the migrations and seeds both organisations. */
export async function provision(roles: LedgerRoles, options: ProvisionOptions = {}): Promise<Provisioned> {
  const { contextKey, jobKey, platformKek, apiKeyPepper } = options.secrets ?? newSecrets();
  const pool = new pg.Pool({ connectionString: roles.ownerUrl, max: 1 });
  pool.on('error', () => {});
  const owner = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  const kms = [localKms({ keks: { platform: platformKek } }), ...(options.customerKms ?? [])];
  const kekFor = () => PLATFORM_KEK;
  await migrate(owner, roles);
  await installQueue(owner, roles);
  await installContextKey(owner, contextKey);
  const objectsDir = mkdtempSync(join(tmpdir(), 'ringfence-objects-'));
  const { poolSize, leaseMs, onForgedJob, issuer, admissionMaxAgeMs } = options;
  const ledger = await createLedger({
    appUrl: roles.appUrl,
    keysUrl: roles.keysUrl,
    queueUrl: roles.queueUrl,
    contextKey,
    jobKey,
    kms,
    kekFor,
    issuers: issuer === undefined ? [] : [issuer],
    apiKeyPepper,
    storage: options.storage ?? directoryStorage({ root: objectsDir }),
    ...(poolSize === undefined ? {} : { poolSize }),
    ...(leaseMs === undefined ? {} : { leaseMs }),
    ...(admissionMaxAgeMs === undefined ? {} : { admissionMaxAgeMs }),
    ...(onForgedJob === undefined ? {} : { onForgedJob }),
  });
  for (const org of [NORTHWIND, IRONBRIDGE]) await seed(ledger, org, issuer?.issuer ?? 'nobody');
  return {
    ledger,
    operations: createKeyOperations({ app: 'ledger', kms, kekFor, store: postgresKeyStore(owner) }),
    objectsDir,
    close: async () => {
      await ledger.close();
      await owner.destroy();
      rmSync(objectsDir, { recursive: true, force: true });
    },
  };
}

/** The queue makes its schema and owns it; the right to make one is lent for as long as that takes. */
async function installQueue(owner: Kysely<unknown>, { queue, queueUrl }: LedgerRoles): Promise<void> {
  const name = sql.ref(
    (await sql<{ name: string }>`select current_database() as name`.execute(owner)).rows[0]?.name ?? '',
  );
  await sql`grant create on database ${name} to ${sql.ref(queue)}`.execute(owner);
  const boss = new PgBoss({ connectionString: queueUrl, max: 1, supervise: false, schedule: false });
  boss.on('error', (error) => console.error('the job queue reports an error:', error));
  try {
    await boss.start();
    await boss.createQueue(STATEMENT_IMPORT, { retryLimit: 3, retryBackoff: true });
  } finally {
    await boss.stop({ graceful: false });
    await sql`revoke create on database ${name} from ${sql.ref(queue)}`.execute(owner);
  }
}

async function migrate(owner: Kysely<unknown>, roles: LedgerRoles): Promise<void> {
  const { app: appRole, keys, checkpointer: checkpointerRole, copier: copierRole } = roles;
  for (const { up } of [
    ...tenancyMigrations({ appRole, signedContext: true }),
    ...cryptoMigrations({ appRole: keys }),
    ...auditMigrations({ appRole, checkpointerRole, copierRole, context: 'tenancy.context()' }),
    ...jobMigrations({ appRole }),
    ...authzMigrations({ appRole, systemRole: keys, org: 'tenancy.org_id()' }),
    { up: ledgerSchema(appRole) },
  ]) {
    await sql.raw(up).execute(owner);
  }
}

async function seed(ledger: Ledger, org: SeededOrg, issuer: string): Promise<void> {
  await ledger.keyring.createOrg(org.id);
  const db = ledger.tenancy.forOrg(org.id, { actor: 'system:provision', kind: 'system' });
  await db.batch([
    db.insertInto('ledger.org').values({ org_id: org.id, name: org.name, plan: 'pro' }),
    db.insertInto('ledger.member').values(
      [org.owner, org.controller, org.bookkeeper, org.reviewer, org.auditor].map((seeded) => ({
        user_id: seeded.userId,
        issuer,
        subject: seeded.subject,
        name: seeded.name,
        roles: [...seeded.roles],
      })),
    ),
  ]);
}
