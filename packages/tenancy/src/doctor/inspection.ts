/**
 * One look at a database: the catalog, the declaration, the facts, and the questions that many rules ask of them,
 * indexed so that a rule over hundreds of tables stays linear.
 */

import { isDeclaredBreakGlass } from '../break-glass/policy-shape.ts';
import type {
  Catalog,
  Constraint,
  Grant,
  Index,
  Policy,
  Relation,
  Role,
  Trigger,
} from '../catalog/catalog.ts';
import { allGrants, isShipped } from '../catalog/extension-relations.ts';
import { grouped } from '../catalog/grouped.ts';
import { type SetOff, setOffBy } from '../catalog/set-off.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import { expectedFunctions } from './expected-functions.ts';
import type { Facts, InstalledFunction } from './facts.ts';
import type { TablePlan } from './plan-check.ts';

/** What a relation is to isolation. `child` inherits from an org-owned table; `own` belongs to this package. */
export type Classification = 'org' | 'global' | 'system' | 'view' | 'child' | 'own' | 'unclassified';

/** The deparsed expression of the generated policy. */
export const OWN_ROWS = '(org_id = ( SELECT tenancy.org_id() AS org_id))';

/** The schema of this package. */
export const OWN_SCHEMA = 'tenancy';

/** A database as rules see it. */
export class Inspection {
  readonly catalog: Catalog;
  readonly schema: TenancySchema;
  readonly facts: Facts;
  readonly plans: readonly TablePlan[];
  /** The app role, every role it is a member of, and `public`: whoever's rights the app can use. */
  readonly reach: ReadonlySet<string>;
  /** The app role and every role it is a member of. */
  readonly reachRoles: readonly Role[];
  /** Org-owned tables that exist as tables. */
  readonly orgTables: readonly Relation[];
  /** Org-owned tables and everything that inherits from them. */
  readonly isolated: readonly Relation[];
  /** Functions this version generates, with the signature of the context verified. */
  readonly expected: ReadonlyMap<string, InstalledFunction>;
  readonly #relations: ReadonlyMap<string, Relation>;
  readonly #policies: ReadonlyMap<string, readonly Policy[]>;
  readonly #constraints: ReadonlyMap<string, readonly Constraint[]>;
  readonly #indexes: ReadonlyMap<string, readonly Index[]>;
  readonly #triggers: ReadonlyMap<string, readonly Trigger[]>;
  readonly #roles: ReadonlyMap<string, Role>;
  readonly #classes = new Map<string, Classification>();
  readonly #grants = new Map<string, readonly Grant[]>();
  #setOff: SetOff | undefined;

  constructor(catalog: Catalog, schema: TenancySchema, facts: Facts, plans: readonly TablePlan[] = []) {
    this.catalog = catalog;
    this.schema = schema;
    this.facts = facts;
    this.plans = plans;
    this.#relations = new Map(catalog.relations.map((relation) => [relation.name, relation]));
    this.expected = expectedFunctions(true, {
      jobs: this.#relations.has('tenancy.job_mark'),
      breakGlass: this.#relations.has('tenancy.break_glass_use'),
    });
    const policies = catalog.policies.filter((policy) => !isDeclaredBreakGlass(schema, policy));
    this.#policies = grouped(policies, ({ relation }) => relation);
    this.#constraints = grouped(catalog.constraints, ({ relation }) => relation);
    this.#indexes = grouped(catalog.indexes, ({ relation }) => relation);
    this.#triggers = grouped(catalog.triggers, ({ relation }) => relation);
    this.#roles = new Map(catalog.roles.map((role) => [role.name, role]));
    const app = this.#roles.get(schema.appRole);
    this.reachRoles = [schema.appRole, ...(app?.memberOf ?? [])].flatMap((name) => this.role(name) ?? []);
    this.reach = new Set([schema.appRole, 'public', ...(app?.memberOf ?? [])]);
    const tables = catalog.relations.filter(({ kind }) => kind !== 'sequence' && !kind.endsWith('view'));
    this.orgTables = tables.filter(({ name }) => schema.org.has(name));
    this.isolated = tables.filter((relation) => {
      const of = this.classify(relation);
      return of === 'org' || of === 'child';
    });
  }

  /** A relation by `schema.name`. */
  readonly relation = (name: string): Relation | undefined => {
    return this.#relations.get(name);
  };

  /** Policies of a relation. */
  policies(relation: Relation): readonly Policy[] {
    return this.#policies.get(relation.name) ?? [];
  }

