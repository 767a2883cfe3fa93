/**
 * Whether a unique index or an exclusion constraint refuses to one organisation what another one holds. The clone of a row meets
 * the first that does; the others are judged by their form, and so are those that the clone passed by: a partial index whose
 * predicate it does not meet, a key that is null, a constraint that is checked later.
 */
import type { StepResult } from './probe-session.ts';
import type { AttackResult } from './report.ts';
import { ORG_COLUMN } from './seed-order.ts';
import type { Structure, TableStructure, UniqueIndex } from './structure.ts';
import { describeFailure } from './verdict.ts';

/** Results for a table and the partitions below it; `clone` is what became of the clone. */
export function uniqueValues(
  table: TableStructure,
  { tables }: Structure,
  clone: StepResult,
): readonly AttackResult[] {
  const parts = [table, ...table.partitions.flatMap((name) => tables.get(name) ?? [])];
  const byForm = parts.flatMap((part) =>
    part.uniques
      .filter((index) => part === table || index.alone)
      .filter((index) => !separates(index) && !(part === table && index.name === clone.constraint))
      .map(
        ({ name }): AttackResult => ({
          relation: part.name,
          attack: 'unique value',
          object: name,
          outcome: 'crossed',
          evidence: `does not compare ${ORG_COLUMN}: it refuses a value that another organisation holds, though no row of the probe met it`,
        }),
      ),
  );
  if (table.uniques.length === 0) return byForm;
  const met = parts.flatMap(({ uniques }) => uniques).find(({ name }) => name === clone.constraint);
  return [ofClone(table, clone, met), ...byForm];
}

/** Rows of two organisations never meet in it. */
function separates({ exact, expressions }: UniqueIndex): boolean {
  return exact.includes(ORG_COLUMN) || new RegExp(`\\b${ORG_COLUMN}\\b`).test(expressions ?? '');
}

function ofClone({ name, uniques }: TableStructure, clone: StepResult, met?: UniqueIndex): AttackResult {
  const about = { relation: name, attack: 'unique value' } as const;
  if (clone.state === '00000')
    return { ...about, outcome: 'contained', evidence: 'two organisations hold the same values' };
  // The clone refers to one that was refused, or its place is taken by a row of its own organisation: the form alone says it.
  const untold = clone.state === '23503' || met?.exact.includes(ORG_COLUMN) === true;
  if (untold && uniques.every(({ exact }) => exact.includes(ORG_COLUMN)))
    return { ...about, outcome: 'contained', evidence: `every unique index compares ${ORG_COLUMN}` };
  const taken = clone.state === '23505' || clone.state === '23P01';
  const result = { ...about, object: clone.constraint } as const;
  if (taken)
    return {
      ...result,
      outcome: 'crossed',
      evidence: `refuses a value that another organisation holds: ${describeFailure(clone)}`,
    };
  return { ...result, outcome: 'inconclusive', evidence: `failed with ${describeFailure(clone)}` };
}
