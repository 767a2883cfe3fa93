/**
 * From unknown data to the canonical policy document: read once, check shape, check references, sort what is a set,
 * freeze. The hash is that of the canonical text, so it does not depend on the order things were written in.
 */
import { type CanonicalValue, canonicalJson, deepFreeze, sha256Hex } from './canonical.ts';
import { type ConditionNode, isComposite } from './condition-node.ts';
import { AuthzInvalidPolicyError } from './errors.ts';
import { plainCopy } from './plain-copy.ts';
import { checkReferences } from './policy-references.ts';
import { checkShape } from './policy-schema.ts';
import type { ForbidDocument, GrantDocument, PolicyDocument, ResourceDeclaration } from './policy-types.ts';

/**
 * Checks and canonicalises a policy.
 *
 * @throws RingfenceAuthzError `authz.invalid_policy` with every issue found.
 */
export function canonicalDocument(input: unknown): PolicyDocument {
  const plain = plainCopy(input);
  if (!plain.ok) throw new AuthzInvalidPolicyError([plain.issue]);
  const shape = checkShape(plain.value);
  if (shape.document === undefined) throw new AuthzInvalidPolicyError(shape.issues);
  const issues = checkReferences(shape.document);
  if (issues.length > 0) throw new AuthzInvalidPolicyError(issues);
  return deepFreeze(canonical(shape.document));
}

/** SHA-256 of the canonical text of a canonical document, hex. */
export function documentHash(document: PolicyDocument): string {
  return sha256Hex(canonicalJson(document as unknown as CanonicalValue));
}

function canonical(document: PolicyDocument): PolicyDocument {
  const { acrLevels, mfaAcr } = document;
  return {
    version: 1,
    resources: sortedRecord(document.resources, canonicalResource),
    roles: sorted(document.roles),
    ...(acrLevels === undefined ? {} : { acrLevels }), // their order has a meaning
    ...(mfaAcr === undefined ? {} : { mfaAcr }),
    grants: document.grants.map(canonicalGrant).sort(byId),
    forbids: document.forbids.map(canonicalForbid).sort(byId),
  };
}

function canonicalResource({ actions, attributes = {} }: ResourceDeclaration): ResourceDeclaration {
  return {
    actions: sorted(actions),
    attributes: sortedRecord(attributes, (type) => (typeof type === 'string' ? type : sorted(type))),
  };
}

function canonicalGrant({ id, roles, actions, when }: GrantDocument): GrantDocument {
  return {
    id,
    roles: sorted(roles),
    actions: sorted(actions),
    ...(when === undefined ? {} : { when: canonicalCondition(when) }),
  };
}

function canonicalForbid({ id, roles, actions, when, unless, reason }: ForbidDocument): ForbidDocument {
  return {
    id,
    actions: sorted(actions),
    ...(roles === undefined ? {} : { roles: sorted(roles) }),
    ...(when === undefined ? {} : { when: canonicalCondition(when) }),
    ...(unless === undefined ? {} : { unless: canonicalCondition(unless) }),
    reason,
  };
}

function canonicalCondition(node: ConditionNode): ConditionNode {
  if (node.op === 'oneOf' || node.op === 'noneOf') return { ...node, values: [...node.values].sort(byText) };
  if (!isComposite(node)) return node;
  const keyed = node.of.map(canonicalCondition).map((part) => ({
    part,
    key: canonicalJson(part as unknown as CanonicalValue),
  }));
  return { op: node.op, of: keyed.sort((a, b) => compare(a.key, b.key)).map(({ part }) => part) };
}

function sorted(names: readonly string[]): readonly string[] {
  return [...names].sort(compare);
}

function sortedRecord<T, U>(
  record: Readonly<Record<string, T>>,
  map: (value: T) => U,
): Readonly<Record<string, U>> {
  return Object.fromEntries(
    Object.entries(record)
      .sort(([a], [b]) => compare(a, b))
      .map(([key, value]) => [key, map(value)]),
  );
}

function byId(a: { readonly id: string }, b: { readonly id: string }): number {
  return compare(a.id, b.id);
}

function byText(a: string | number, b: string | number): number {
  return compare(String(a), String(b));
}

/** Code-unit order: the same on every machine, unlike locale order. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
