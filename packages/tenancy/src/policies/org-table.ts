/**
 * Differences of one org-owned table, its foreign keys aside: column, guard, primary key, uniques.
 *
 * Invariant: `org_id` leads every key, so that no key tells whether another organisation has a value.
 */
import type { Index, Relation } from '../catalog/catalog.ts';
import { identifier, qualifiedName } from '../identifier.ts';
import { type Backfill, boundedName, prepareBackfill, runBackfill } from './backfill.ts';
import { type CatalogView, quoted, quotedRelation } from './catalog-view.ts';
import type { OrgTableDeclaration } from './declaration.ts';
import { concurrentStep, type Difference, type MigrationStep, ownStep } from './difference.ts';
import { guardDifferences, guardStep, isBackfill, orgGuard } from './guard.ts';

/** Name of the check that lets `set not null` skip its scan under the strongest lock. */
const NOT_NULL = 'ringfence_org_id_not_null';

/** Compares one org-owned table with its declaration. */
export function orgTableDifferences(
  view: CatalogView,
  relation: Relation,
  declared: Required<OrgTableDeclaration>,
  backfill: Backfill,
): Difference[] {
  const guard = orgGuard(declared.privileges);
  return [
    ...columnDifferences(view, relation, declared, backfill),
    ...guardDifferences(view, relation, guard),
    ...primaryKeyDifferences(view, relation, ['org_id', ...declared.key]),
    ...uniqueDifferences(view, relation, declared),
  ];
}

function columnDifferences(
  view: CatalogView,
  relation: Relation,
  { privileges }: Required<OrgTableDeclaration>,
  backfill: Backfill,
): Difference[] {
  const { name } = relation;
  const column = relation.columns.find((one) => one.name === 'org_id');
  const expression = backfill[name];
  const guard = () => [guardStep(view, relation, orgGuard(privileges))];
  const nullable = {
    kind: 'org_column_null',
    relation: name,
    expected: 'org_id not null',
    found: 'nullable',
  } as const;
  if (column === undefined) {
    const mend =
      expression === undefined
        ? []
        : [
            prepareBackfill(name, expression, false),
            runBackfill(name, expression),
            ...notNullSteps(view, name),
          ];
    return [{ kind: 'org_column', relation: name, expected: 'org_id uuid', found: 'no such column', mend }];
  }
  const found: Difference[] = [];
  if (column.type !== 'uuid')
    found.push({
      kind: 'org_column_type',
      relation: name,
      expected: 'org_id uuid',
      found: column.type,
      mend: [],
    });
  if (!column.notNull) {
    const fill =
      expression === undefined
        ? []
        : [prepareBackfill(name, expression, true), runBackfill(name, expression)];
    found.push({ ...nullable, mend: [...fill, ...notNullSteps(view, name)] });
  }
  if (column.default !== 'tenancy.org_id()') {
    const is = column.default ?? 'no default';
    found.push({
      kind: 'org_column_default',
      relation: name,
      expected: 'default tenancy.org_id()',
      found: is,
      mend: guard(),
    });
  }
  if (view.triggersOf(name).some(isBackfill)) {
    found.push({
      kind: 'backfill_trigger',
      relation: name,
      expected: 'no trigger that fills org_id',
      found: 'the trigger of a migration that has not come to its end',
      mend: guard(),
    });
  }
  return found;
}

/** A validated check makes `set not null` a matter of a moment. */
function notNullSteps(view: CatalogView, name: string): MigrationStep[] {
  const table = qualifiedName(name);
  const check = view.constraintsOf(name).find((one) => one.name === NOT_NULL);
  const add = ownStep('fill', name, 'rows written from now on have an organisation', [
    `alter table ${table} add constraint ${NOT_NULL} check (org_id is not null) not valid;`,
  ]);
  const validate = ownStep(
    'fill',
    name,
    'rows that were there have one too',
    [`alter table ${table} validate constraint ${NOT_NULL};`],
    'SHARE UPDATE EXCLUSIVE',
    'scan',
  );
  const set = ownStep('fill', name, 'the column says so itself; the validated check spares the scan', [
    `alter table ${table} alter column org_id set not null;`,
    `alter table ${table} drop constraint ${NOT_NULL};`,
  ]);
  return [...(check === undefined ? [add] : []), ...(check?.validated === true ? [] : [validate]), set];
}

