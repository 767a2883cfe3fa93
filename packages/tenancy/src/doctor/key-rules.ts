/**
 * Rules on columns, keys and indexes of org-owned tables. Constraints are enforced without row-level security, so a key
 * that does not contain the organisation tells of, or acts on, the rows of others.
 */
import type { Constraint, Relation } from '../catalog/catalog.ts';
import { type Inspection, OWN_ROWS } from './inspection.ts';
import { dropPolicy } from './rls-rules.ts';
import { DOCS, type Hit, quoted, type Rule } from './rule.ts';

const ORG_ID = 'org_id';
const DEFAULT = 'tenancy.org_id()';

const orgColumn = ({ columns }: Relation) => columns.find(({ name }) => name === ORG_ID);

/** Constraints of isolated tables; those a child has of its parent are told once, at the parent. */
function* constraintsOf(inspection: Inspection, type: Constraint['type']): Generator<Constraint> {
  for (const relation of inspection.isolated) {
    const inherited = relation.parents.flatMap((parent) => {
      const found = inspection.relation(parent);
      return found === undefined ? [] : inspection.constraints(found).map(({ definition }) => definition);
    });
    for (const constraint of inspection.constraints(relation))
      if (constraint.type === type && !inherited.includes(constraint.definition)) yield constraint;
  }
}

const objectOf = ({ relation, name }: Constraint) => `${relation}.${name}`;

const plainName = (name: string) => `"${name.replaceAll('"', '""')}"`;

function dropConstraint({ relation, name }: Constraint): string {
  return `alter table ${quoted(relation)} drop constraint ${plainName(name)}`;
}

/** True when the app role may give a column of a relation a value. */
function writes(inspection: Inspection, relation: Relation): boolean {
  return inspection
    .grantsOn(relation)
    .some(({ privilege }) => privilege === 'insert' || privilege === 'update');
}

/** Foreign keys onto isolated tables, those of system tables the app role does not write left out. */
function* foreignKeysOnto(inspection: Inspection): Generator<ForeignKey> {
  const isolated = new Set(inspection.isolated.map(({ name }) => name));
  for (const constraint of inspection.catalog.constraints) {
    const { type, relation, references, columns, referencedColumns } = constraint;
    if (type !== 'foreign key' || references === null || !isolated.has(references)) continue;
    const from = inspection.relation(relation);
    const system = from !== undefined && inspection.classify(from) === 'system';
    if (system && !writes(inspection, from)) continue;
    const carried = columns.some((column, i) => column === ORG_ID && referencedColumns[i] === ORG_ID);
    yield { constraint, carried, system };
  }
}

interface ForeignKey {
  readonly constraint: Constraint;
  /** True when it carries the organisation along. */
  readonly carried: boolean;
  /** True on a system table: no generated policy says whose the organisation in it is. */
  readonly system: boolean;
}

