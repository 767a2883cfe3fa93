/** A provisioned ledger in a fresh database, with its members signed in. */
import type { KeyOperations } from '@ringfence/crypto/operations';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import {
  type Authentication,
  type IdentityProvider,
  identityProvider,
} from '../src/demo/identity-provider.ts';
import type { NewEntry } from '../src/entries.ts';
import { workImports } from '../src/import-job.ts';
import type { Ledger } from '../src/ledger.ts';
import {
  NORTHWIND,
  type ProvisionOptions,
  provision,
  type SeededMember,
  type SeededOrg,
} from '../src/provision.ts';
import { type Session, signIn } from '../src/session.ts';

/** An entry to post. */
export const ENTRY: NewEntry = {
  bookedOn: '2026-03-31',
  debit: '6000 Expenses',
  credit: '1000 Bank',
  amountCents: 4_200,
  memo: 'toner, 2 cartridges',
  bankReference: 'PO-40686',
};

export interface Fixture {
  readonly database: TestDatabase;
  readonly ledger: Ledger;
  /** Operations on keys, as the owner role. */
  readonly operations: KeyOperations;
  /** Directory of the objects. */
  readonly objectsDir: string;
  readonly provider: IdentityProvider;
  /** Signs a member of Northwind, or of another organisation, in. */
  enter(member: SeededMember, how?: Authentication, org?: SeededOrg): Promise<Session>;
  /** Owner and controller have a second factor, the others a password. */
  readonly owner: Session;
  readonly controller: Session;
  readonly bookkeeper: Session;
  readonly reviewer: Session;
  readonly auditor: Session;
  close(): Promise<void>;
}

export async function fixture(serverUrl: string, options: ProvisionOptions = {}): Promise<Fixture> {
  const database = await createTestDatabase(serverUrl, 'ledger');
  const provider = await identityProvider();
  const provisioned = await provision(database, { issuer: provider.issuer, ...options });
  const { ledger, operations, objectsDir } = provisioned;
  await workImports(ledger);
  const enter: Fixture['enter'] = async ({ subject }, how, org = NORTHWIND) =>
    await signIn(ledger, org.id, await provider.tokenFor(subject, how));
  return {
    database,
    ledger,
    operations,
    objectsDir,
    provider,
    enter,
    owner: await enter(NORTHWIND.owner, { mfa: true }),
    controller: await enter(NORTHWIND.controller, { mfa: true }),
    bookkeeper: await enter(NORTHWIND.bookkeeper),
    reviewer: await enter(NORTHWIND.reviewer),
    auditor: await enter(NORTHWIND.auditor),
    close: async () => {
      await provisioned.close();
      await provider.close();
      await database.drop();
    },
  };
}

/** A superuser's connection: what nobody in the app may do, and how a test sees or brings about what is behind it. */
export async function superuserOf({ database }: Pick<Fixture, 'database'>): Promise<pg.Client> {
  const superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  return superuser;
}
