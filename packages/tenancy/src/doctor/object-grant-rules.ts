/**
 * Rules on rights the app role can use on objects that have no row-level security at all: large objects, foreign servers,
 * parameters, files of the server, PostgreSQL's own catalogs.
 */
import { grouped } from '../catalog/grouped.ts';
import type { Guarded } from './facts.ts';
import { listed, revoke } from './grant-rules.ts';
import type { Inspection } from './inspection.ts';
import { DOCS, type Hit, quoted, quotedFunction, quotedRole, type Rule } from './rule.ts';

/** Functions of dblink that open a connection from a string: dblink and dblink_exec do it without dblink_connect. */
const OPENS_CONNECTION =
  /\.dblink(?:_connect(?:_u)?\((?:text, )?text\)|(?:_exec)?\(text, text(?:, boolean)?\))$/;

/** pg_walinspect reads the write-ahead log, which holds the rows as they were written; adminpack writes files (up to 16). */
const FILE_EXTENSIONS: ReadonlySet<string> = new Set(['pg_walinspect', 'adminpack']);

/** Objects without row-level security, by name, with the grants of the app on them. */
function* guarded(inspection: Inspection, objects: readonly Guarded[], privileges?: ReadonlySet<string>) {
  for (const { name, grants } of objects) {
    const these = inspection.reachable(grants).filter(({ privilege }) => privileges?.has(privilege) ?? true);
    if (these.length > 0) yield { name, these };
  }
}

/** Rights beside relations. */
export const objectGrantRules: readonly Rule[] = [
  {
    id: 'RF315',
    name: 'large-object-reachable',
    level: 'error',
    title: 'The app role can reach large objects',
    rationale:
      'A large object has no row-level security: whoever may open one may open it for every organisation.',
    source: 'PostgreSQL documentation, 33.3.11 Large Objects: Security',
    *check(inspection): Generator<Hit> {
      for (const { name, these } of guarded(inspection, inspection.facts.largeObjects)) {
        const remedy = revoke('all', `large object ${name}`, these);
        yield { object: `large object ${name}`, message: `granted: ${listed(these)}`, remedy };
      }
    },
  },
  {
    id: 'RF316',
    name: 'outbound-connection',
    level: 'error',
    title: 'The app role can open connections from the server',
    rationale:
      'Through dblink or a foreign server, injected SQL speaks to databases as the server does, this one included, past its own login.',
    source: 'PostgreSQL documentation, F.11 dblink; CREATE SERVER',
    *check(inspection): Generator<Hit> {
      for (const { name, these } of guarded(inspection, inspection.facts.foreignServers)) {
        const remedy = revoke('usage', `foreign server ${quotedRole(name)}`, these);
        yield { object: `foreign server ${name}`, message: `granted: ${listed(these)}`, remedy };
      }
      for (const { name, these } of guarded(inspection, inspection.facts.foreignDataWrappers)) {
        const remedy = revoke('usage', `foreign data wrapper ${quotedRole(name)}`, these);
        yield { object: `foreign-data wrapper ${name}`, message: `granted: ${listed(these)}`, remedy };
      }
      const dblink = inspection.catalog.functions.filter(
        ({ extension, name, grants }) =>
          extension === 'dblink' && OPENS_CONNECTION.test(name) && inspection.reachable(grants).length > 0,
      );
      for (const { name, schema } of dblink)
        yield {
          object: name,
          message: 'the app role may execute it',
          remedy: `revoke execute on all functions in schema ${quotedRole(schema)} from public, ${quotedRole(inspection.schema.appRole)};`,
        };
    },
  },
  {
    id: 'RF317',
    name: 'parameter-granted',
    level: 'error',
    title: 'The app role may set a parameter that is reserved for superusers',
    rationale:
      'session_replication_role, for one, turns off triggers and foreign keys; ALTER SYSTEM changes the server for all.',
    source: 'PostgreSQL documentation, GRANT on PARAMETER (since 15)',
    *check(inspection): Generator<Hit> {
      for (const { name, these } of guarded(inspection, inspection.facts.parameters)) {
        const remedy = revoke('all', `parameter ${name}`, these);
        yield { object: `parameter ${name}`, message: `granted: ${listed(these)}`, remedy };
      }
    },
  },
  {
    id: 'RF318',
    name: 'server-file-function',
    level: 'error',
    title: 'The app role may call functions that reach files of the server',
    rationale: 'The data files of all organisations, and the configuration, are files of the server.',
    source: 'PostgreSQL documentation, 9.28.9 Generic File Access Functions',
    *check({ catalog, facts, schema, reachable }): Generator<Hit> {
      const shipped = catalog.functions.filter(
        ({ extension, grants }) => FILE_EXTENSIONS.has(extension ?? '') && reachable(grants).length > 0,
      );
      for (const { name, grants } of [...facts.serverFileFunctions, ...shipped]) {
        const through = reachable(grants).map(({ grantee }) => grantee);
        const from = [...new Set(['public', schema.appRole, ...through])].map(quotedRole).join(', ');
        const remedy = `revoke execute on routine ${quotedFunction(name)} from ${from};`;
        yield { object: name, message: 'the app role may execute it', remedy };
      }
    },
  },
  {
    id: 'RF319',
    name: 'system-catalog-granted',
    level: 'error',
    title: 'The app role may do more with a system catalog than PostgreSQL grants',
    rationale:
      'pg_statistic holds values of all rows, pg_largeobject all large objects, a TOAST table the long values of its table, pg_authid the passwords; and whoever writes a catalog needs no other right. None has row-level security.',
    source: `${DOCS.privileges}; PostgreSQL documentation, 52.29 pg_init_privs; ${DOCS.executed}: values of all organisations`,
    *check(inspection): Generator<Hit> {
      const granted = grouped([...guarded(inspection, inspection.facts.systemCatalogs)], ({ name }) => name);
      for (const [name, each] of granted) {
        const these = each.flatMap((one) => one.these);
        const privileges = [...new Set(these.map(({ privilege }) => privilege))].join(', ');
        const remedy = revoke(privileges, quoted(name), these);
        yield { object: name, message: `granted: ${listed(these)}`, remedy };
      }
    },
  },
];
