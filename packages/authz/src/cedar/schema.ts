/**
 * The Cedar schema of a policy: one entity type per kind of resource, principals that are members of roles, one
 * context for every action. With it Cedar's own validator checks the exported text, and each request.
 */
import { atomsOf } from '../condition-node.ts';
import type { AttributeType, PolicyDocument } from '../policy-types.ts';
import { attributeName, cedarLiteral, entityTypes, PRINCIPAL, ROLE } from './names.ts';

/** The schema, in Cedar's own syntax. */
export function cedarSchema(document: PolicyDocument): string {
  const kinds = Object.entries(document.resources);
  const types = entityTypes(kinds.map(([kind]) => kind));
  const entities = kinds.map(([kind, { attributes = {} }]) => {
    const declared = Object.entries(attributes).map(
      ([name, type]) => `  ${attributeName(name)}?: ${cedarType(type)},\n`,
    );
    return `entity ${types.get(kind)} = {\n  org: String,\n  id?: String,\n${declared.join('')}};\n`;
  });
  const actions = kinds.flatMap(([kind, declaration]) =>
    declaration.actions.map(
      (name) =>
        `action ${cedarLiteral(`${kind}.${name}`)} appliesTo {\n  principal: [${PRINCIPAL}],\n  resource: [${types.get(kind)}],\n  context: Context,\n};\n`,
    ),
  );
  return [
    `entity ${ROLE};\n`,
    `entity ${PRINCIPAL} in [${ROLE}] = {\n  id: String,\n  org: String,\n};\n`,
    ...entities,
    contextType(document),
    ...actions,
  ].join('\n');
}

/** The roles whose approvals some condition counts. */
export function approverRoles({ grants, forbids }: PolicyDocument): readonly string[] {
  const conditions = [...grants.map(({ when }) => when), ...forbids.map(({ unless }) => unless)];
  const roles = conditions.flatMap((condition) =>
    (condition === undefined ? [] : atomsOf(condition)).flatMap((atom) =>
      atom.op === 'approvedBy' ? [atom.from] : [],
    ),
  );
  return [...new Set(roles)].sort();
}

function contextType(document: PolicyDocument): string {
  const approvals = approverRoles(document).map((role) => `${cedarLiteral(role)}: Long`);
  return [
    'type Context = {',
    '  now: Long,',
    '  mfa: Bool,',
    '  sso: Bool,',
    '  acr?: String,',
    '  authenticatedAt?: Long,',
    `  approvals: { ${approvals.join(', ')} },`,
    '};\n',
  ].join('\n');
}

function cedarType(type: AttributeType): string {
  if (type === 'integer') return 'Long';
  return type === 'boolean' ? 'Bool' : 'String';
}
