/**
 * The call of `tenancy.enter`, in front of the first statement of every checkout: takes the session back and sets the context.
 *
 * Invariant: nothing in it is for a borrower to know or to choose but the organisation's context, which is in force by then.
 */
import { randomInt } from 'node:crypto';
import type { Statement } from './flight.ts';

/** A seed has as many bits as one call of the generator gives. */
const HALF_RANGE = 2 ** 47;

/** Enters a session under a context. `begin` is the text of the BEGIN in front of it, or empty. */
export function enter(context: string, begin: string): Statement {
  const parameters = [context, ...defaultModes(begin), freshSeed()];
  return {
    sql: 'select tenancy.enter($1, $2, $3, $4) as context',
    parameters,
    prepare: true,
    own: true,
  };
}

/** Which modes of a transaction BEGIN leaves to the session: isolation, and access. */
function defaultModes(begin: string): ['t' | 'f', 't' | 'f'] {
  return [
    /\bisolation\s+level\b/i.test(begin) ? 'f' : 't',
    /\bread\s+(only|write)\b/i.test(begin) ? 'f' : 't',
  ];
}

/** A seed of `random()` that no borrower has chosen or can work out: above -1 and below 1. */
function freshSeed(): number {
  return randomInt(1 - HALF_RANGE, HALF_RANGE) / HALF_RANGE;
}
