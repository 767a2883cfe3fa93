/**
 * Judges what the server answered. Only a refusal that is understood counts as contained: row-level security, a missing
 * right or the context under SQLSTATE 42501, or a foreign key. Everything else is a crossing or inconclusive.
 */
import type { StepResult } from './probe-session.ts';
import type { AttackName, Outcome } from './report.ts';

/** An outcome with its evidence. */
export interface Verdict {
  readonly outcome: Outcome;
  readonly evidence: string;
}

/** An attack: lists of steps, and the judge of their results. */
export interface Attack {
  readonly relation: string;
  readonly attack: AttackName;
  readonly object?: string;
  readonly lists: readonly (readonly (readonly [number, string])[])[];
  readonly judge: (results: readonly StepResult[]) => Verdict;
}

/** Judges one result. */
export type Judge = (result: StepResult) => Verdict;

const contained = (evidence: string): Verdict => ({ outcome: 'contained', evidence });
const crossed = (evidence: string): Verdict => ({ outcome: 'crossed', evidence });

/** SQLSTATE with the constraint or function that raised it. */
export function describeFailure({ state, constraint, place }: StepResult): string {
  return [state, constraint, place === '' ? '' : `in ${place}`].filter((part) => part !== '').join(' ');
}

function otherwise(result: StepResult): Verdict {
  return { outcome: 'inconclusive', evidence: `failed with ${describeFailure(result)}` };
}

/**
 * A refusal under 42501 that is understood: of the statement itself, which is a missing right or row-level security, or of the
 * context. One that a function of the user raised says nothing: a trigger raises only once a row has been let through to it.
 */
const isRefusal = ({ state, constraint, place }: StepResult): boolean =>
  state === '42501' && (place === '' || constraint.startsWith('tenancy.'));
/** SQLSTATE class 23: row-level security is checked before constraints, so a constraint means that it let the row pass. */
export const isConstraint = ({ state }: StepResult): boolean => state.startsWith('23');

/** No row of the other organisation may be seen or touched. */
export const noRows: Judge = (result) => {
  if (result.state === '00000')
    return result.rows === 0 ? contained('no rows') : crossed(`${result.rows} rows of another organisation`);
  if (isRefusal(result)) return contained(describeFailure(result));
  if (isConstraint(result)) return crossed(`row-level security let it through to ${describeFailure(result)}`);
  return otherwise(result);
};

/** A right that only the catalog tells of: the answer has a row when the app role has it. */
export function noHolding(what: string): Judge {
  return (result) => {
    if (result.state !== '00000') return otherwise(result);
    return result.rows > 0 ? crossed(`the app role ${what}`) : contained('not held');
  };
}

/** An owner may turn row-level security off. */
export const noOwnership: Judge = (result) =>
  result.rows > 0 ? crossed('the app role is a member of the owner') : noRows(result);

/** The statement has to fail, whether or not it would find a row. */
export function refused(what: string): Judge {
  return (result) => {
    if (isRefusal(result)) return contained(describeFailure(result));
    if (result.state === '00000') return crossed(`the app role ${what}`);
    if (isConstraint(result))
      return crossed(`row-level security let it through to ${describeFailure(result)}`);
    return otherwise(result);
  };
}

/** TRUNCATE checks the right first: a table that is in use or referenced has passed that check. */
export const noTruncate: Judge = (result) =>
  ['0A000', '55006', '55P03'].includes(result.state)
    ? crossed('the app role may truncate')
    : refused('may truncate')(result);

/** No right at all; a relation that has no such operation (55000, 42809) is contained too. */
export function noRight(privilege: string): Judge {
  return (result) => {
    if (result.state === '55000' || result.state === '42809') return contained(describeFailure(result));
    return privilege === 'truncate' ? noTruncate(result) : refused(`may ${privilege}`)(result);
  };
}

/**
 * The organisation sees its own rows: without that, seeing no others proves nothing. They may be more than were seeded: a
 * trigger of another table writes some.
 */
export function ownRows(expected: number, mayRead: boolean): Judge {
  return (result) => {
    if (result.state === '00000' && result.rows >= expected) return contained(`sees its ${result.rows} rows`);
    if (isRefusal(result) && !mayRead) return contained(describeFailure(result));
    const seen =
      result.state === '00000'
        ? `sees ${result.rows} of its ${expected} rows`
        : `failed with ${describeFailure(result)}`;
    return { outcome: 'inconclusive', evidence: `${seen}, so that the other attacks prove nothing` };
  };
}

/** Without a context a statement is an error, never an empty answer. */
export const noContext: Judge = (result) => {
  if (result.state === '00000' && result.rows === 0)
    return { outcome: 'inconclusive', evidence: 'answered with nothing instead of tenancy.no_context' };
  return noRows(result);
};

/** An expired context must not show even the own rows. */
export const expired: Judge = (result) =>
  result.state === '00000' && result.rows > 0 ? crossed('an expired context is accepted') : noContext(result);

/** A reference to a row of another organisation fails exactly as one to no row at all; pairs of foreign and missing. */
export function sameRefusal(key: string): (results: readonly StepResult[]) => Verdict {
  return (results) => {
    let known: Verdict | undefined;
    let unknown: StepResult | undefined;
    for (let index = 0; index + 1 < results.length; index += 2) {
      const [foreign, missing] = [results[index] as StepResult, results[index + 1] as StepResult];
      if (foreign.state === '00000' && foreign.rows > 0)
        return crossed('refers to a row of another organisation');
      const same = foreign.state === missing.state && foreign.constraint === missing.constraint;
      if (!same)
        return crossed(
          `tells a foreign row from none: ${describeFailure(foreign)} against ${describeFailure(missing)}`,
        );
      if (foreign.state === '23503' && foreign.constraint === key)
        known = contained(describeFailure(foreign));
      else if (isRefusal(foreign)) known ??= contained(describeFailure(foreign));
      else unknown ??= foreign;
    }
    const byKey = known?.evidence.startsWith('23503') === true;
    if (known !== undefined && (byKey || unknown === undefined)) return known;
    return unknown === undefined
      ? { outcome: 'inconclusive', evidence: 'not tried' }
      : unknown.state === '00000'
        ? { outcome: 'inconclusive', evidence: 'no own row to change' }
        : otherwise(unknown);
  };
}

/** A row of the other organisation that refers to an own one: deleting the own one must not be able to change it. */
export function noCascade(key: string): Judge {
  return (result) => {
    if (result.state === '00000')
      return result.rows === 0
        ? contained('no rows')
        : crossed('deleting an own row changes rows of another organisation');
    if (result.state === '23503' && result.constraint === key) return contained(describeFailure(result));
    return isRefusal(result) ? contained(describeFailure(result)) : otherwise(result);
  };
}
