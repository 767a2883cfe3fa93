/**
 * The inputs of a decision as plain JSON, and their parser. Only what the evaluation read is there: attributes that no
 * condition of the action speaks of are neither kept nor hashed.
 */
import { z } from 'zod';
import type { ApprovalInit } from './approval.ts';
import { RingfenceAuthzError } from './errors.ts';
import type { SessionFactsInit } from './session-facts.ts';

/** The principal of a decision. */
export interface PrincipalInputs {
  /** Its id. */
  readonly id: string;
  /** Its organisation. */
  readonly org: string;
  /** Its roles, sorted, each once. */
  readonly roles: readonly string[];
}

/** The resource of a decision. */
export interface ResourceInputs {
  /** Its organisation. */
  readonly org: string;
  /** Its id, if it had one. */
  readonly id?: string;
  /** The attributes that were read. */
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  /** Attributes that were not of their declared type, sorted. */
  readonly illTyped?: readonly string[];
}

/** Why a request could not be evaluated. */
export interface ProblemInputs {
  /** Which part of it. */
  readonly field: string;
  /** What was wrong. */
  readonly problem: string;
}

/** What a decision was made from. */
export interface DecisionInputs {
  /** The action. */
  readonly action: string;
  /** Why the request could not be evaluated; then nothing else is there. */
  readonly problem?: ProblemInputs;
  /** The instant of the decision, epoch ms. */
  readonly now?: number;
  /** Who asked. */
  readonly principal?: PrincipalInputs;
  /** What for. */
  readonly resource?: ResourceInputs;
  /** What was known of the session; only facts that were there. */
  readonly session?: SessionFactsInit;
  /** The approvals presented. */
  readonly approvals?: readonly ApprovalInit[];
}

const inputs = z.strictObject({
  action: z.string(),
  problem: z.strictObject({ field: z.string(), problem: z.string() }).optional(),
  now: z.int().optional(),
  principal: z.strictObject({ id: z.string(), org: z.string(), roles: z.array(z.string()) }).optional(),
  resource: z
    .strictObject({
      org: z.string(),
      id: z.string().optional(),
      attributes: z.record(z.string(), z.union([z.string(), z.int(), z.boolean()])),
      illTyped: z.array(z.string()).optional(),
    })
    .optional(),
  session: z
    .strictObject({
      mfa: z.boolean(),
      acr: z.string().optional(),
      authenticatedAt: z.int().optional(),
      ssoConnection: z.string().optional(),
    })
    .optional(),
  approvals: z
    .array(
      z.strictObject({
        by: z.string(),
        roles: z.array(z.string()),
        org: z.string(),
        action: z.string(),
        resourceId: z.string(),
      }),
    )
    .optional(),
});

/**
 * Checks inputs that come from an archive.
 *
 * @throws RingfenceAuthzError `authz.invalid_request` when they are malformed.
 */
export function parseInputs(value: unknown): DecisionInputs {
  const result = inputs.safeParse(value);
  if (!result.success) {
    throw new RingfenceAuthzError('authz.invalid_request', 'the inputs of the decision are malformed', {
      cause: result.error,
    });
  }
  return result.data as DecisionInputs;
}
