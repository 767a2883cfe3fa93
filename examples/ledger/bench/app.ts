/**
 * A guarded request against the same request unguarded, on the same PostgreSQL with its disk flush on: read a bank line,
 * post an entry for it, commit. Guarded adds the decision, the organisation context, three sealed fields opened, two
 * sealed, and the audit event, sealed into the chain before the answer.
 */
import { readFileSync } from 'node:fs';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import type { BenchCase, Prepared, Suite } from '../../../tools/bench/suite.ts';
import { startEmbedded } from '../../../tools/postgres.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { importStatement } from '../src/bank-import.ts';
import { identityProvider } from '../src/demo/identity-provider.ts';
import { guarded } from '../src/guarded.ts';
import { workImports } from '../src/import-job.ts';
import type { Ledger } from '../src/ledger.ts';
import { NORTHWIND, provision } from '../src/provision.ts';
import { STATEMENT_IMPORT } from '../src/queues.ts';
import type { Database } from '../src/schema.ts';
import { type Session, signIn } from '../src/session.ts';

/** Length of one slice, ms. */
const SLICE_MS = 1_500;

type PlainLine = Omit<
  Database['ledger.bank_line'],
  'org_id' | 'statement_id' | 'counterparty' | 'description' | 'reference'
> & {
  org_id: string;
  counterparty: string;
  description: string;
  reference: string;
};
type PlainEntry = Omit<
  Database['ledger.entry'],
  'org_id' | 'memo' | 'bank_reference' | 'bank_reference_idx'
> & { org_id: string; memo: string; bank_reference: string };

interface PlainTables {
  'plain.bank_line': PlainLine;
  'plain.entry': PlainEntry;
}

const PLAIN = `create schema plain;
create table plain.bank_line (like ledger.bank_line including indexes);
alter table plain.bank_line drop column statement_id;
create table plain.entry (like ledger.entry including indexes);
alter table plain.entry drop column bank_reference_idx;
alter table plain.entry add foreign key (org_id, bank_line_id) references plain.bank_line (org_id, id);
alter table plain.entry drop constraint if exists entry_org_id_bank_line_id_key;`;

/** Runs `request` on `clients` at once for a slice and returns requests per second. */
async function throughput(clients: number, request: () => Promise<void>): Promise<number> {
  const start = performance.now();
  let count = 0;
  const client = async () => {
    while (performance.now() - start < SLICE_MS) {
      await request();
      count++;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return (count * 1000) / (performance.now() - start);
}

async function prepare(clients: number): Promise<Prepared> {
  const server = await startEmbedded();
  const database = await createTestDatabase(server.url, 'bench');
  const provider = await identityProvider();
  const provisioned = await provision(database, { poolSize: clients, issuer: provider.issuer });
  const { ledger } = provisioned;
  const token = await provider.tokenFor(NORTHWIND.bookkeeper.subject);
  const session = await signIn(ledger, NORTHWIND.id, token);
  await workImports(ledger);
  const csv = readFileSync(new URL(`../data/${NORTHWIND.statement}`, import.meta.url), 'utf8');
  const lines = await importStatement(ledger, session, NORTHWIND.statement, csv);
  await ledger.queue.offWork(STATEMENT_IMPORT); // nothing polls while it is measured
  const pool = new pg.Pool({ connectionString: database.superuserUrl, max: clients });
  pool.on('error', () => {});
  const plain = new Kysely<PlainTables>({ dialect: new PostgresDialect({ pool }) });
  await sql.raw(PLAIN).execute(plain);
  await sql.raw('alter table ledger.entry drop constraint entry_books_bank_line_once').execute(plain);
  const rows = lines.map(({ id, ...line }) => ({
    org_id: session.org,
    id,
    bank_transaction_id: line.bankTransactionId,
    booked_on: line.bookedOn,
    amount_cents: line.amountCents,
    currency: line.currency,
    counterparty: line.counterparty,
    description: line.description,
    reference: line.reference,
  }));
  await plain.insertInto('plain.bank_line').values(rows).execute();
  let turn = 0;
  const next = () => lines[turn++ % lines.length]?.id ?? '';
  return {
    subjects: [
      { name: 'unguarded', measure: () => throughput(clients, () => unguarded(plain, session, next())) },
      { name: 'ringfence', measure: () => throughput(clients, () => guardedPost(ledger, session, next())) },
    ],
    close: async () => {
      await plain.destroy();
      await provisioned.close();
      await provider.close();
      await server.stop();
    },
  };
}

async function unguarded(db: Kysely<PlainTables>, session: Session, lineId: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const line = await trx
      .selectFrom('plain.bank_line')
      .selectAll()
      .where('org_id', '=', session.org)
      .where('id', '=', lineId)
      .executeTakeFirstOrThrow();
    await trx
      .insertInto('plain.entry')
      .values({
        org_id: session.org,
        id: uuidv7(),
        bank_line_id: line.id,
        booked_on: line.booked_on,
        debit_account: '6000 Expenses',
        credit_account: '1000 Bank',
        amount_cents: Math.abs(Number(line.amount_cents)),
        memo: `${line.counterparty}: ${line.description}`,
        bank_reference: line.reference,
        status: 'posted',
        posted_by: session.actor,
        approved_by: null,
      })
      .execute();
  });
}

async function guardedPost(ledger: Ledger, session: Session, lineId: string): Promise<void> {
  const id = uuidv7();
  await guarded(ledger, session, async ({ db, authorize, record }) => {
    authorize('entry.post', { id });
    const line = await db
      .selectFrom('ledger.bank_line')
      .selectAll()
      .where('id', '=', lineId)
      .executeTakeFirstOrThrow();
    const amountCents = Math.abs(Number(line.amount_cents));
    await db
      .insertInto('ledger.entry')
      .values({
        id,
        bank_line_id: lineId,
        booked_on: line.booked_on,
        debit_account: '6000 Expenses',
        credit_account: '1000 Bank',
        amount_cents: amountCents,
        memo: `${line.counterparty}: ${line.description}`,
        bank_reference: line.reference,
        status: 'posted',
        posted_by: session.actor,
        approved_by: null,
      })
      .execute();
    await record('entry.posted', {
      target: id,
      outcome: 'success',
      data: { debit: '6000 Expenses', credit: '1000 Bank', amountCents },
    });
  });
}

const bench = (clients: number): BenchCase => ({
  id: `guarded-${clients}`,
  unit: 'requests/s',
  limit: 'unguarded',
  prepare: () => prepare(clients),
});

/** The suite `app`. */
export const suite: Suite = { name: 'app', cases: [bench(1), bench(32)] };
