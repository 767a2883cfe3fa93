/**
 * What the rows of the probe leave open about partitions: one that the app role reaches and none of them lies in, and a foreign key
 * that stands on a partition alone.
 */
import type { Catalog } from '../catalog/catalog.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import type { Orgs, ProbeSession } from './probe-session.ts';
import type { AttackResult } from './report.ts';
import { holds, rolesOf } from './rights.ts';
import { quoted } from './sample-values.ts';
import { ORG_COLUMN } from './seed-order.ts';
import { quotedName } from './statements.ts';
import type { ForeignKey, Structure } from './structure.ts';

/** Results for the partitions below these tables, once all rows are there. */
export async function partitionResults(
  session: ProbeSession,
  catalog: Catalog,
  schema: TenancySchema,
  structure: Structure,
  tables: readonly string[],
  [, prey]: Orgs,
): Promise<AttackResult[]> {
  const below = new Set(tables.flatMap((name) => structure.tables.get(name)?.partitions ?? []));
  if (below.size === 0) return [];
  const holders = rolesOf(catalog, schema);
  const reached = catalog.relations
    .filter(({ name }) => below.has(name))
    .filter((relation) =>
      ['select', 'update', 'delete'].some((privilege) => holds(relation, privilege, holders)),
    )
    .map(({ name }) => name);
  const found = await session.choose(
    reached.map((name) => [
      `select array['found'] from ${quotedName(name)} where ${ORG_COLUMN} = ${quoted(prey)} limit 1`,
    ]),
  );
  const inconclusive = (relation: string, about: Omit<AttackResult, 'relation' | 'outcome'>) =>
    ({ relation, outcome: 'inconclusive', ...about }) as const;
  return [
    ...reached
      .filter((_, index) => !found[index])
      .map((name) =>
        inconclusive(name, {
          attack: 'read all',
          evidence:
            'the app role reaches it, and no row of the probe lies in it, so that seeing none proves nothing: revoke its rights',
        }),
      ),
    ...[...tables, ...below].flatMap((name) =>
      (structure.tables.get(name)?.foreignKeys ?? [])
        .filter((key) => below.has(key.table) || (below.has(name) && schema.org.has(key.table)))
        .filter((key) => !comparesOrg(key))
        .map((key) =>
          inconclusive(name, {
            attack: 'foreign key',
            object: key.name,
            evidence:
              'stands on a partition, or refers to one, and is not attacked there: let it compare org_id',
          }),
        ),
    ),
  ];
}

function comparesOrg({ columns, referenced }: ForeignKey): boolean {
  return columns.some((name, index) => name === ORG_COLUMN && referenced[index] === ORG_COLUMN);
}
