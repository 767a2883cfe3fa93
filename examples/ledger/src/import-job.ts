/**
 * The import of a bank statement, as a job: one decision with the roles the member has now (and, for a
 * statement that came by API key, within the key), one transaction for lines,
 * outcome, audit event and the mark that the job has had its effect. A worker that is killed at any instruction leaves all
 * of it or nothing, and a second delivery finds the mark.
 * What a retry cannot mend is written into the statement's row and the audit log; everything else goes to the queue, which
 * retries.
 */
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { decryptBytes } from '@ringfence/crypto/files';
import type { JobHandler, JobInfo } from '@ringfence/tenancy/jobs';
import { workJobs } from '@ringfence/tenancy/pg-boss';
import type { OrgObjects } from '@ringfence/tenancy/storage';
import type { Kysely } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { statementCell } from './bank-import.ts';
import { parseStatement, StatementError } from './bank-statement.ts';
import { type Guarded, guardedOnce, recorded } from './guarded.ts';
import type { Ledger } from './ledger.ts';
import { type Queues, STATEMENT_IMPORT } from './queues.ts';
import { isRefusal, type Refusal } from './refusals.ts';
import type { Database } from './schema.ts';
import { NotAMemberError, onBehalfOf } from './session.ts';

type Payload = Queues[typeof STATEMENT_IMPORT];
type ImportHandler = JobHandler<Payload, Database, OrgObjects, typeof STATEMENT_IMPORT>;

/** Lines per SQL statement: PostgreSQL takes 65 535 parameters. */
const CHUNK = 1_000;

/**
 * Starts a worker of imports, for all organisations: each job's handles reach the organisation it was sealed for. Two jobs
 * run at a time, of two organisations: however many statements one hands in, the others do not wait for all of them.
 */
export async function workImports(ledger: Ledger): Promise<void> {
  await workJobs(ledger.jobs, ledger.queue, STATEMENT_IMPORT, importHandler(ledger), {
    pollingIntervalSeconds: 0.5,
    localConcurrency: 2,
    localGroupConcurrency: 1,
  });
}

/** The handler of an import. */
export function importHandler(ledger: Ledger): ImportHandler {
  return async ({ db, storage, payload, job, once }) => {
    if (await hasEnded(db, payload.statement)) return;
    const content = await buffer((await storage.get(payload.objectKey)).body);
    const keys = await ledger.keyring.org(job.org);
    const csv = decryptBytes(keys, statementCell(payload.statement), content);
    try {
      const enqueuer = { actor: job.principal.actor, key: payload.key };
      const session = await onBehalfOf(ledger, job.org, enqueuer);
      await guardedOnce(ledger, session, once, (request) => importLines(request, payload, job.id, csv));
    } catch (error) {
      if (!isFinal(error)) throw error;
      await refuse(ledger, job, payload, error);
    }
  };
}

/**
 * A worker that was killed behind its commit leaves a job that is delivered again. Whatever has changed meanwhile, such as
 * a key that was revoked: the statement has ended as its row and the log say.
 */
async function hasEnded(db: Kysely<Database>, statement: string): Promise<boolean> {
  const { status } = await db
    .selectFrom('ledger.statement')
    .select('status')
    .where('id', '=', statement)
    .executeTakeFirstOrThrow();
  return status !== 'received';
}

async function importLines(
  { db, authorize, record }: Guarded,
  { statement, file }: Payload,
  job: string,
  csv: Uint8Array,
): Promise<void> {
  authorize('bankLine.import', { id: statement });
  const lines = parseStatement(new TextDecoder().decode(csv));
  for (let from = 0; from < lines.length; from += CHUNK) {
    await db
      .insertInto('ledger.bank_line')
      .values(
        lines.slice(from, from + CHUNK).map((line) => ({
          id: uuidv7(),
          statement_id: statement,
          bank_transaction_id: line.bankTransactionId,
          booked_on: line.bookedOn,
          amount_cents: line.amountCents,
          currency: line.currency,
          counterparty: line.counterparty,
          description: line.description,
          reference: line.reference,
        })),
      )
      .execute()
      .catch((error: unknown) => {
        if (!alreadyImported(error)) throw error;
        throw new StatementError(
          'ledger.statement_already_imported',
          'a line of this statement was imported before: nothing of it is imported again',
        );
      });
  }
  await db
    .updateTable('ledger.statement')
    .set({ status: 'imported' })
    .where('id', '=', statement)
    .where('status', '=', 'received')
    .returning('id')
    .executeTakeFirstOrThrow(); // else another delivery has ended it meanwhile
  const sha256 = createHash('sha256').update(csv).digest('hex');
  await record('statement.imported', {
    target: statement,
    outcome: 'success',
    data: { file, lines: lines.length, sha256, job },
  });
}

/** SQLSTATE unique_violation: the bank's id of a line is unique in an organisation. */
function alreadyImported(error: unknown): boolean {
  return (error as { code?: unknown }).code === '23505';
}

type FinalError = StatementError | Refusal | NotAMemberError;

function isFinal(error: unknown): error is FinalError {
  return error instanceof StatementError || error instanceof NotAMemberError || isRefusal(error);
}

/** Nothing of the statement is there; its row and the audit log say why. */
async function refuse(
  ledger: Ledger,
  { org, id: job }: JobInfo,
  { statement, file }: Payload,
  { code, message }: FinalError,
): Promise<void> {
  const db = ledger.tenancy.forOrg(org, { actor: 'system:import', kind: 'system' });
  await recorded(
    ledger,
    (effect) => db.transaction().execute(effect),
    async (trx, record) => {
      await trx
        .updateTable('ledger.statement')
        .set({ status: 'refused', problem: message, problem_code: code })
        .where('id', '=', statement)
        .where('status', '=', 'received')
        .returning('id')
        .executeTakeFirstOrThrow(); // as above
      const data = { file, code, job };
      await record('statement.refused', { target: statement, outcome: 'failure', reason: message, data });
    },
  );
}
