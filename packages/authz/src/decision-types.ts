/**
 * What a decision tells its caller. Four effects, ordered by how far the request is from being allowed: allow, step_up
 * (only facts about the session are missing), needs_approval (approvals of other people are missing), deny.
 * Facts name what the policy asks for, never the value the resource has.
 */

/** The four outcomes, from nearest to farthest. */
export type Effect = 'allow' | 'step_up' | 'needs_approval' | 'deny';

/** A fact which, with the others of its list, would have made the decision an allow. */
export type MissingFact =
  | {
      /** The request is malformed. */
      readonly kind: 'request';
      /** Which part of the request. */
      readonly field: string;
      /** What is wrong with it. */
      readonly problem: string;
    }
  | {
      /** The resource belongs to another organisation than the principal. */
      readonly kind: 'tenant';
    }
  | {
      /** The principal lacks a role. */
      readonly kind: 'role';
      /** One of these would do. */
      readonly anyOf: readonly string[];
    }
  | {
      /** An attribute of the resource is absent, of a wrong type, or has another value. */
      readonly kind: 'attribute';
      /** Name of the attribute. */
      readonly attribute: string;
      /** The condition as the policy states it. */
      readonly expected: string;
      /** Whether the attribute was absent, not of its declared type, or had another value. */
      readonly found: 'missing' | 'ill_typed' | 'other';
    }
  | {
      /** The decision falls outside (or inside) a window of time. */
      readonly kind: 'time';
      /** The condition as the policy states it. */
      readonly expected: string;
    }
  | {
      /** The session was not authenticated with more than one factor. */
      readonly kind: 'mfa';
    }
  | {
      /** The session was not authenticated through an SSO connection. */
      readonly kind: 'sso';
    }
  | {
      /** The session's authentication context class is too low. */
      readonly kind: 'acr';
      /** The classes that would do, lowest first. */
      readonly acrValues: readonly string[];
    }
  | {
      /** The authentication is too old. */
      readonly kind: 'authentication';
      /** Greatest age in ms. */
      readonly maxAgeMs: number;
    }
  | {
      /** Approvals are missing. */
      readonly kind: 'approval';
      /** How many more are needed. */
      readonly n: number;
      /** Role the approvers must hold. */
      readonly from: string;
    };

/** What a step-up authentication must satisfy, in the terms of RFC 9470. */
export interface StepUp {
  /** `acr_values`: acceptable authentication context classes, lowest first. Absent when the class does not matter. */
  readonly acrValues?: readonly string[];
  /** `max_age` in whole seconds. Absent when the age does not matter. */
  readonly maxAge?: number;
  /** More than one factor is needed. */
  readonly mfa: boolean;
  /** Authentication through the organisation's SSO connection is needed. */
  readonly sso: boolean;
}

/** Approvals that are missing. */
export interface ApprovalNeed {
  /** How many more. */
  readonly n: number;
  /** Role the approvers must hold; nobody approves a request of their own. */
  readonly from: string;
}

/** What every decision carries. */
export interface DecisionBase {
  /** The outcome. */
  readonly effect: Effect;
  /** The action asked for, `resource.action`. */
  readonly action: string;
  /** SHA-256 of the canonical policy document, hex. */
  readonly policyHash: string;
  /** One sentence for a person. */
  readonly reason: string;
  /** The smallest set of facts that would make it an allow; empty for an allow. */
  readonly missing: readonly MissingFact[];
  /** Plain data, for logs. */
  toJSON(): DecisionJson;
}

/** The request is allowed. */
export interface AllowDecision extends DecisionBase {
  /** The outcome. */
  readonly effect: 'allow';
  /** Id of the grant that decides. */
  readonly grant: string;
  /** Never set: no forbid applies. */
  readonly forbid: undefined;
}

/** The request is refused, and no authentication or approval would change that. */
export interface DenyDecision extends DecisionBase {
  /** The outcome. */
  readonly effect: 'deny';
  /** Id of the nearest grant, the one `missing` speaks of. */
  readonly grant: string | undefined;
  /** Id of the forbid that decides. */
  readonly forbid: string | undefined;
}

/** Only facts about the session are missing. */
export interface StepUpDecision extends DecisionBase {
  /** The outcome. */
  readonly effect: 'step_up';
  /** Id of the grant that would decide. */
  readonly grant: string;
  /** Id of the forbid that the step-up would lift, if one stands in the way. */
  readonly forbid: string | undefined;
  /** What the new authentication must satisfy. */
  readonly stepUp: StepUp;
}

/** Approvals are missing, and possibly facts about the session too (then `stepUp` is set). */
export interface ApprovalDecision extends DecisionBase {
  /** The outcome. */
  readonly effect: 'needs_approval';
  /** Id of the grant that would decide. */
  readonly grant: string;
  /** Id of the forbid that the approvals would lift, if one stands in the way. */
  readonly forbid: string | undefined;
  /** The approvals that are missing, one entry per role. */
  readonly approvals: readonly ApprovalNeed[];
  /** What the session must satisfy beside the approvals. */
  readonly stepUp: StepUp | undefined;
}

/** The answer of `authorize`. */
export type Decision = AllowDecision | DenyDecision | StepUpDecision | ApprovalDecision;

/** A decision as plain JSON. */
export interface DecisionJson {
  /** The outcome. */
  readonly effect: Effect;
  /** The action asked for. */
  readonly action: string;
  /** Deciding or nearest grant. */
  readonly grant?: string;
  /** Deciding forbid. */
  readonly forbid?: string;
  /** One sentence for a person. */
  readonly reason: string;
  /** What is missing. */
  readonly missing: readonly MissingFact[];
  /** What a step-up must satisfy. */
  readonly stepUp?: StepUp;
  /** Which approvals are missing. */
  readonly approvals?: readonly ApprovalNeed[];
  /** SHA-256 of the policy, hex. */
  readonly policyHash: string;
}
