/**
 * Imports a bank statement in CSV through the guarded path: one decision, one transaction, one audit event with the
 * file's digest. A malformed line stops the whole file, so that half a statement never looks like a whole one.
 */
import { createHash } from 'node:crypto';
import { parse } from 'csv-parse/sync';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { guarded } from './guarded.ts';
import type { Ledger } from './ledger.ts';
import type { Session } from './session.ts';

const TABLE = 'ledger.bank_line';

/** Lines per statement: PostgreSQL takes 65 535 parameters. */
const CHUNK = 1_000;

const amount = z
  .string()
  .regex(/^-?\d{1,12}\.\d{2}$/)
  .transform((text) => Number(text.replace('.', '')));

const line = z.object({
  booking_date: z.iso.date(),
  bank_transaction_id: z.string().min(1).max(64),
  counterparty: z.string().max(200),
  description: z.string().max(500),
  reference: z.string().max(140),
  amount,
  currency: z.string().regex(/^[A-Z]{3}$/),
});

/** A line of a bank statement. */
export interface BankLine {
  readonly bankTransactionId: string;
  readonly bookedOn: string;
  readonly amountCents: number;
  readonly currency: string;
  readonly counterparty: string;
  readonly description: string;
  readonly reference: string;
}

/** An imported line: what the bookkeeper sees next to the id of its row. */
export interface ImportedLine extends BankLine {
  readonly id: string;
}

/** Thrown when a statement cannot be taken; nothing of it is imported. */
export class StatementError extends Error {
  override readonly name: string = 'StatementError';
  /** Stable machine-readable code. */
  readonly code: 'ledger.malformed_statement' | 'ledger.statement_already_imported';

  constructor(code: StatementError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Reads a statement.
 *
 * @throws StatementError that names the first bad line, never its content.
 */
export function parseStatement(csv: string): BankLine[] {
  let records: unknown[];
  try {
    records = parse(csv, { columns: true, skip_empty_lines: true, bom: true });
  } catch (error) {
    const { lines } = error as { lines?: number };
    throw malformed(`line ${lines ?? '?'} is no CSV record with the columns of the header`);
  }
  if (records.length === 0) throw malformed('the statement has no lines');
  return records.map((record, index) => {
    const parsed = line.safeParse(record);
    if (!parsed.success) {
      const column = parsed.error.issues[0]?.path.join('.') ?? '';
      throw malformed(`line ${index + 2}: column ${column} is not as expected`);
    }
    const { data } = parsed;
    return {
      bankTransactionId: data.bank_transaction_id,
      bookedOn: data.booking_date,
      amountCents: data.amount,
      currency: data.currency,
      counterparty: data.counterparty,
      description: data.description,
      reference: data.reference,
    };
  });
}

function malformed(message: string): StatementError {
  return new StatementError('ledger.malformed_statement', message);
}

/** SQLSTATE unique_violation: the bank's id of a line is unique in an organisation. */
function alreadyImported(error: unknown): boolean {
  return (error as { code?: unknown }).code === '23505';
}

/** Imports a statement and returns its lines with their ids, in the order of the file. */
export async function importStatement(
  ledger: Ledger,
  session: Session,
  file: string,
  csv: string,
): Promise<ImportedLine[]> {
  const statement = uuidv7();
  return await guarded(ledger, session, async ({ db, authorize, record }) => {
    authorize('bankLine.import', { id: statement });
    const imported = parseStatement(csv).map((parsed) => ({ ...parsed, id: uuidv7() }));
    for (let from = 0; from < imported.length; from += CHUNK) {
      await db
        .insertInto(TABLE)
        .values(
          imported.slice(from, from + CHUNK).map((row) => ({
            id: row.id,
            bank_transaction_id: row.bankTransactionId,
            booked_on: row.bookedOn,
            amount_cents: row.amountCents,
            currency: row.currency,
            counterparty: row.counterparty,
            description: row.description,
            reference: row.reference,
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
    await record('statement.imported', {
      target: statement,
      outcome: 'success',
      data: { file, lines: imported.length, sha256: createHash('sha256').update(csv).digest('hex') },
    });
    return imported;
  });
}
