/** Rules on the declaration against what exists: every relation is classified, and what is declared is there. */
import { DOCS, type Hit, quoted, type Rule } from './rule.ts';

/** The declaration. */
export const classificationRules: readonly Rule[] = [
  {
    id: 'RF901',
    name: 'relation-unclassified',
    level: 'error',
    title: 'A relation is not classified',
    rationale:
      'Lists of covered tables go stale. What is neither org-owned, global, system nor a view was not thought about.',
    source: 'the declaration: there is no default kind',
    *check(inspection): Generator<Hit> {
      for (const relation of inspection.catalog.relations) {
        if (inspection.isExtensionsOwn(relation) || inspection.classify(relation) !== 'unclassified')
          continue;
        const reached = inspection.grantsOn(relation).length > 0;
        yield {
          object: relation.name,
          message: `the ${relation.kind} is not declared${reached ? ', and the app role reaches it' : ''}`,
          remedy: `-- declare ${quoted(relation.name)} as org, global, system or view, or drop it`,
        };
      }
    },
  },
  {
    id: 'RF902',
    name: 'relation-absent',
    level: 'error',
    title: 'A declared relation does not exist',
    rationale:
      'Either the database is behind the code, or the declaration vouches for something nobody examines.',
    source: 'the declaration',
    *check({ schema, relation }): Generator<Hit> {
      for (const declared of [schema.org, schema.global, schema.system, schema.views])
        for (const name of declared.keys()) {
          if (relation(name) !== undefined) continue;
          const remedy = '-- run the migrations, or take it out of the declaration';
          yield { object: name, message: 'there is no such relation', remedy };
        }
    },
  },
  {
    id: 'RF903',
    name: 'relation-kind',
    level: 'error',
    title: 'A relation is of another kind than its declaration needs',
    rationale:
      "Only tables carry row-level security; a view in the place of a table answers with its owner's rights.",
    source: DOCS.rowSecurity,
    *check({ schema, catalog }): Generator<Hit> {
      for (const { name, kind } of catalog.relations) {
        const wantsTable = schema.org.has(name) || schema.global.has(name);
        const isTable = kind === 'table' || kind === 'partitioned table';
        if (!(wantsTable && !isTable) && !(schema.views.has(name) && kind !== 'view')) continue;
        const remedy = '-- make it what is declared, or declare what it is';
        yield { object: name, message: `it is a ${kind}`, remedy };
      }
    },
  },
  {
    id: 'RF904',
    name: 'exception-stale',
    level: 'warning',
    title: 'A declared exception names something that does not exist',
    rationale: 'An exception that outlives its object is a licence for whoever makes an object of that name.',
    source: 'the declaration',
    *check({ schema, catalog }): Generator<Hit> {
      const functions = new Set(catalog.functions.map(({ name }) => name));
      const publications = new Set(catalog.publications.map(({ name }) => name));
      const schemas = new Set(catalog.schemas.map(({ name }) => name));
      const stale = [
        ...[...schema.definerFunctions.keys()].filter((name) => !functions.has(name)),
        ...[...schema.publications.keys()].filter((name) => !publications.has(name)),
        ...[...schema.systemSchemas.keys()].filter((name) => !schemas.has(name)),
      ];
      const remedy = '-- take it out of the declaration';
      for (const object of stale) yield { object, message: 'a declared exception for nothing', remedy };
    },
  },
];

/** Rules on the plans that `checkPlans` saw. */
export const planRules: readonly Rule[] = [
  {
    id: 'RF951',
    name: 'plan-without-org-index',
    level: 'warning',
    title: 'A plan as the app role does not enter an index by org_id',
    rationale:
      'The organisation is then compared row by row: the statement reads the rows of all organisations, and its duration tells how many there are.',
    source: `${DOCS.measured}: without such an index, count 3.7 to 5.1 times slower`,
    *check({ plans }): Generator<Hit> {
      for (const { table, statement, indexed } of plans) {
        if (indexed) continue;
        const remedy = `create index on ${quoted(table)} (org_id);`;
        yield { object: table, message: `a ${statement} has org_id in no index condition`, remedy };
      }
    },
  },
  {
    id: 'RF952',
    name: 'plan-filters-by-function',
    level: 'warning',
    title: 'A plan as the app role calls a function or a subplan for each row',
    rationale:
      'The context does not change within a statement: what has to be asked for each row is not the generated policy.',
    source: `${DOCS.measured}: list 670 to 6 400 times slower`,
    *check({ plans }): Generator<Hit> {
      for (const { table, statement, perRow } of plans) {
        if (perRow === undefined) continue;
        const remedy = '-- make the policy the generated one';
        yield { object: table, message: `a ${statement} filters by ${perRow}`, remedy };
      }
    },
  },
];