/** Compares the primary key of a table. */
export function primaryKeyDifferences(
  view: CatalogView,
  relation: Relation,
  columns: readonly string[],
): Difference[] {
  const key = view.constraintsOf(relation.name).find(({ type }) => type === 'primary key');
  if (key !== undefined && same(key.columns, columns)) return [];
  const name = key?.name ?? boundedName(`${relation.name.slice(relation.schema.length + 1)}_pkey`);
  const { index, steps } = uniqueIndexSteps(view, relation, columns);
  const table = quotedRelation(relation);
  const swap = ownStep(
    'key',
    relation.name,
    'the primary key becomes the new one, under the name of the old',
    [
      ...(key === undefined ? [] : [`alter table ${table} drop constraint ${quoted(name)};`]),
      `alter table ${table} add constraint ${quoted(name)} primary key using index ${quoted(index)};`,
    ],
  );
  return [
    {
      kind: 'primary_key',
      relation: relation.name,
      expected: `primary key (${columns.join(', ')})`,
      found: key === undefined ? 'no primary key' : `primary key (${key.columns.join(', ')})`,
      // An index cannot be built concurrently on a partitioned table, nor taken over as its key.
      mend: relation.kind === 'table' ? [...steps, swap] : [],
    },
  ];
}

function uniqueDifferences(
  view: CatalogView,
  relation: Relation,
  declared: Required<OrgTableDeclaration>,
): Difference[] {
  const { name } = relation;
  const found: Difference[] = [];
  const constraints = view.constraintsOf(name);
  for (const unique of declared.unique) {
    const columns = ['org_id', ...unique];
    if (isUnique(view, name, columns)) continue;
    found.push({
      kind: 'unique',
      relation: name,
      expected: `unique (${columns.join(', ')})`,
      found: 'no such constraint or index',
      mend: relation.kind === 'table' ? uniqueIndexSteps(view, relation, columns).steps : [],
    });
  }
  // Only a key that a declared one stands in for is dropped: what the others are for, a person has to say.
  const replaced = (columns: readonly (string | null)[]) =>
    [declared.key, ...declared.unique].some((key) => same([...key].sort(), [...columns].sort()));
  for (const { type, columns, definition, name: constraint } of constraints) {
    if (type === 'unique' && columns[0] !== 'org_id') {
      const drop = ownStep('key', name, 'the unique constraint across organisations goes', [
        `alter table ${quotedRelation(relation)} drop constraint ${quoted(constraint)};`,
      ]);
      found.push({
        kind: 'unique_without_org',
        relation: name,
        expected: 'org_id leads every unique constraint',
        found: `${constraint}: unique (${columns.join(', ')})`,
        mend: replaced(columns) ? [drop] : [],
      });
    }
    if (type === 'exclusion' && !/\borg_id WITH =/.test(definition)) {
      found.push({
        kind: 'exclusion',
        relation: name,
        expected: 'exclusion constraints compare org_id with =',
        found: `${constraint}: ${definition}`,
        mend: [],
      });
    }
  }
  for (const index of view.indexesOf(name)) {
    if (!index.unique || index.ofConstraint || index.columns[0] === 'org_id') continue;
    const drop = concurrentStep(
      'key',
      name,
      'the unique index across organisations goes',
      `drop index concurrently ${quoted(relation.schema)}.${quoted(index.name)};`,
      'SHARE UPDATE EXCLUSIVE',
      'moment',
    );
    found.push({
      kind: 'unique_without_org',
      relation: name,
      expected: 'org_id leads every unique index',
      found: `${index.name}: unique index on (${index.columns.map((column) => column ?? 'an expression').join(', ')})`,
      mend: !index.partial && relation.kind === 'table' && replaced(index.columns) ? [drop] : [],
    });
  }
  return found;
}

/** A valid unique index over exactly these columns, to be taken over or built. */
function uniqueIndexSteps(
  view: CatalogView,
  relation: Relation,
  columns: readonly string[],
): { readonly index: string; readonly steps: readonly MigrationStep[] } {
  const there = view.indexesOf(relation.name).find((one) => !one.ofConstraint && covers(one, columns));
  if (there !== undefined) return { index: there.name, steps: [] };
  const name = boundedName(
    `${relation.name.slice(relation.schema.length + 1)}_${columns.join('_')}_ringfence`,
  );
  const schema = quoted(relation.schema);
  const leftover = view.indexesOf(relation.name).some((one) => one.name === name);
  const drop = concurrentStep(
    'index',
    relation.name,
    'what an interrupted build left is not an index',
    `drop index concurrently ${schema}.${quoted(name)};`,
    'SHARE UPDATE EXCLUSIVE',
    'moment',
  );
  const build = concurrentStep(
    'index',
    relation.name,
    `one organisation's rows are unique by ${columns.slice(1).join(', ') || 'themselves'}`,
    `create unique index concurrently ${quoted(name)} on ${quotedRelation(relation)} (${columns.map(identifier).join(', ')});`,
  );
  return { index: name, steps: leftover ? [drop, build] : [build] };
}

/** True when a constraint or a valid index makes exactly these columns unique. */
function isUnique(view: CatalogView, relation: string, columns: readonly string[]): boolean {
  return view.indexesOf(relation).some((index) => covers(index, columns));
}

function covers(index: Index, columns: readonly string[]): boolean {
  return index.unique && index.valid && !index.partial && same(index.columns, columns);
}

/** True for equal lists. */
export function same(a: readonly (string | null)[], b: readonly (string | null)[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}
