/**
 * Importing a bank statement, as its member sees it: hand the file in, wait, see the lines. The work itself is a job
 * (`import-job.ts`). A statement's row says how it ended; a crash between its commit and the sending of the job leaves it
 * `received` for good, and its object with it: nothing was imported, and the member hands the file in again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { encryptBytes } from '@ringfence/crypto/files';
import { sendJob } from '@ringfence/tenancy/pg-boss';
import { v7 as uuidv7 } from 'uuid';
import { type BankLine, StatementError, type StatementProblem } from './bank-statement.ts';
import { decide, guarded } from './guarded.ts';
import { checked, InvalidInputError, line } from './input.ts';
import type { Ledger } from './ledger.ts';
import { NotFoundError } from './not-found.ts';
import { STATEMENT_IMPORT } from './queues.ts';
import { recordingRefusals } from './refusals.ts';
import type { Session } from './session.ts';

/** An imported line: what the bookkeeper sees next to the id of its row. */
export interface ImportedLine extends BankLine {
  readonly id: string;
}

/** The cell a statement's object is encrypted for. */
export const statementCell = (statement: string) => ({
  table: 'ledger.statement',
  column: 'content',
  row: statement,
});

/**
 * Most bytes of a statement, some 20 000 lines: its import is one transaction and holds all of it in the memory of a worker,
 * behind which the imports of other organisations wait.
 */
export const MOST_STATEMENT_BYTES = 2 * 1_048_576;

/**
 * Takes a statement and enqueues its import; returns the statement's id. The content goes into the organisation's objects,
 * encrypted; the job carries its key, sealed.
 *
 * @throws AuthzDeniedError when the member may not import.
 * @throws InvalidInputError `ledger.invalid_input` for a statement that is too large, and for a name that is none.
 */
export async function enqueueImport(
  ledger: Ledger,
  session: Session,
  file: string,
  csv: string,
): Promise<string> {
  const statement = uuidv7();
  await decide(ledger, session, 'bankLine.import', { id: statement });
  checked(line(200), file, 'file', 'a name of 1 to 200 characters');
  const content = csv.length > MOST_STATEMENT_BYTES ? undefined : new TextEncoder().encode(csv);
  if (content === undefined || content.byteLength > MOST_STATEMENT_BYTES)
    throw new InvalidInputError('csv', `at most ${MOST_STATEMENT_BYTES} bytes`);
  const keys = await ledger.keyring.org(session.org);
  const sealed = encryptBytes(keys, statementCell(statement), content);
  const objectKey = await ledger.storage.forOrg(session.org).put(['statements', statement], sealed);
  await guarded(ledger, session, async ({ db, authorize, record }) => {
    authorize('bankLine.import', { id: statement });
    const row = { id: statement, file, object_key: objectKey, status: 'received' } as const;
    await db
      .insertInto('ledger.statement')
      .values({ ...row, problem: null, problem_code: null })
      .execute();
    await record('statement.received', { target: statement, outcome: 'success', data: { file } });
  });
  const { org, key, principal } = session;
  const payload = { statement, file, objectKey, ...(key === undefined ? {} : { key }) };
  const group = { id: org };
  await sendJob(ledger.jobs, ledger.queue, STATEMENT_IMPORT, { org, principal, payload }, { group });
  return statement;
}

/** How often the row of a statement is looked at, ms. */
const LOOK_MS = 25;

/**
 * Waits until a statement has been imported: for whoever may import.
 *
 * @throws AuthzDeniedError when the member may not import, or no more.
 * @throws NotFoundError `ledger.statement_not_found` when the organisation has no such statement.
 * @throws StatementError when it was refused.
 * @throws Error when it has not ended within `timeoutMs`.
 */
export async function imported(
  ledger: Ledger,
  session: Session,
  statement: string,
  timeoutMs = 120_000,
): Promise<void> {
  const db = ledger.tenancy.forOrg(session.org, session.principal);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    await decide(ledger, session, 'bankLine.import', { id: statement });
    const { status, problem, problem_code } = await recordingRefusals(ledger, session, async () => {
      const row = await db
        .selectFrom('ledger.statement')
        .select(['status', 'problem', 'problem_code'])
        .where('id', '=', statement)
        .executeTakeFirst();
      if (row === undefined) throw new NotFoundError('statement', statement, 'bankLine.import');
      return row;
    });
    if (status === 'imported') return;
    if (status === 'refused') throw new StatementError(problem_code as StatementProblem, problem ?? '');
    if (performance.now() > deadline) throw new Error(`statement ${statement} was not imported in time`);
    await delay(LOOK_MS);
  }
}

/**
 * The lines of a statement, opened, in the order of the file.
 *
 * @throws NotFoundError `ledger.statement_not_found` when the organisation has no such statement.
 */
export async function statementLines(
  ledger: Ledger,
  session: Session,
  asked: string,
): Promise<ImportedLine[]> {
  return await guarded(ledger, session, async ({ db, authorize, record }) => {
    const row = await db
      .selectFrom('ledger.statement')
      .select('id')
      .where('id', '=', asked)
      .executeTakeFirst();
    const statement = row?.id ?? asked; // as it is stored, for the log
    authorize('bankLine.read', { id: statement });
    if (row === undefined) throw new NotFoundError('statement', asked, 'bankLine.read');
    const rows = await db
      .selectFrom('ledger.bank_line')
      .selectAll()
      .where('statement_id', '=', statement)
      .orderBy('id')
      .execute();
    await record('statement.read', { target: statement, outcome: 'success', data: { lines: rows.length } });
    return rows.map((row) => ({
      id: row.id,
      bankTransactionId: row.bank_transaction_id,
      bookedOn: row.booked_on,
      amountCents: Number(row.amount_cents),
      currency: row.currency,
      counterparty: row.counterparty,
      description: row.description,
      reference: row.reference,
    }));
  });
}

/** All three: hands a statement in, waits for a worker, and returns its lines. */
export async function importStatement(
  ledger: Ledger,
  session: Session,
  file: string,
  csv: string,
): Promise<ImportedLine[]> {
  const statement = await enqueueImport(ledger, session, file, csv);
  await imported(ledger, session, statement);
  return await statementLines(ledger, session, statement);
}
