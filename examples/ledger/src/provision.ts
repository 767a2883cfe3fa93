/**
 * Puts the ledger into a fresh database: the migrations of each package as the owner role, the key that signs contexts,
 * and two organisations with their members, each written through its own handle.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { auditMigrations } from '@ringfence/audit';
import type { KmsProvider } from '@ringfence/crypto';
import { localKms } from '@ringfence/crypto/local';
import { createKeyOperations, type KeyOperations } from '@ringfence/crypto/operations';
import { cryptoMigrations, postgresKeyStore } from '@ringfence/crypto/postgres';
import {
  type ContextKey,
  installContextKey,
  type OrgId,
  parseOrgId,
  tenancyMigrations,
} from '@ringfence/tenancy';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { createLedger, type Ledger } from './ledger.ts';
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
}

/** A member as seeded. */
export interface SeededMember {
  readonly userId: string;
  readonly name: string;
  readonly roles: readonly string[];
}

/** An organisation as seeded. */
export interface SeededOrg {
  readonly id: OrgId;
  readonly name: string;
  readonly statement: string;
  readonly bookkeeper: SeededMember;
  readonly controller: SeededMember;
  readonly auditor: SeededMember;
}

const member = (userId: string, name: string, ...roles: string[]): SeededMember => ({ userId, name, roles });

/** The organisations of the demo. */
export const NORTHWIND: SeededOrg = {
  id: parseOrgId('0199a4c0-1111-7a00-8000-00000000a001'),
  name: 'Northwind Advisory',
  statement: 'northwind-statement.csv',
  bookkeeper: member('0199a4c0-1111-7a00-8000-00000000a101', 'Bea Lindqvist', 'bookkeeper'),
  controller: member('0199a4c0-1111-7a00-8000-00000000a102', 'Carlos Okafor', 'controller'),
  auditor: member('0199a4c0-1111-7a00-8000-00000000a103', 'Ada Moreau', 'auditor'),
};

/** The second organisation of the demo. */
export const IRONBRIDGE: SeededOrg = {
  id: parseOrgId('0199a4c0-2222-7b00-8000-00000000b001'),
  name: 'Ironbridge Builders',
  statement: 'ironbridge-statement.csv',
  bookkeeper: member('0199a4c0-2222-7b00-8000-00000000b101', 'Boris Tanaka', 'bookkeeper'),
  controller: member('0199a4c0-2222-7b00-8000-00000000b102', 'Chiara Singh', 'controller'),
  auditor: member('0199a4c0-2222-7b00-8000-00000000b103', 'Amos Petit', 'auditor'),
};

/** What a run may set. */
export interface ProvisionOptions {
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
  /** Ends the connections of both. */
  close(): Promise<void>;
}

/** URI of the platform's key-encryption key. */
export const PLATFORM_KEK = 'local:platform';

/** Runs the migrations and seeds both organisations. */
export async function provision(roles: LedgerRoles, options: ProvisionOptions = {}): Promise<Provisioned> {
  const contextKey: ContextKey = { id: 'demo', secret: new Uint8Array(randomBytes(32)) };
  const pool = new pg.Pool({ connectionString: roles.ownerUrl, max: 1 });
  pool.on('error', () => {});
  const owner = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  const kms = [
    localKms({ keks: { platform: new Uint8Array(randomBytes(32)) } }),
    ...(options.customerKms ?? []),
  ];
  const kekFor = () => PLATFORM_KEK;
  await migrate(owner, roles);
  await installContextKey(owner, contextKey);
  const ledger = createLedger({
    appUrl: roles.appUrl,
    keysUrl: roles.keysUrl,
    contextKey,
    kms,
    kekFor,
    attachmentsDir: mkdtempSync(join(tmpdir(), 'ringfence-attachments-')),
    ...(options.poolSize === undefined ? {} : { poolSize: options.poolSize }),
    ...(options.leaseMs === undefined ? {} : { leaseMs: options.leaseMs }),
  });
  for (const org of [NORTHWIND, IRONBRIDGE]) await seed(ledger, org);
  return {
    ledger,
    operations: createKeyOperations({ app: 'ledger', kms, kekFor, store: postgresKeyStore(owner) }),
    close: async () => {
      await ledger.close();
      await owner.destroy();
      rmSync(ledger.attachmentsDir, { recursive: true, force: true });
    },
  };
}

async function migrate(owner: Kysely<unknown>, { app: appRole, keys }: LedgerRoles): Promise<void> {
  for (const { up } of [
    ...tenancyMigrations({ appRole, signedContext: true }),
    ...cryptoMigrations({ appRole: keys }),
    ...auditMigrations({ appRole, context: 'tenancy.context()' }),
    { up: ledgerSchema(appRole) },
  ]) {
    await sql.raw(up).execute(owner);
  }
}

async function seed(ledger: Ledger, org: SeededOrg): Promise<void> {
  await ledger.keyring.createOrg(org.id);
  const db = ledger.tenancy.forOrg(org.id, { actor: 'system:provision', kind: 'system' });
  await db.batch([
    db.insertInto('ledger.org').values({ org_id: org.id, name: org.name }),
    db.insertInto('ledger.member').values(
      [org.bookkeeper, org.controller, org.auditor].map(({ userId, name, roles }) => ({
        user_id: userId,
        name,
        roles: [...roles],
      })),
    ),
  ]);
}
