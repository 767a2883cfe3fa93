/**
 * What an organisation does not have; what another organisation has is no different. It is told to whoever may read such
 * things, to everybody else their refusal, and is an access attempt for the log: who goes through the ids of others is seen.
 */
import type { LedgerAction } from './policy.ts';

const CODES = {
  entry: 'ledger.entry_not_found',
  attachment: 'ledger.attachment_not_found',
  'bank line': 'ledger.bank_line_not_found',
  statement: 'ledger.statement_not_found',
  member: 'ledger.member_not_found',
  key: 'ledger.key_not_found',
} as const;

/** Thrown when the organisation of the session has nothing of the kind with this id. */
export class NotFoundError extends Error {
  override readonly name: string = 'NotFoundError';
  /** Stable machine-readable code. */
  readonly code: (typeof CODES)[keyof typeof CODES];
  /** What was asked for. */
  readonly action: LedgerAction;

  constructor(kind: keyof typeof CODES, id: string, action: LedgerAction) {
    super(`no ${kind} ${id} in this organisation`);
    this.code = CODES[kind];
    this.action = action;
  }
}
