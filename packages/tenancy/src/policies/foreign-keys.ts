/**
 * Differences of foreign keys. PostgreSQL checks them past row-level security: one that is not led by `org_id` tells
 * whether another organisation has a row, and its cascade deletes that row.
 */
import type { Constraint, Relation } from '../catalog/catalog.ts';
import { identifier, qualifiedName } from '../identifier.ts';
import { boundedName } from './backfill.ts';
import { type CatalogView, quoted, quotedRelation } from './catalog-view.ts';
import type { OrgTableDeclaration, Reference, TenancySchema } from './declaration.ts';
import { type Difference, type MigrationStep, ownStep } from './difference.ts';

/** A declared foreign key with its columns written out. */
interface ExpectedKey {
  readonly table: string;
  readonly columns: readonly string[];
  readonly referenced: readonly string[];
  /** Columns behind `org_id`, by which a key it replaces is known. */
  readonly own: readonly string[];
  readonly onDelete: NonNullable<Reference['onDelete']>;
}

/** The foreign keys of an org-owned table as they have to be. */
export function expectedKeys(
  schema: TenancySchema,
  { references }: Required<OrgTableDeclaration>,
): readonly ExpectedKey[] {
  return references.map(({ table, columns, references: named, onDelete = 'no action' }) => {
    const org = schema.org.get(table);
    const referenced = named ?? org?.key ?? schema.global.get(table)?.key ?? [];
    const lead = org === undefined ? [] : ['org_id'];
    return {
      table,
      columns: [...lead, ...columns],
      referenced: [...lead, ...referenced],
      own: columns,
      onDelete,
    };
  });
}

/** The part behind `add constraint name`, in lower case. `set null` spares `org_id`, which cannot be null. */
export function keySql({ table, columns, referenced, own, onDelete }: ExpectedKey): string {
  const list = (names: readonly string[]) => `(${names.map(identifier).join(', ')})`;
  const action =
    onDelete === 'no action' ? '' : ` on delete ${onDelete}${onDelete === 'set null' ? ` ${list(own)}` : ''}`;
  return `foreign key ${list(columns)} references ${qualifiedName(table)} ${list(referenced)}${action}`;
}

/** The same as PostgreSQL prints it, without quotes. */
function printedKey({ table, columns, referenced, own, onDelete }: ExpectedKey): string {
  const list = (names: readonly string[]) => `(${names.join(', ')})`;
  const upper = onDelete.toUpperCase();
  const action =
    onDelete === 'no action' ? '' : ` ON DELETE ${upper}${onDelete === 'set null' ? ` ${list(own)}` : ''}`;
  return `FOREIGN KEY ${list(columns)} REFERENCES ${table}${list(referenced)}${action}`;
}

/** What may follow and changes nothing for isolation: when the check is made, and whether old rows were checked. */
const TIMING = /(?: DEFERRABLE(?: INITIALLY DEFERRED)?)?(?: NOT VALID)?$/;

function printedAs(constraint: Constraint, expected: ExpectedKey): boolean {
  return constraint.definition.replaceAll('"', '').replace(TIMING, '') === printedKey(expected);
}

/** Compares the foreign keys of an org-owned table with its declaration. */
export function foreignKeyDifferences(
  view: CatalogView,
  relation: Relation,
  declared: Required<OrgTableDeclaration>,
): Difference[] {
  const keys = view.constraintsOf(relation.name).filter(({ type }) => type === 'foreign key');
  const expected = expectedKeys(view.schema, declared);
  const found: Difference[] = [];
  for (const key of expected) {
    const there = keys.find((one) => printedAs(one, key));
    if (there?.validated === true) continue;
    found.push({
      kind: 'foreign_key',
      relation: relation.name,
      expected: printedKey(key),
      found: there === undefined ? 'no such foreign key' : 'not validated',
      mend: addSteps(relation, keys, key, there),
    });
  }
  for (const key of keys) {
    if (expected.some((one) => printedAs(key, one))) continue;
    const replaced = expected.some(
      ({ table, own }) =>
        table === key.references &&
        sameSet(
          own,
          key.columns.filter((name) => name !== 'org_id'),
        ),
    );
    const drop = ownStep('release', relation.name, 'the foreign key that the new one replaces goes', [
      `alter table ${quotedRelation(relation)} drop constraint ${quoted(key.name)};`,
    ]);
    found.push({
      kind: 'foreign_key_undeclared',
      relation: relation.name,
      expected: 'only declared foreign keys',
      found: `${key.name}: ${key.definition}`,
      mend: replaced ? [drop] : [],
    });
  }
  return found;
}

function addSteps(
  relation: Relation,
  keys: readonly Constraint[],
  key: ExpectedKey,
  there: Constraint | undefined,
): MigrationStep[] {
  const table = quotedRelation(relation);
  const base = `${relation.name.slice(relation.schema.length + 1)}_${key.own.join('_') || 'org'}_ringfence_fkey`;
  let name = there?.name ?? boundedName(base);
  if (there === undefined && keys.some((one) => one.name === name))
    name = boundedName(`${base}_${key.onDelete}`);
  const target = `${key.table}${key.columns[0] === 'org_id' ? ' of their own organisation' : ''}`;
  const validate = ownStep(
    'reference',
    relation.name,
    `rows that were there point to rows in ${target} too`,
    [`alter table ${table} validate constraint ${quoted(name)};`],
    'SHARE UPDATE EXCLUSIVE',
    'scan',
  );
  // PostgreSQL has no foreign key to be validated later on a partitioned table.
  if (relation.kind !== 'table') return [];
  if (there !== undefined) return [validate];
  const add = ownStep(
    'reference',
    relation.name,
    `rows written from now on point to rows in ${target}`,
    [`alter table ${table} add constraint ${quoted(name)} ${keySql(key)} not valid;`],
    'SHARE ROW EXCLUSIVE',
  );
  return [add, validate];
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one) => b.includes(one));
}
