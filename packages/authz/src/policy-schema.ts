/**
 * The shape of a policy document, checked with zod: unknown properties and operators are refused, names are plain
 * (so the language has no wildcard to smuggle in). What names refer to is checked in policy-references.ts.
 */
import { z } from 'zod';
import type { ConditionNode } from './condition-node.ts';
import type { PolicyIssue } from './errors.ts';
import { isPrototypeName } from './plain-copy.ts';
import type { PolicyDocument } from './policy-types.ts';

const PLAIN_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,62}$/;
const MAX_WINDOW_MS = 8_640_000_000_000_000; // the range of Date, ECMA-262 21.4.1.1

const name = z
  .string()
  .refine((value) => PLAIN_NAME.test(value) && !isPrototypeName(value), { error: nameProblem });
const actionName = z.string().refine((value) => value.split('.').length === 2 && !value.includes('*'), {
  error: (issue) => (has(issue.input, '*') ? WILDCARD : 'not of the form resource.action'),
});
const acr = z
  .string()
  .regex(
    /^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/,
    'not an acr value: 1 to 255 printable ASCII, no quotes or spaces',
  );
const WILDCARD = 'the policy language has no wildcards: list the names';

const reference = z.strictObject({ ref: z.literal('resource'), attribute: name });
const principalId = z.strictObject({ ref: z.literal('principal'), attribute: z.literal('id') });
const literal = z.union([z.string(), z.int(), z.boolean()]);
const constants = z.union([z.array(z.string()).min(1), z.array(z.int()).min(1)]);
const instant = z.int().min(-MAX_WINDOW_MS).max(MAX_WINDOW_MS);

const condition: z.ZodType<ConditionNode> = z.lazy(
  () => conditionUnion,
) as unknown as z.ZodType<ConditionNode>;
const conditionUnion = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.enum(['equals', 'notEquals']),
    left: reference,
    right: z.union([literal, reference, principalId]),
  }),
  z.strictObject({ op: z.enum(['oneOf', 'noneOf']), left: reference, values: constants }),
  z.strictObject({
    op: z.enum(['lessThan', 'atMost', 'moreThan', 'atLeast']),
    left: reference,
    right: z.int(),
  }),
  z.strictObject({
    op: z.enum(['timeWindow', 'outsideTimeWindow']),
    from: instant.optional(),
    until: instant.optional(),
  }),
  z.strictObject({ op: z.enum(['mfa', 'sso']) }),
  z.strictObject({ op: z.literal('acrAtLeast'), acr }),
  z.strictObject({ op: z.literal('authenticatedWithin'), maxAgeMs: z.int().min(1_000) }),
  z.strictObject({ op: z.literal('approvedBy'), n: z.int().min(1).max(10), from: name }),
  z.strictObject({ op: z.enum(['all', 'any']), of: z.array(condition).min(1).max(256) }),
]);

const attributeType = z.union([
  z.enum(['string', 'integer', 'boolean']),
  z.array(z.string()).min(1).max(1_024),
]);
const policyDocument = z.strictObject({
  version: z.literal(1).default(1),
  resources: z.record(
    name,
    z.strictObject({
      actions: z.array(name).min(1),
      attributes: z.record(name, attributeType).default({}),
    }),
  ),
  roles: z.array(name).min(1).max(1_024),
  acrLevels: z.array(acr).min(1).max(32).optional(),
  mfaAcr: acr.optional(),
  grants: z.array(
    z.strictObject({
      id: name,
      roles: z.array(name).min(1),
      actions: z.array(actionName).min(1),
      when: condition.optional(),
    }),
  ),
  forbids: z
    .array(
      z.strictObject({
        id: name,
        actions: z.array(actionName).min(1),
        roles: z.array(name).min(1).optional(),
        when: condition.optional(),
        unless: condition.optional(),
        reason: z.string().min(1).max(500),
      }),
    )
    .default([]),
});

/** A document of the right shape, or everything that is wrong with it. */
export type ShapeResult =
  | { readonly document: PolicyDocument; readonly issues: readonly [] }
  | { readonly document: undefined; readonly issues: readonly PolicyIssue[] };

/** Checks the shape of plain data (see plain-copy.ts). */
export function checkShape(plain: unknown): ShapeResult {
  const result = policyDocument.safeParse(plain);
  if (result.success) return { document: result.data as PolicyDocument, issues: [] };
  return {
    document: undefined,
    issues: result.error.issues.map(({ path, message }) => ({ path: pathText(path), message })),
  };
}

function nameProblem(issue: { readonly input?: unknown }): string {
  if (has(issue.input, '*')) return WILDCARD;
  return 'not a plain name: a letter, then letters, digits, "_" or "-", at most 63, and no name every object inherits';
}

function has(input: unknown, part: string): boolean {
  return typeof input === 'string' && input.includes(part);
}

function pathText(path: readonly PropertyKey[]): string {
  const text = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  return text === '' ? 'policy' : text.replace(/^\./, '');
}
