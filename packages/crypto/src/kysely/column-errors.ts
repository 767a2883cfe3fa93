/**
 * Errors of encrypted columns: the codes of the package, with the cell they concern.
 * Invariant: table, column and row id are named, content never is, neither plain nor sealed.
 */
import { type CryptoErrorCode, type CryptoErrorDetails, RingfenceCryptoError } from '../errors.ts';

/** Cell an error of an encrypted column concerns. */
export interface ColumnErrorDetails extends CryptoErrorDetails {
  /** Table as declared. */
  readonly table?: string;
  /** Column. */
  readonly column?: string;
  /** Row id in its canonical form. */
  readonly row?: string;
}

/** A sealed column could not be read or written. `details` names table, column and row id. */
export class EncryptedColumnError extends RingfenceCryptoError {
  override readonly name: string = 'EncryptedColumnError';
  declare readonly details: ColumnErrorDetails;

  constructor(code: CryptoErrorCode, message: string, details: ColumnErrorDetails = {}, retryable = false) {
    super(code, message, details, retryable);
  }
}

/** Refusal of a query in which the cell of a sealed column can't be told. */
export function refused(reason: string, details: ColumnErrorDetails = {}): EncryptedColumnError {
  return new EncryptedColumnError('crypto.query_refused', reason, details);
}

/** The same failure, with its cell; errors that are none of this package's pass as they are. */
export function atCell(
  error: unknown,
  cell: Required<Pick<ColumnErrorDetails, 'table' | 'column' | 'row'>>,
): unknown {
  if (!(error instanceof RingfenceCryptoError)) return error;
  const { table, column, row } = cell;
  return new EncryptedColumnError(
    error.code,
    `${table}.${column} of row ${row}: ${error.message}`,
    { ...error.details, table, column, row },
    error.retryable,
  );
}
