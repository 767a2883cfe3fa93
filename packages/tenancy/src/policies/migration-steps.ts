/**
 * The ordered steps from the schema that is there to the declared one. They come from the differences alone, so a
 * migration that was interrupted is taken up by asking again.
 *
 * Invariant: a table is guarded last, when its column and keys are in place, and by one step; tables that others point
 * to are filled first and guarded last.
 */
import type { Catalog } from '../catalog/catalog.ts';
import { RingfenceTenancyError } from '../errors.ts';
import type { TenancySchema } from './declaration.ts';
import type { Difference, MigrationStep, Phase } from './difference.ts';
import { type DifferenceOptions, differences } from './differences.ts';

const PHASES: readonly Phase[] = ['fill', 'index', 'reference', 'release', 'key', 'guard', 'surroundings'];

/** Differences behind which no step of the same relation can run. */
const BLOCKING: ReadonlySet<Difference['kind']> = new Set([
  'missing_relation',
  'relation_kind',
  'org_column',
  'org_column_type',
  'context_function',
]);

/**
 * The steps of a migration, in order; none when there is nothing that a step can mend.
 *
 * @throws RingfenceTenancyError `tenancy.migration_blocked` when a table is missing or has no `org_id` and no `backfill`.
 * @throws TypeError when `backfill` names a table that is not org-owned.
 * @example
 * ```ts
 * const steps = migrationSteps(schema, await readCatalog(owner), { backfill: { 'app.note': 'owner_org' } });
 * for (const { sql, lock, why } of steps) console.log(`-- ${why} (${lock.mode}, ${lock.duration})\n${sql}`);
 * ```
 */
export function migrationSteps(
  schema: TenancySchema,
  catalog: Catalog,
  options: DifferenceOptions = {},
): MigrationStep[] {
  const found = differences(schema, catalog, options);
  const blocked = found.filter(({ kind, mend }) => BLOCKING.has(kind) && mend.length === 0);
  if (blocked.length > 0) {
    const list = blocked.map(
      ({ relation, expected, found: is }) => `${relation}: expected ${expected}, found ${is}`,
    );
    throw new RingfenceTenancyError(
      'tenancy.migration_blocked',
      `no step leads to the declared schema (a table without org_id needs a backfill expression): ${list.join('; ')}`,
    );
  }
  return ordered(
    schema,
    found.flatMap(({ mend }) => mend),
  );
}

/** Puts steps in order, each once. */
function ordered(schema: TenancySchema, steps: readonly MigrationStep[]): MigrationStep[] {
  const unique = new Map(steps.map((step) => [`${step.relation}\n${step.sql}`, step]));
  const rank = parentsFirst(schema);
  const place = ({ phase, relation }: MigrationStep): number => {
    const at = rank.get(relation) ?? rank.size;
    return PHASES.indexOf(phase) * 1_000_000 + (phase === 'guard' ? 999_999 - at : at);
  };
  return [...unique.values()].sort((a, b) => place(a) - place(b));
}

/** Org-owned tables in an order in which a table comes behind those it points to, as far as the references allow. */
function parentsFirst(schema: TenancySchema): ReadonlyMap<string, number> {
  const rank = new Map<string, number>();
  const visiting = new Set<string>();
  const visit = (table: string): void => {
    if (rank.has(table) || visiting.has(table)) return;
    visiting.add(table);
    for (const { table: parent } of schema.org.get(table)?.references ?? []) visit(parent);
    rank.set(table, rank.size);
  };
  for (const table of schema.org.keys()) visit(table);
  return rank;
}
