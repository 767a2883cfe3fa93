/**
 * What the analysis reports. Each kind of finding has one id, one level, one rationale and one remedy, stated once here;
 * a finding adds where it was seen and, where a request can prove it, that request.
 */
import type { DecisionInputs } from '../record-inputs.ts';

/** How grave a finding is. */
export type FindingLevel = 'error' | 'warning' | 'note';

/** Ids of findings. */
export type FindingId =
  | 'blanket-admin'
  | 'cross-tenant'
  | 'dead-grant'
  | 'shadowed-grant'
  | 'total-forbid'
  | 'dead-forbid'
  | 'unused-role'
  | 'unused-action'
  | 'duty-conflict'
  | 'self-approval'
  | 'mfa-missing';

/** One kind of finding. */
export interface Rule {
  /** How grave. */
  readonly level: FindingLevel;
  /** Why it matters. */
  readonly rationale: string;
  /** What to do. */
  readonly remedy: string;
}

/** One thing found. */
export interface Finding extends Rule {
  /** Which kind. */
  readonly id: FindingId;
  /** One sentence with the names concerned. */
  readonly message: string;
  /** Id of the grant, forbid, role or action concerned. */
  readonly subject: string;
  /** Every role it holds for; only for checks of what the application declares. */
  readonly roles?: readonly string[];
  /** A request that shows it, to be replayed. Absent where something is impossible for every request. */
  readonly witness?: DecisionInputs;
}

/** Every kind of finding. */
export const RULES: Readonly<Record<FindingId, Rule>> = Object.freeze({
  'blanket-admin': {
    level: 'error',
    rationale: 'A role that may do everything makes its theft the theft of the organisation.',
    remedy: 'Split the role, or put conditions on what is rarely needed.',
  },
  'cross-tenant': {
    level: 'error',
    rationale: 'A decision for a resource of another organisation must be impossible.',
    remedy: 'Report it: the evaluation is at fault, not the policy.',
  },
  'dead-grant': {
    level: 'warning',
    rationale:
      'The grant allows nothing in any situation, so somebody believes in a right that is not there.',
    remedy: 'Mend its condition, or remove it.',
  },
  'shadowed-grant': {
    level: 'warning',
    rationale: 'All that the grant allows is allowed without it: its condition restricts nothing.',
    remedy: 'Remove it, or narrow the grants that cover it.',
  },
  'total-forbid': {
    level: 'warning',
    rationale: 'The forbid refuses its action in every situation, so the grants of that action are void.',
    remedy: 'Narrow the forbid, or remove the grants.',
  },
  'dead-forbid': {
    level: 'warning',
    rationale: 'The forbid never changes a decision, so somebody believes in a protection that is not there.',
    remedy: 'Mend its condition, or remove it.',
  },
  'unused-role': {
    level: 'note',
    rationale: 'A role that no grant gives anything can be assigned without effect.',
    remedy: 'Remove the role, or grant it what it is for.',
  },
  'unused-action': {
    level: 'note',
    rationale: 'An action that no grant gives to anybody is always denied.',
    remedy: 'Remove the action, or grant it.',
  },
  'duty-conflict': {
    level: 'error',
    rationale: 'One person who can do both halves of a duty controls nobody and is controlled by nobody.',
    remedy: 'Give the halves to different roles, or forbid the second on resources of one’s own.',
  },
  'self-approval': {
    level: 'error',
    rationale: 'Whoever made the resource may approve it.',
    remedy: 'Add a forbid: the owner equals the principal.',
  },
  'mfa-missing': {
    level: 'error',
    rationale: 'A stolen password is enough for an action that was declared sensitive.',
    remedy: 'Add a forbid without `when` that `unless: mfa()` lifts.',
  },
});

/** A finding of a kind. */
export function finding(id: FindingId, subject: string, message: string, witness?: DecisionInputs): Finding {
  return Object.freeze({ id, ...RULES[id], subject, message, ...(witness === undefined ? {} : { witness }) });
}

/** A finding about roles, of which each can do the same; the witness is of the first. */
export function roleFinding(
  id: FindingId,
  subject: string,
  roles: readonly string[],
  can: string,
  witness: DecisionInputs,
): Finding {
  const who = roles.map((role) => JSON.stringify(role)).join(', ');
  const message = `role${roles.length > 1 ? 's' : ''} ${who} ${can}`;
  return Object.freeze({ ...finding(id, subject, message, witness), roles: Object.freeze([...roles]) });
}
