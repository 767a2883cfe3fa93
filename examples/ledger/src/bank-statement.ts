/**
 * Reads a bank statement in CSV. A malformed line stops the whole file, so that half a statement never looks like a whole
 * one.
 */
import type { AuthzErrorCode } from '@ringfence/authz';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';
import { day, line } from './input.ts';

const amount = z
  .string()
  .regex(/^-?\d{1,12}\.\d{2}$/)
  .transform((text) => Number(text.replace('.', '')));

const bankLine = z.object({
  booking_date: day(),
  // Without the blanks around it: the same line is not imported again because it is padded otherwise.
  bank_transaction_id: z.string().trim().pipe(line(64)),
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

/** Why a statement was not imported. `authz.…` and `ledger.not_a_member`: decided again when the job ran. */
export type StatementProblem =
  | 'ledger.malformed_statement'
  | 'ledger.statement_already_imported'
  | 'ledger.not_a_member'
  | AuthzErrorCode;

/** Thrown when a statement cannot be taken; nothing of it is imported. */
export class StatementError extends Error {
  override readonly name: string = 'StatementError';
  /** Stable machine-readable code. */
  readonly code: StatementProblem;

  constructor(code: StatementProblem, message: string) {
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
    const parsed = bankLine.safeParse(record);
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