/** Keys. */
export const keyRules: readonly Rule[] = [
  {
    id: 'RF401',
    name: 'org-id-missing',
    level: 'error',
    title: 'An org-owned table has no column org_id of type uuid',
    rationale:
      'The policy compares org_id with the organisation of the context; another type costs the index, and no column leaves no policy.',
    source: `${DOCS.rowSecurity}; ${DOCS.measured}: a cast is 2 500 to 3 200 times slower`,
    *check(inspection): Generator<Hit> {
      for (const table of inspection.orgTables) {
        const column = orgColumn(table);
        if (column?.type === 'uuid') continue;
        const message = column === undefined ? 'org_id is missing' : `org_id is of type ${column.type}`;
        const alter = `alter table ${quoted(table.name)}`;
        const retype = `${alter} alter column org_id drop default, alter column org_id type uuid using org_id::uuid;`;
        const remedy =
          column === undefined
            ? `${alter} add column org_id uuid;`
            : [...inspection.policies(table).map(dropPolicy), retype].join(' ');
        yield { object: table.name, message, remedy };
      }
    },
  },
  {
    id: 'RF402',
    name: 'org-id-nullable',
    level: 'error',
    title: 'org_id may be null',
    rationale:
      "A row without an organisation is nobody's: invisible to all handles, outside of unique keys and foreign keys, and found by whoever writes IS NULL.",
    source: 'PostgreSQL documentation, 5.5.2 Not-Null Constraints; MATCH SIMPLE in CREATE TABLE',
    *check({ orgTables }): Generator<Hit> {
      for (const table of orgTables) {
        if (orgColumn(table)?.notNull !== false) continue;
        const remedy = `alter table ${quoted(table.name)} alter column org_id set not null;`;
        yield { object: `${table.name}.org_id`, message: 'the column may be null', remedy };
      }
    },
  },
  {
    id: 'RF403',
    name: 'org-id-default',
    level: 'warning',
    title: 'org_id does not default to the organisation of the context',
    rationale:
      'Code that has to write org_id can write a wrong one, and another default, such as a fixed organisation, collects strays.',
    source: 'the declaration: org_id defaults to tenancy.org_id()',
    *check({ orgTables }): Generator<Hit> {
      for (const table of orgTables) {
        const column = orgColumn(table);
        if (column === undefined || column.default === DEFAULT) continue;
        const remedy = `alter table ${quoted(table.name)} alter column org_id set default tenancy.org_id();`;
        yield {
          object: `${table.name}.org_id`,
          message: `the default is ${column.default ?? 'missing'}`,
          remedy,
        };
      }
    },
  },
  {
    id: 'RF404',
    name: 'primary-key-without-org',
    level: 'error',
    title: 'The primary key of an org-owned table does not begin with org_id',
    rationale:
      'An insert that collides, or does nothing ON CONFLICT, tells that the key exists in another organisation. A key that begins with org_id also partitions.',
    source: `${DOCS.rowSecurity}; ${DOCS.executed}: existence told`,
    *check(inspection): Generator<Hit> {
      for (const table of inspection.orgTables) {
        const key = inspection.constraints(table).find(({ type }) => type === 'primary key');
        if (key?.columns[0] === ORG_ID) continue;
        const columns = inspection.schema.org.get(table.name)?.key ?? [];
        const add = `add primary key (${[ORG_ID, ...columns].map(plainName).join(', ')});`;
        yield {
          object: table.name,
          message:
            key === undefined ? 'there is no primary key' : `the primary key is (${key.columns.join(', ')})`,
          remedy:
            key === undefined ? `alter table ${quoted(table.name)} ${add}` : `${dropConstraint(key)}, ${add}`,
        };
      }
    },
  },
  {
    id: 'RF405',
    name: 'unique-without-org',
    level: 'error',
    title: 'A unique constraint does not begin with org_id',
    rationale:
      'It is enforced over all organisations: a duplicate error tells that another one has the value, such as a mail address.',
    source: `${DOCS.rowSecurity}; ${DOCS.executed}: existence told`,
    *check(inspection): Generator<Hit> {
      for (const constraint of constraintsOf(inspection, 'unique')) {
        if (constraint.columns[0] === ORG_ID) continue;
        const columns = [ORG_ID, ...constraint.columns.filter((each) => each !== ORG_ID)].map(plainName);
        const remedy = `${dropConstraint(constraint)}, add unique (${columns.join(', ')});`;
        yield { object: objectOf(constraint), message: constraint.definition, remedy };
      }
    },
  },
  {
    id: 'RF406',
    name: 'unique-index-without-org',
    level: 'error',
    title: 'A unique index, partial or on an expression included, does not begin with org_id',
    rationale: 'It tells what a unique constraint tells, and a list of constraints does not show it.',
    source: `PostgreSQL documentation, 11.6 Unique Indexes; ${DOCS.executed}: existence told`,
    *check(inspection): Generator<Hit> {
      for (const table of inspection.isolated) {
        const inherited = table.parents.flatMap((parent) => {
          const found = inspection.relation(parent);
          if (found === undefined) return [];
          return inspection
            .indexes(found)
            .filter((index) => index.unique)
            .map(({ columns }) => columns.join());
        });
        for (const { name, unique, ofConstraint, columns, partial } of inspection.indexes(table)) {
          if (!unique || ofConstraint || columns[0] === ORG_ID || inherited.includes(columns.join()))
            continue;
          const shown = columns.map((each) => each ?? '(expression)').join(', ');
          yield {
            object: `${table.name}.${name}`,
            message: `unique on (${shown})${partial ? ', partial' : ''}`,
            remedy: `-- create it again on (org_id, ${shown}), then: drop index ${quoted(`${table.schema}.${name}`)};`,
          };
        }
      }
    },
  },
  {
    id: 'RF407',
    name: 'exclusion-without-org',
    level: 'error',
    title: 'An exclusion constraint does not compare org_id',
    rationale: 'It refuses a row because of a row of another organisation, and so tells of it.',
    source: 'PostgreSQL documentation, 5.5.6 Exclusion Constraints',
    *check(inspection): Generator<Hit> {
      for (const constraint of constraintsOf(inspection, 'exclusion')) {
        if (/\borg_id WITH =/.test(constraint.definition)) continue;
        const remedy = `${dropConstraint(constraint)}; -- and add it again with: org_id with = (needs btree_gist)`;
        yield { object: objectOf(constraint), message: constraint.definition, remedy };
      }
    },
  },
  {
    id: 'RF408',
    name: 'foreign-key-without-org',
    level: 'error',
    title: 'A foreign key onto an org-owned table does not carry org_id',
    rationale:
      'The check sees the rows of all organisations: an insert tells whether a foreign id exists, and a reference can cross. On a system table whose org_id the app role chooses, it tells so in spite of it.',
    source: `${DOCS.rowSecurity}; ${DOCS.executed}: existence told`,
    *check(inspection): Generator<Hit> {
      for (const { constraint, carried, system } of foreignKeysOnto(inspection)) {
        if (carried && !system) continue;
        const object = objectOf(constraint);
        if (carried) {
          const message = `on a system table the app role writes: ${constraint.definition}`;
          yield { object, message, remedy: `${dropConstraint(constraint)};` };
          continue;
        }
        const columns = [ORG_ID, ...constraint.columns].map(plainName).join(', ');
        const referenced = [ORG_ID, ...constraint.referencedColumns].map(plainName).join(', ');
        const remedy = `${dropConstraint(constraint)}, add foreign key (${columns}) references ${quoted(constraint.references ?? '')} (${referenced});`;
        yield { object, message: constraint.definition, remedy };
      }
    },
  },
  {
    id: 'RF409',
    name: 'cascade-across-orgs',
    level: 'error',
    title: 'A foreign key without org_id changes rows of other organisations',
    rationale:
      "Referential actions run without row-level security: deleting one's own row deletes, or changes, rows of another organisation.",
    source: `${DOCS.rowSecurity}; ${DOCS.executed}: the row of another organisation is deleted`,
    *check(inspection): Generator<Hit> {
      for (const { constraint, carried } of foreignKeysOnto(inspection)) {
        if (carried) continue;
        const { onDelete, onUpdate } = constraint;
        const acts = [onDelete, onUpdate].filter((each) => each !== 'no action' && each !== 'restrict');
        if (acts.length === 0) continue;
        yield {
          object: objectOf(constraint),
          message: constraint.definition,
          remedy: `${dropConstraint(constraint)};`,
        };
      }
    },
  },
  {
    id: 'RF410',
    name: 'cascade-from-global',
    level: 'warning',
    title: 'Deleting a global row changes rows of all organisations',
    rationale:
      'One statement on a shared table reaches into every organisation, without a policy and without a trace in any of them.',
    source: DOCS.rowSecurity,
    *check(inspection): Generator<Hit> {
      for (const constraint of constraintsOf(inspection, 'foreign key')) {
        const { onDelete, references, relation } = constraint;
        if (references === null || !inspection.schema.global.has(references)) continue;
        if (onDelete === 'no action' || onDelete === 'restrict') continue;
        const declared = inspection.schema.org.get(relation)?.references ?? [];
        if (declared.some((each) => each.table === references && each.onDelete === onDelete)) continue;
        const remedy = `${dropConstraint(constraint)}; -- and add it again on delete restrict, or declare the action`;
        yield { object: objectOf(constraint), message: constraint.definition, remedy };
      }
    },
  },
  {
    id: 'RF411',
    name: 'no-index-on-org',
    level: 'warning',
    title: 'No usable index of an org-owned table begins with org_id',
    rationale:
      'Every statement of every organisation then reads the rows of all, and its duration tells how many there are.',
    source: `${DOCS.measured}: count 3.7 to 5.1 times slower`,
    *check(inspection): Generator<Hit> {
      for (const table of inspection.orgTables) {
        const usable = inspection
          .indexes(table)
          .some(({ valid, partial, columns }) => valid && !partial && columns[0] === ORG_ID);
        if (usable) continue;
        const remedy = `create index on ${quoted(table.name)} (org_id);`;
        yield { object: table.name, message: `nothing serves ${OWN_ROWS}`, remedy };
      }
    },
  },
  {
    id: 'RF412',
    name: 'index-invalid',
    level: 'warning',
    title: 'An index is invalid',
    rationale:
      'A failed CREATE INDEX CONCURRENTLY leaves it behind: it serves no query, and a unique one does not hold.',
    source: 'PostgreSQL documentation, CREATE INDEX: Building Indexes Concurrently',
    *check(inspection): Generator<Hit> {
      for (const table of inspection.isolated)
        for (const { name, valid } of inspection.indexes(table)) {
          if (valid) continue;
          const remedy = `reindex index concurrently ${quoted(`${table.schema}.${name}`)};`;
          yield { object: `${table.name}.${name}`, message: 'the index is not valid', remedy };
        }
    },
  },
  {
    id: 'RF413',
    name: 'constraint-not-validated',
    level: 'warning',
    title: 'A constraint is not validated',
    rationale: 'NOT VALID checks new rows only: rows that already cross stay.',
    source: 'PostgreSQL documentation, ALTER TABLE: ADD table_constraint NOT VALID',
    *check(inspection): Generator<Hit> {
      for (const table of inspection.isolated)
        for (const constraint of inspection.constraints(table)) {
          if (constraint.validated) continue;
          const remedy = `alter table ${quoted(table.name)} validate constraint ${plainName(constraint.name)};`;
          yield { object: objectOf(constraint), message: constraint.definition, remedy };
        }
    },
  },
];
