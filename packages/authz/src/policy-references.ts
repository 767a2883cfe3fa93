/**
 * What the names of a policy document refer to: every role, action, attribute, value of an enumeration and acr level
 * must be declared, ids must be unique, and types must fit. The run-time twin of the checks in policy-types.ts.
 */
import {
  type AtomNode,
  atomsOf,
  type ConditionNode,
  type EqualityNode,
  type Literal,
  type MembershipNode,
  type OrderNode,
} from './condition-node.ts';
import type { PolicyIssue } from './errors.ts';
import type { AttributeType, PolicyDocument } from './policy-types.ts';

/** Everything that dangles or does not fit; empty for a sound document. */
export function checkReferences(document: PolicyDocument): readonly PolicyIssue[] {
  return new ReferenceCheck(document).run();
}

class ReferenceCheck {
  readonly #document: PolicyDocument;
  readonly #issues: PolicyIssue[] = [];
  readonly #attributes: Map<string, ReadonlyMap<string, AttributeType>> = new Map();
  readonly #actions: Set<string> = new Set();
  readonly #roles: ReadonlySet<string>;

  constructor(document: PolicyDocument) {
    this.#document = document;
    this.#roles = new Set(document.roles);
  }

  run(): readonly PolicyIssue[] {
    const { resources, roles, acrLevels, mfaAcr, grants, forbids } = this.#document;
    this.#unique(roles, 'roles');
    this.#unique(acrLevels ?? [], 'acrLevels');
    if (mfaAcr !== undefined && !(acrLevels ?? []).includes(mfaAcr)) {
      this.#report('mfaAcr', `"${mfaAcr}" is not one of acrLevels`);
    }
    for (const [name, declaration] of Object.entries(resources)) {
      this.#unique(declaration.actions, `resources.${name}.actions`);
      for (const action of declaration.actions) this.#actions.add(`${name}.${action}`);
      const attributes = new Map<string, AttributeType>();
      for (const [attribute, type] of Object.entries(declaration.attributes ?? {})) {
        const path = `resources.${name}.attributes.${attribute}`;
        if (attribute === 'id' || attribute === 'org') this.#report(path, 'always there, not to be declared');
        if (typeof type !== 'string') this.#unique(type, path);
        attributes.set(attribute, type);
      }
      this.#attributes.set(name, attributes.set('id', 'string'));
    }
    const ids = [...grants, ...forbids].map(({ id }) => id);
    this.#unique(ids, 'ids of grants and forbids');
    for (const [index, grant] of grants.entries()) {
      const path = `grants[${index}]`;
      this.#names(grant.roles, this.#roles, `${path}.roles`, 'role');
      this.#names(grant.actions, this.#actions, `${path}.actions`, 'action');
      this.#condition(grant.when, `${path}.when`, grant.actions, true);
    }
    for (const [index, forbid] of forbids.entries()) {
      const path = `forbids[${index}]`;
      this.#names(forbid.roles ?? [], this.#roles, `${path}.roles`, 'role');
      this.#names(forbid.actions, this.#actions, `${path}.actions`, 'action');
      this.#condition(forbid.when, `${path}.when`, forbid.actions, false);
      this.#condition(forbid.unless, `${path}.unless`, forbid.actions, true);
    }
    return this.#issues;
  }

  #report(path: string, message: string): void {
    if (this.#issues.length < 100) this.#issues.push({ path, message });
  }

  #unique(names: readonly string[], path: string): void {
    const seen = new Set<string>();
    for (const name of names) {
      if (seen.has(name)) this.#report(path, `"${name}" stands there twice`);
      seen.add(name);
    }
  }

  #names(names: readonly string[], known: ReadonlySet<string>, path: string, what: string): void {
    this.#unique(names, path);
    for (const name of names) if (!known.has(name)) this.#report(path, `unknown ${what} "${name}"`);
  }

  #condition(
    node: ConditionNode | undefined,
    path: string,
    actions: readonly string[],
    monotone: boolean,
  ): void {
    if (node === undefined) return;
    const resources = new Set(actions.map((action) => action.slice(0, action.indexOf('.'))));
    for (const atom of atomsOf(node)) this.#atom(atom, path, resources, monotone);
  }

  #atom(atom: AtomNode, path: string, resources: ReadonlySet<string>, monotone: boolean): void {
    switch (atom.op) {
      case 'mfa':
      case 'sso':
      case 'authenticatedWithin':
      case 'acrAtLeast':
      case 'approvedBy':
        if (!monotone) {
          this.#report(path, `${atom.op} cannot make a forbid apply: more facts must never take access away`);
        }
        if (atom.op === 'acrAtLeast' && !(this.#document.acrLevels ?? []).includes(atom.acr)) {
          this.#report(path, `"${atom.acr}" is not one of acrLevels`);
        }
        if (atom.op === 'approvedBy' && !this.#roles.has(atom.from)) {
          this.#report(path, `unknown role "${atom.from}"`);
        }
        return;
      case 'timeWindow':
      case 'outsideTimeWindow':
        if (atom.from === undefined && atom.until === undefined)
          this.#report(path, `${atom.op} has no bound`);
        if ((atom.from ?? -Infinity) >= (atom.until ?? Infinity)) this.#report(path, `${atom.op} is empty`);
        return;
      default:
        for (const resource of resources) this.#comparison(atom, path, resource);
    }
  }

  #comparison(atom: EqualityNode | MembershipNode | OrderNode, path: string, resource: string): void {
    const type = this.#attribute(resource, atom.left.attribute, path);
    if (type === undefined) return;
    const fits = (value: Literal): void => {
      const problem = literalProblem(type, value);
      if (problem !== undefined) this.#report(path, `${resource}.${atom.left.attribute} ${problem}`);
    };
    if ('values' in atom) {
      this.#unique(atom.values.map(String), path);
      for (const value of atom.values) fits(value);
      return;
    }
    const { right } = atom;
    if (typeof right !== 'object') {
      fits(right);
      return;
    }
    const other = right.ref === 'principal' ? 'string' : this.#attribute(resource, right.attribute, path);
    if (type !== 'string' || (other !== undefined && other !== 'string')) {
      this.#report(
        path,
        `${resource}.${atom.left.attribute}: only string attributes compare with each other`,
      );
    }
  }

  #attribute(resource: string, attribute: string, path: string): AttributeType | undefined {
    const attributes = this.#attributes.get(resource);
    if (attributes === undefined) return undefined; // reported as an unknown action
    const type = attributes.get(attribute);
    if (type === undefined) this.#report(path, `${resource} has no attribute "${attribute}"`);
    return type;
  }
}

function literalProblem(type: AttributeType, value: Literal): string | undefined {
  if (typeof type !== 'string') {
    return typeof value === 'string' && type.includes(value)
      ? undefined
      : `is never ${JSON.stringify(value)}: it is one of ${type.join(', ')}`;
  }
  const expected = type === 'integer' ? 'number' : type;
  return typeof value === expected ? undefined : `is a ${type}, compared with a ${typeof value}`;
}
