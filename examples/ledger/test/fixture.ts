/** A provisioned ledger in a fresh database, with its members signed in. */
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import type { Ledger } from '../src/ledger.ts';
import { NORTHWIND, provision } from '../src/provision.ts';
import { type Session, signIn } from '../src/session.ts';

export interface Fixture {
  readonly database: TestDatabase;
  readonly ledger: Ledger;
  readonly bookkeeper: Session;
  readonly controller: Session;
  readonly auditor: Session;
  close(): Promise<void>;
}

export async function fixture(serverUrl: string): Promise<Fixture> {
  const database = await createTestDatabase(serverUrl, 'ledger');
  const provisioned = await provision(database);
  const { ledger } = provisioned;
  const enter = (member: { userId: string }) => signIn(ledger, NORTHWIND.id, member.userId);
  return {
    database,
    ledger,
    bookkeeper: await enter(NORTHWIND.bookkeeper),
    controller: await enter(NORTHWIND.controller),
    auditor: await enter(NORTHWIND.auditor),
    close: async () => {
      await provisioned.close();
      await database.drop();
    },
  };
}
