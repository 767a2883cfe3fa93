/**
 * Names and constants as Cedar writes them. A kind of resource becomes an entity type, whose name must be a Cedar
 * identifier and none that Cedar or this export uses itself; the mapping is one to one and depends on the policy only.
 * Constants are escaped to printable ASCII, so no text of a policy can end a literal.
 */
import type { Literal } from '../condition-node.ts';

/** Entity type of principals. */
export const PRINCIPAL = 'Principal';
/** Entity type of roles; a principal is a member of its roles. */
export const ROLE = 'Role';
/** Entity type of actions. */
export const ACTION = 'Action';

/** Keywords, variables and built-in types of Cedar, and the types of the export. */
const TAKEN: readonly string[] = [
  ...['true', 'false', 'if', 'then', 'else', 'in', 'is', 'like', 'has', '__cedar'],
  ...['principal', 'action', 'resource', 'context'],
  ...['Bool', 'Boolean', 'String', 'Long', 'Set', 'Record', 'Entity', 'EntityOrCommon', 'Extension'],
  ...['ipaddr', 'decimal', 'datetime', 'duration'],
  ...[PRINCIPAL, ROLE, ACTION, 'Context'],
];
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Entity type of each kind of resource: its own name with `-` as `_`, and `_` appended until nobody has it. */
export function entityTypes(kinds: readonly string[]): ReadonlyMap<string, string> {
  // A name that is an identifier already keeps it; only then do the others look for a free one.
  const plain = kinds.filter((kind) => IDENTIFIER.test(kind) && !TAKEN.includes(kind));
  const types = new Map(plain.map((kind) => [kind, kind]));
  const used = new Set([...TAKEN, ...plain]);
  for (const kind of [...kinds].sort()) {
    if (types.has(kind)) continue;
    let type = kind.replaceAll('-', '_');
    while (used.has(type)) type += '_';
    types.set(kind, type);
    used.add(type);
  }
  return types;
}

/** An entity of a type, e.g. `Role::"controller"`. */
export function entity(type: string, id: string): string {
  return `${type}::${cedarLiteral(id)}`;
}

/** `resource has createdBy`. */
export function hasAttribute(name: string): string {
  return `resource has ${attributeName(name)}`;
}

/** `resource.createdBy`, or `resource["created-by"]`. */
export function attributeOf(name: string): string {
  const written = attributeName(name);
  return written === name ? `resource.${name}` : `resource[${written}]`;
}

/** An attribute's name where a declaration or `has` stands: quoted unless it is a plain identifier. */
export function attributeName(name: string): string {
  return IDENTIFIER.test(name) && !TAKEN.includes(name) ? name : cedarLiteral(name);
}

/** A constant of a policy. */
export function cedarLiteral(value: Literal): string {
  if (typeof value !== 'string') return String(value);
  const escaped = [...value].map((character) =>
    character === '"' || character === '\\'
      ? `\\${character}`
      : character >= ' ' && character <= '~'
        ? character
        : `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
  return `"${escaped.join('')}"`;
}
