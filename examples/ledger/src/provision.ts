/**
 * Puts the ledger into a fresh database: the migrations of each package as the owner role, the key that signs contexts,
 * and two organisations with their members, each written through its own handle.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { auditMigrations } from '@ringfence/audit';
import { localKms } from '@ringfence/crypto/local';
import { cryptoMigrations } from '@ringfence/crypto/postgres';
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

/** Runs the migrations and seeds both organisations. Returns the running app. */
export async function provision(roles: LedgerRoles, poolSize = 10): Promise<Ledger> {
  const contextKey: ContextKey = { id: 'demo', secret: new Uint8Array(randomBytes(32)) };
  const pool = new pg.Pool({ connectionString: roles.ownerUrl, max: 1 });
  const owner = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  try {
    for (const { up } of [
      ...tenancyMigrations({ appRole: roles.app, signedContext: true }),
      ...cryptoMigrations({ appRole: roles.app }),
      ...auditMigrations({
        appRole: roles.app,
        context: 'tenancy.context()',
      }),
      { up: ledgerSchema(roles.app) },
    ]) {
      await sql.raw(up).execute(owner);
    }
    await installContextKey(owner, contextKey);
  } finally {
    await owner.destroy();
  }
  const ledger = createLedger({
    appUrl: roles.appUrl,
    contextKey,
    kms: [localKms({ keks: { demo: new Uint8Array(randomBytes(32)) } })],
    attachmentsDir: mkdtempSync(join(tmpdir(), 'ringfence-attachments-')),
    kekFor: () => 'local:demo',
    poolSize,
  });
  for (const org of [NORTHWIND, IRONBRIDGE]) await seed(ledger, org);
  return ledger;
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
