/** What the attacks need to know of each table: its rows from the plan of the seeds, its rights and policies from the catalog. */
import type { Catalog, Policy, Relation } from '../catalog/catalog.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import { ALL_PRIVILEGES, type TablePrivilege } from '../policies/table-policy.ts';
import type { Orgs } from './probe-session.ts';
import { grantedTo, holds, rolesOf } from './rights.ts';
import type { Seeded, Seeding } from './seed.ts';
import { ORG_COLUMN } from './seed-order.ts';
import { missingRow, rowFor, SPARE } from './seed-values.ts';
import type { Row } from './statements.ts';
import type { ForeignKey } from './structure.ts';

/** A foreign key to another org-owned table, with the keys the attack needs. */
export interface AttackedKey {
  readonly key: ForeignKey;
  /** Referenced row that only the other organisation has, if there is one. */
  readonly foreign: Row | undefined;
  /** One that nobody has. */
  readonly missing: Row;
  /** One that only the own organisation has, if there is one. */
  readonly own: Row | undefined;
}

/** What the attacks need to know of a table. */
export interface AttackedTable {
  readonly name: string;
  /** The second is the prey; the third has no rows. */
  readonly orgs: Orgs;
  readonly ownRows: number;
  readonly privileges: readonly TablePrivilege[];
  readonly primaryKey: readonly string[];
  /** Role that owns it. */
  readonly owner: string;
  /** Column the app role may update. */
  readonly updatable: string;
  /** A row of the own organisation, one of the other, and one that is in neither, for each. */
  readonly own: Row;
  readonly foreign: Row;
  readonly spare: Row;
  readonly foreignSpare: Row;
  readonly foreignKeys: readonly AttackedKey[];
  readonly partitions: readonly string[];
  /** Those on which the app role has a right: their policies are their own. */
  readonly reached: ReadonlySet<string>;
  readonly signed: boolean;
  /** Whether the app role may read `org_id`. */
  readonly readable: boolean;
  /** Whether reads stand for writes: the same policies judge both, and the app role may read. */
  readonly writesAlike: boolean;
  /** Whether `org_id` may be null. */
  readonly ownerless: boolean;
  /** Whether it has triggers of the user. */
  readonly triggers: boolean;
}

/** What all tables of a probe have in common. */
export interface Surroundings {
  readonly catalog: Catalog;
  readonly schema: TenancySchema;
  readonly orgs: Orgs;
  readonly signed: boolean;
  readonly seeding: Seeding;
  readonly seeded: readonly Seeded[];
}

/** Describes tables of one probe. */
export function describeTables({
  catalog,
  schema,
  orgs,
  signed,
  seeding: { plan },
  seeded,
}: Surroundings): (table: Seeded) => AttackedTable {
  const byName = new Map(seeded.map((table) => [table.table.structure.name, table]));
  const relations = new Map(catalog.relations.map((relation) => [relation.name, relation]));
  const holders = rolesOf(catalog, schema);
  const triggered = new Set(catalog.triggers.map(({ relation }) => relation));
  const policies = new Map<string, Policy[]>();
  for (const policy of catalog.policies)
    if (policy.roles.some((role) => holders.has(role)))
      policies.set(policy.relation, [...(policies.get(policy.relation) ?? []), policy]);
  const row = (table: string, number: number, of: 0 | 1): Row => rowFor(plan.row(table, number), orgs[of]);

  return ({ table: { structure, filled }, ownRows, prey }) => {
    const { name } = structure;
    const relation = relations.get(name);
    const foreign = row(name, prey, 1);
    const references = new Set(filled.flatMap(({ columns }) => columns));
    const foreignSpare = new Map(
      [...row(name, SPARE, 1)].map(([column, value]) => [
        column,
        references.has(column) ? (foreign.get(column) ?? value) : value,
      ]),
    );
    const keys = structure.foreignKeys.filter(
      (key) =>
        byName.get(key.table)?.table.org === true && key.columns.some((column) => column !== ORG_COLUMN),
    );
    const readable = relation === undefined || grantedTo(relation, 'select', holders).has(ORG_COLUMN);
    return {
      name,
      orgs,
      ownRows,
      privileges: schema.org.get(name)?.privileges ?? [],
      primaryKey: structure.uniques.find(({ primary }) => primary)?.columns ?? [],
      owner: relation?.owner ?? '',
      updatable: updatable(relation, holders),
      own: row(name, 0, 0),
      foreign,
      spare: row(name, SPARE, 0),
      foreignSpare,
      foreignKeys: keys.map(
        (key): AttackedKey => ({
          key,
          foreign: byName.get(key.table)?.distinct === true ? row(key.table, 2, 1) : undefined,
          missing: row(key.table, missingRow(name, key.table), 0),
          own: byName.get(key.table)?.ownRows === 2 ? row(key.table, 1, 0) : undefined,
        }),
      ),
      partitions: structure.partitions,
      reached: new Set(
        structure.partitions.filter((partition) => {
          const part = relations.get(partition);
          return part !== undefined && ALL_PRIVILEGES.some((privilege) => holds(part, privilege, holders));
        }),
      ),
      signed,
      readable,
      writesAlike: readable && (policies.get(name) ?? []).every(judgesAllAlike),
      triggers: triggered.has(name),
      ownerless: structure.columns.some((column) => column.name === ORG_COLUMN && !column.notNull),
    };
  };
}

/** A policy under which a row that may not be read may not be written either. */
function judgesAllAlike({ command, using, check }: Policy): boolean {
  return command === 'all' && (check === null || check === using);
}

/** `org_id`, or where rights are granted by column, one of those. */
function updatable(relation: Relation | undefined, holders: ReadonlySet<string>): string {
  if (relation === undefined) return ORG_COLUMN;
  const granted = grantedTo(relation, 'update', holders);
  const [first = ORG_COLUMN] = granted;
  return granted.has(ORG_COLUMN) ? ORG_COLUMN : first;
}
