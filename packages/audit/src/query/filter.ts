/** What a listing is narrowed to, checked before it becomes parameters of a statement. */
import { RingfenceAuditError } from '../errors.ts';

/** Narrows a listing. All that is given must hold. */
export interface EventFilter {
  /** Who acted, exactly. */
  readonly actor?: string | undefined;
  /** Name of the event, exactly. */
  readonly action?: string | undefined;
  /** What was acted upon, exactly: `type:id`. */
  readonly target?: string | undefined;
  /** Earliest time of record, inclusive: RFC 3339 in UTC, `2026-03-01T00:00:00Z`, down to microseconds. */
  readonly from?: string | undefined;
  /** Latest time of record, exclusive, written like `from`. */
  readonly to?: string | undefined;
}

/** Most events of a page. */
export const MAX_LIMIT = 200;
const MAX_TEXT = 4_000;
/** RFC 3339 has the year 0000, PostgreSQL has not. */
const TIME = /^((?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z$/;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * The filter with its own members only, in a fixed form.
 *
 * @throws RingfenceAuditError `audit.invalid_filter`.
 */
export function checkFilter({ actor, action, target, from, to }: EventFilter): EventFilter {
  return {
    actor: text('actor', actor),
    action: text('action', action),
    target: text('target', target),
    from: time('from', from),
    to: time('to', to),
  };
}

/**
 * Rows of a page.
 *
 * @throws RingfenceAuditError `audit.invalid_filter` unless it is an integer from 1 to 200.
 */
export function checkLimit(limit: number): number {
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw refused(`limit: expected an integer from 1 to ${MAX_LIMIT}`);
  }
  return limit;
}

function text(name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (
    typeof value !== 'string' ||
    value === '' ||
    value.length > MAX_TEXT ||
    value.includes('\u0000') ||
    LONE_SURROGATE.test(value)
  ) {
    throw refused(`${name}: expected a text of 1 to ${MAX_TEXT} characters`);
  }
  return value;
}

function time(name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const match = typeof value === 'string' ? TIME.exec(value) : null;
  const [, seconds = '', fraction = ''] = match ?? [];
  const parsed = Date.parse(`${seconds}Z`);
  // Date.parse takes 30 February for 2 March: what comes back must be what went in.
  if (match === null || Number.isNaN(parsed) || !new Date(parsed).toISOString().startsWith(seconds)) {
    throw refused(`${name}: expected a time like 2026-03-01T00:00:00Z`);
  }
  return `${seconds}.${fraction.padEnd(6, '0')}Z`;
}

function refused(problem: string): RingfenceAuditError {
  return new RingfenceAuditError('audit.invalid_filter', problem);
}