  /** Constraints of a relation. */
  constraints(relation: Relation): readonly Constraint[] {
    return this.#constraints.get(relation.name) ?? [];
  }

  /** Indexes of a relation. */
  indexes(relation: Relation): readonly Index[] {
    return this.#indexes.get(relation.name) ?? [];
  }

  /** Triggers of a relation. */
  triggers(relation: Relation): readonly Trigger[] {
    return this.#triggers.get(relation.name) ?? [];
  }

  /** A role by name. */
  readonly role = (name: string): Role | undefined => {
    return this.#roles.get(name);
  };

  /** The grants the app can use. */
  readonly reachable = (grants: readonly Grant[]): readonly Grant[] =>
    grants.filter(({ grantee }) => this.reach.has(grantee));

  /** Grants on a relation or on columns of it that the app can use, without those its owner holds by owning it. */
  grantsOn(relation: Relation): readonly Grant[] {
    const known = this.#grants.get(relation.name);
    if (known !== undefined) return known;
    const grants = this.reachable(allGrants(relation));
    this.#grants.set(relation.name, grants);
    return grants;
  }

  /** What the app sets off without a right to execute it. */
  get setOff(): SetOff {
    this.#setOff ??= setOffBy(this.catalog, (grants) => this.reachable(grants).length > 0);
    return this.#setOff;
  }

  /** True for a relation of an extension that is as shipped, or out of reach of the app. */
  isExtensionsOwn(relation: Relation): boolean {
    if (relation.extension === null) return false;
    return isShipped(this.catalog, relation) || this.grantsOn(relation).length === 0;
  }

  /** True when a policy applies to the app. */
  applies(policy: Policy): boolean {
    return policy.roles.some((role) => this.reach.has(role));
  }

  /** True when row-level security does not bind a role. */
  bypasses(role: string): boolean {
    const found = this.role(role);
    return found !== undefined && (found.superuser || found.bypassRls);
  }

  /** What a relation is to isolation. */
  classify(relation: Relation): Classification {
    const known = this.#classes.get(relation.name);
    if (known !== undefined) return known;
    const of = this.#classify(relation);
    this.#classes.set(relation.name, of);
    return of;
  }

  #classify(relation: Relation): Classification {
    const { name, schema, kind, ownedBy } = relation;
    if (this.schema.org.has(name)) return 'org';
    // Whatever else it is declared as, rows of its parent are in it.
    const parents = relation.parents.flatMap((parent) => this.relation(parent) ?? []);
    const inherited = parents.map((parent) => this.classify(parent));
    if (inherited.some((of) => of === 'org' || of === 'child')) return 'child';
    if (this.schema.global.has(name)) return 'global';
    if (this.schema.system.has(name) || this.schema.systemSchemas.has(schema)) return 'system';
    if (this.schema.views.has(name)) return 'view';
    if (schema === OWN_SCHEMA) return 'own';
    if (kind === 'sequence' && ownedBy !== null) {
      const table = this.relation(ownedBy.slice(0, ownedBy.lastIndexOf('.')));
      return table === undefined ? 'unclassified' : this.classify(table);
    }
    return inherited[0] ?? 'unclassified';
  }

  /** What the declaration lets the app do with a relation. */
  allowed(relation: Relation): readonly string[] {
    switch (this.classify(relation)) {
      case 'org':
        return this.schema.org.get(relation.name)?.privileges ?? [];
      case 'system':
        return this.schema.system.get(relation.name)?.privileges ?? [];
      case 'global':
      case 'view':
        return ['select'];
      case 'child': {
        const parents = relation.parents.flatMap((parent) => this.relation(parent) ?? []);
        return parents.flatMap((parent) => this.allowed(parent));
      }
      case 'own':
      case 'unclassified':
        return [];
    }
  }

  /** True when a relation has the isolation that is generated: forced row-level security and the one policy. */
  isIsolated(relation: Relation): boolean {
    const permissive = this.policies(relation).filter((each) => each.permissive && this.applies(each));
    return (
      relation.rowSecurity &&
      relation.forceRowSecurity &&
      permissive.length === 1 &&
      permissive.every(this.isGenerated)
    );
  }

  /** True when a policy is the generated one. */
  readonly isGenerated = (policy: Policy): boolean =>
    policy.permissive &&
    policy.command === 'all' &&
    policy.roles.length === 1 &&
    policy.roles[0] === this.schema.appRole &&
    policy.using === OWN_ROWS &&
    policy.check === OWN_ROWS;
}
