/**
 * What a former borrower may have left in a session of the server, and how it is taken back or refused.
 *
 * By an expression alone it can change settings, take the session's advisory locks and change the role: reset and checked
 * at every checkout. With statements of other kinds, or a function that runs dynamic SQL, it can hold cursors, listen, and
 * replace the driver's prepared statements: reset and checked whenever the former borrower ran such a statement, every few
 * seconds in any case, and at every checkout where there is such a function. What cannot be taken back safely is refused, and
 * the session replaced.
 *
 * Behind a pooler in transaction mode the former borrower may have used another client connection, or another process, so
 * what is remembered of this one says nothing: everything is taken back at every checkout. No name of the driver's can have
 * been given another text there, because it uses none. The login role is the one thing the pooler keeps equal.
 *
 * None of these statements is named: a name could have been given another text. `tenancy.enter`, which takes back what an
 * expression can leave, is: where its name could have been given another text, these come before it.
 */
import { PLAIN_QUERIES, type Statement, type StatementResult } from './flight.ts';
import type { Session } from './session-pool.ts';
import { plain } from './statement.ts';

const POOLED: readonly Statement[] = ['close all', 'unlisten *', 'deallocate all', 'reset role'].map(plain);
/** The whole check: its answer says whether plain queries can leave as much. */
const WHOLE: readonly Statement[] = [plain('select tenancy.assert_session(true) as dynamic_sql')];
/** The same without the question, whose answer is known. */
const KNOWN: readonly Statement[] = [plain('select tenancy.assert_session(false)')];

/** Longest time between two whole checks of a session, ms: a function with dynamic SQL may have been created since. */
const WHOLE_CHECK_MS = 5_000;

/** The statements due in front of the first statement of a checkout. */
export function checkDue(session: Session, nowMs: number): readonly Statement[] {
  if (session.pooled) return POOLED;
  const { suspect, dynamicSql, checkedAtMs } = session.server;
  const age = nowMs - checkedAtMs;
  if (suspect || !(age >= 0 && age < WHOLE_CHECK_MS)) return WHOLE;
  return dynamicSql ? KNOWN : [];
}

/** Remembers a check that has passed; `answer` is that of its first statement. */
export function checkPassed(
  { server }: Session,
  check: readonly Statement[],
  answer: StatementResult | undefined,
  nowMs: number,
): void {
  if (check !== WHOLE) return;
  server.suspect = false;
  server.checkedAtMs = nowMs;
  server.dynamicSql = answer?.rows[0]?.['dynamic_sql'] !== false;
}

/** True when a statement may have left what the short check does not see. */
export function leavesMore(statements: readonly Statement[], answers: readonly StatementResult[]): boolean {
  return statements.some(({ own }, index) => {
    return own !== true && !PLAIN_QUERIES.has(answers[index]?.command ?? '');
  });
}
