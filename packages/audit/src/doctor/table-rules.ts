/** Rules on tables: what is stored where, and that nothing stands between a statement and the table. */
import { type Examined, type Hit, quoted, type Rule } from './rule.ts';
import { shapeOf } from './sql-shape.ts';

const KINDS: Readonly<Record<string, string>> = {
  v: 'a view',
  m: 'a materialised view',
  p: 'a partitioned table',
  f: 'a foreign table',
};

/** Rules on tables. */
export const tableRules: readonly Rule[] = [
  {
    name: 'table-missing',
    level: 'error',
    rationale: 'a view or a foreign table in its place shows what its author likes',
    *check({ facts, expected }): Generator<Hit> {
      for (const table of expected.tables.keys()) {
        const kind = facts.relations.find(({ name }) => name === table)?.kind;
        if (kind === 'r') continue;
        const message = kind === undefined ? 'there is no such table' : `it is ${KINDS[kind] ?? 'no table'}`;
        yield {
          object: `audit.${table}`,
          message,
          remedy: '-- find out who took it away; restore it and verify against kept heads',
        };
      }
    },
  },
  {
    name: 'table-unlogged',
    level: 'error',
    rationale: 'PostgreSQL empties an unlogged table after a crash',
    *check({ facts, expected }): Generator<Hit> {
      for (const { name, kind, persistence } of facts.relations)
        if (kind === 'r' && persistence !== 'p' && expected.tables.has(name))
          yield {
            object: `audit.${name}`,
            message: 'it is unlogged',
            remedy: `alter table audit.${name} set logged;`,
          };
    },
  },
  {
    name: 'column-changed',
    level: 'error',
    rationale: 'a generated column or one of another type gives back other bytes than were hashed',
    *check({ facts, expected }): Generator<Hit> {
      for (const { name, kind, columns } of facts.relations) {
        const wanted = expected.tables.get(name);
        if (wanted === undefined || kind !== 'r') continue;
        const there = new Map(columns.map((column) => [column.name, column]));
        for (const [column, { type, generated }] of wanted) {
          const found = there.get(column);
          if (found?.type === type && sameSource(found.generated, generated)) continue;
          const message =
            found === undefined
              ? 'it is missing'
              : `it is ${found.generated === null ? found.type : `generated as ${found.generated}`}, not ${generated ?? type}`;
          yield {
            object: `audit.${name}.${column}`,
            message,
            remedy: '-- verify every organisation against a kept head, then restore',
          };
        }
        for (const column of there.keys())
          if (!wanted.has(column))
            yield {
              object: `audit.${name}.${column}`,
              message: 'no migration made it',
              remedy: `alter table audit.${name} drop column ${quoted(column)};`,
            };
      }
    },
  },
  {
    name: 'constraint-missing',
    level: 'error',
    rationale: 'the leaf check refuses an edited record even to a superuser, the keys refuse forks',
    *check({ facts, expected }): Generator<Hit> {
      const there = new Map(facts.constraints.map((one) => [`${one.table}.${one.name}`, one]));
      for (const [key, { definition, ddl }] of expected.constraints) {
        const found = there.get(key);
        const [table, name] = key.split('.');
        if (found === undefined)
          yield { object: `audit.${key}`, message: 'it is missing', remedy: `${ddl};` };
        else if (shapeOf(found.definition.replace(/ NOT VALID$/, '')) !== shapeOf(definition))
          yield {
            object: `audit.${key}`,
            message: 'it says something else',
            remedy: `alter table audit.${table} drop constraint ${name}; ${ddl};`,
          };
        else if (!found.valid)
          yield {
            object: `audit.${key}`,
            message: 'it was not validated: rows can break it',
            remedy: `alter table audit.${table} validate constraint ${name};`,
          };
      }
    },
  },
  {
    name: 'foreign-key',
    level: 'error',
    rationale: 'a cascade deletes or edits the log together with a row somewhere else',
    *check({ facts }): Generator<Hit> {
      for (const { name, from, to, cascades, inside } of facts.foreignKeys)
        if (cascades || !inside)
          yield {
            object: `${from}.${name}`,
            message: `a foreign key to ${to}${cascades ? ' that cascades' : ''}`,
            remedy: `alter table ${from} drop constraint ${quoted(name)};`,
          };
    },
  },
  {
    name: 'inheritance',
    level: 'error',
    rationale: 'rows of a child table are read as rows of the log and are under none of its guards',
    *check({ facts }): Generator<Hit> {
      for (const { parent, child } of facts.children)
        yield {
          object: child,
          message: `a child of ${parent}`,
          remedy: `alter table ${child} no inherit ${parent};`,
        };
    },
  },
  {
    name: 'rewrite-rule',
    level: 'error',
    rationale: 'a rule replaces statements on the log, also those of audit.append',
    *check({ facts }): Generator<Hit> {
      for (const { table, name } of facts.rules)
        yield {
          object: `audit.${table}.${name}`,
          message: 'a rule rewrites statements on it',
          remedy: `drop rule ${quoted(name)} on audit.${table};`,
        };
    },
  },
  {
    name: 'row-security-off',
    level: 'error',
    rationale: 'without it the app role reads every organisation; not forced, it does not bind the owner',
    *check({ facts, expected }): Generator<Hit> {
      for (const { name, secured, forced } of facts.relations) {
        if (!expected.guarded.has(name) || (secured && forced)) continue;
        const word = secured ? 'force' : 'enable';
        yield {
          object: `audit.${name}`,
          message: `row-level security is not ${word}d`,
          remedy: `alter table audit.${name} ${word} row level security;`,
        };
      }
    },
  },
  {
    name: 'policy-changed',
    level: 'error',
    rationale: 'policies are joined by OR: one too many shows or takes everything',
    check: policyHits,
  },
  {
    name: 'object-unexpected',
    level: 'warning',
    rationale: 'nobody else has business in this schema, and what is in it is trusted by its name',
    *check({ facts, expected }): Generator<Hit> {
      for (const { name } of facts.relations)
        if (!expected.tables.has(name))
          yield {
            object: `audit.${name}`,
            message: 'no migration made it',
            remedy: '-- find out who made it, and drop it',
          };
    },
  },
];

/** Whether a column is written, or generated from the same expression. */
function sameSource(found: string | null, wanted: string | null): boolean {
  if (found === null || wanted === null) return found === wanted;
  return shapeOf(`check (${found})`) === shapeOf(`check (${wanted})`);
}

function* policyHits({ facts, expected }: Examined): Generator<Hit> {
  const there = new Map(facts.policies.map((one) => [`${one.table}.${one.name}`, one]));
  const tables = new Set(facts.relations.filter(({ kind }) => kind === 'r').map(({ name }) => name));
  for (const [key, { definition, ddl }] of expected.policies) {
    const found = there.get(key);
    const [table = '', name] = key.split('.');
    if (!tables.has(table)) continue;
    if (found === undefined)
      yield { object: `audit.${key}`, message: 'the policy is missing', remedy: `${ddl};` };
    else if (shapeOf(found.definition) !== shapeOf(definition))
      yield {
        object: `audit.${key}`,
        message: 'the policy says something else',
        remedy: `drop policy ${name} on audit.${table}; ${ddl};`,
      };
  }
  for (const [key, { table, name }] of there)
    if (!expected.policies.has(key))
      yield {
        object: `audit.${key}`,
        message: 'a policy no migration made',
        remedy: `drop policy ${quoted(name)} on audit.${table};`,
      };
}
