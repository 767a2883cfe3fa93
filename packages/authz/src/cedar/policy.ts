/**
 * A policy as Cedar text: one `permit` per grant, one `forbid` per forbid, under the same ids. The
 * two things that this package does by itself and Cedar does not stand in the text: every permit compares the
 * organisations, and every forbid applies unless it is known not to.
 */
import { IndexedPolicy, type Policy } from '../policy.ts';
import type { ForbidDocument, GrantDocument, Resources } from '../policy-types.ts';
import { disjunction, knownFalse, knownTrue } from './condition.ts';
import { ACTION, cedarLiteral, entity, entityTypes, ROLE } from './names.ts';
import { cedarSchema } from './schema.ts';

/** A policy in the syntax of Cedar 4. */
export interface CedarPolicy {
  /** The schema. */
  readonly schema: string;
  /** All policies, each with its id as an `@id` annotation, ready for a `.cedar` file. */
  readonly text: string;
  /** The same policies by id, as Cedar's bindings take them: what decides is then named by our ids. */
  readonly policies: Readonly<Record<string, string>>;
}

/**
 * The policy as Cedar text and schema. It decides every request of `cedarRequest` as `authorize` does, where step-up and
 * needed approvals are a deny.
 *
 * @throws TypeError for a policy that this package did not make.
 * @example
 * ```ts
 * const { schema, text } = cedarPolicy(policy);
 * await writeFile('policy.cedarschema', schema);
 * await writeFile('policy.cedar', text);
 * ```
 */
export function cedarPolicy<R extends Resources, Role extends string>(policy: Policy<R, Role>): CedarPolicy {
  const index = IndexedPolicy.indexOf(policy);
  if (index === undefined) throw new TypeError('not a policy of this package');
  const { document } = index;
  const types = entityTypes(Object.keys(document.resources));
  const acrLevels = document.acrLevels ?? [];
  const statements = [
    ...document.grants.map((grant) => [grant.id, permit(grant, types, acrLevels)] as const),
    ...document.forbids.map((rule) => [rule.id, forbid(rule, types, acrLevels)] as const),
  ];
  return Object.freeze({
    schema: cedarSchema(document),
    text: statements.map(([, statement]) => statement).join('\n'),
    policies: Object.freeze(Object.fromEntries(statements)),
  });
}

type EntityTypes = ReadonlyMap<string, string>;

function permit(
  { id, roles, actions, when }: GrantDocument,
  types: EntityTypes,
  acrLevels: readonly string[],
): string {
  const conditions = [
    memberOf(roles),
    'principal.org == resource.org',
    ...(when === undefined ? [] : [knownTrue(when, acrLevels)]),
  ];
  return `@id(${cedarLiteral(id)})\npermit (${scope(types, actions)})\nwhen { ${conditions.join(' && ')} };\n`;
}

function forbid(rule: ForbidDocument, types: EntityTypes, acrLevels: readonly string[]): string {
  const { id, reason, roles, actions, when, unless } = rule;
  const lifted = [
    ...(when === undefined ? [] : [knownFalse(when)]),
    ...(unless === undefined ? [] : [knownTrue(unless, acrLevels)]),
  ];
  const clauses = [
    ...(roles === undefined ? [] : [`when { ${memberOf(roles)} }`]),
    ...(lifted.length === 0 ? [] : [`unless { ${disjunction(lifted)} }`]),
  ];
  const head = `@id(${cedarLiteral(id)})\n@reason(${cedarLiteral(reason)})\nforbid (${scope(types, actions)})`;
  return `${[head, ...clauses].join('\n')};\n`;
}

/** The actions of a statement, and the kind of resource when they all have one. */
function scope(types: EntityTypes, actions: readonly string[]): string {
  const kinds = new Set(actions.map((action) => types.get(action.slice(0, action.indexOf('.')))));
  const [kind] = kinds;
  const named = actions.map((action) => entity(ACTION, action));
  const does = named.length === 1 ? `action == ${named[0]}` : `action in [${named.join(', ')}]`;
  return `principal, ${does}, resource${kinds.size === 1 && kind !== undefined ? ` is ${kind}` : ''}`;
}

function memberOf(roles: readonly string[]): string {
  const names = roles.map((role) => entity(ROLE, role));
  return names.length === 1 ? `principal in ${names[0]}` : `principal in [${names.join(', ')}]`;
}
