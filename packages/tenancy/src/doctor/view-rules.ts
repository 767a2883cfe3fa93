/** Rules on views, materialized views and rewrite rules: SQL that runs with the rights of its owner. */
import type { Relation } from '../catalog/catalog.ts';
import type { Inspection } from './inspection.ts';
import { DOCS, type Hit, quoted, quotedRole, type Rule } from './rule.ts';

const INVOKER = /^security_invoker=(true|on|yes|1)$/;

/** Views that the app role reaches, or is meant to. */
function* reachableViews(inspection: Inspection): Generator<Relation> {
  for (const relation of inspection.catalog.relations) {
    if (relation.kind !== 'view') continue;
    const reached = inspection.grantsOn(relation).length > 0 && !inspection.isExtensionsOwn(relation);
    if (reached || inspection.schema.views.has(relation.name)) yield relation;
  }
}

/** Views and rules. */
export const viewRules: readonly Rule[] = [
  {
    id: 'RF501',
    name: 'view-not-invoker',
    level: 'error',
    title: 'A view in reach of the app role runs with the rights of its owner',
    rationale:
      'Row-level security is judged for the owner of the view, not for who reads it: a superuser or BYPASSRLS owner shows all rows.',
    source: `${DOCS.createView}; ${DOCS.executed}: all rows`,
    *check(inspection): Generator<Hit> {
      for (const { name, owner, options } of reachableViews(inspection)) {
        if (options.some((option) => INVOKER.test(option))) continue;
        const remedy = `alter view ${quoted(name)} set (security_invoker = true);`;
        yield { object: name, message: `it reads as ${owner}`, remedy };
      }
    },
  },
  {
    id: 'RF502',
    name: 'view-owner-bypasses',
    level: 'warning',
    title: 'A view in reach of the app role is owned by a role that row-level security does not bind',
    rationale:
      'One ALTER VIEW … RESET, or one dump tool that drops the option, and it shows the rows of all organisations.',
    source: DOCS.createView,
    *check(inspection): Generator<Hit> {
      for (const { name, owner } of reachableViews(inspection)) {
        if (!inspection.bypasses(owner)) continue;
        const remedy = `-- alter view ${quoted(name)} owner to a role without SUPERUSER and BYPASSRLS`;
        yield { object: name, message: `its owner ${owner} bypasses row-level security`, remedy };
      }
    },
  },
  {
    id: 'RF503',
    name: 'view-reads-undeclared',
    level: 'error',
    title: 'A view reads something its declaration does not name',
    rationale:
      'The declaration says which tables a view combines; what it reads beside them was not reviewed.',
    source: DOCS.createView,
    *check(inspection): Generator<Hit> {
      for (const { view, relation } of inspection.catalog.viewReads) {
        const declared = inspection.schema.views.get(view);
        if (declared === undefined || declared.reads.includes(relation)) continue;
        const remedy = `-- declare ${quoted(relation)} among the reads of ${quoted(view)}, or take it out of the view`;
        yield { object: view, message: `it reads ${relation}`, remedy };
      }
    },
  },
  {
    id: 'RF504',
    name: 'view-over-system',
    level: 'error',
    title: 'A view in reach of the app role reads a system relation',
    rationale: 'A system relation has no organisation: the view hands out rows of all of them.',
    source: DOCS.createView,
    *check(inspection): Generator<Hit> {
      const views = [...reachableViews(inspection)].filter((view) => inspection.grantsOn(view).length > 0);
      const granted = new Set(views.map(({ name }) => name));
      for (const { view, relation } of inspection.catalog.viewReads) {
        const read = inspection.relation(relation);
        if (!granted.has(view) || read === undefined) continue;
        const of = inspection.classify(read);
        if (of !== 'system' && of !== 'own') continue;
        const remedy = `revoke all on ${quoted(view)} from public, ${quotedRole(inspection.schema.appRole)};`;
        yield { object: view, message: `it reads the system relation ${relation}`, remedy };
      }
    },
  },
  {
    id: 'RF505',
    name: 'materialized-view-reachable',
    level: 'error',
    title: 'A materialized view is in reach of the app role',
    rationale:
      'It holds what its owner saw when it was refreshed, and row-level security cannot be enabled on it.',
    source: `PostgreSQL documentation, CREATE MATERIALIZED VIEW; ${DOCS.executed}: all rows`,
    *check(inspection): Generator<Hit> {
      for (const relation of inspection.catalog.relations) {
        if (relation.kind !== 'materialized view' || inspection.grantsOn(relation).length === 0) continue;
        const remedy = `revoke all on ${quoted(relation.name)} from public, ${quotedRole(inspection.schema.appRole)};`;
        yield { object: relation.name, message: 'it has no row-level security', remedy };
      }
    },
  },
  {
    id: 'RF506',
    name: 'rewrite-rule',
    level: 'error',
    title: 'A rewrite rule stands on a relation of the app',
    rationale:
      'What a rule adds runs with the rights of the owner of the relation, and what it replaces never runs.',
    source: `${DOCS.rules}; ${DOCS.executed}: an INSERT returns all rows`,
    *check(inspection): Generator<Hit> {
      for (const { relation, name } of inspection.catalog.rules) {
        const on = inspection.relation(relation);
        if (on === undefined || inspection.isExtensionsOwn(on)) continue;
        if (inspection.classify(on) === 'system' && inspection.grantsOn(on).length === 0) continue;
        const remedy = `drop rule "${name.replaceAll('"', '""')}" on ${quoted(relation)};`;
        yield { object: `${relation}.${name}`, message: 'a rule rewrites statements on it', remedy };
      }
    },
  },
];
