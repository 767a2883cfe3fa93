/**
 * Rules on the version of the server: row-level security has had holes of its own, each closed in a minor release.
 * The versions are those of the PostgreSQL security page (postgresql.org/support/security).
 */
import { DOCS, type Hit, quoted, quotedFunction, quotedRole, type Rule } from './rule.ts';

interface Vulnerability {
  readonly cve: string;
  readonly about: string;
  /** First minor release without it, by major version. */
  readonly fixed: Readonly<Record<number, number>>;
}

/** Holes through which rows, or facts about them, pass row-level security; and code execution by any SQL user. */
export const VULNERABILITIES: readonly Vulnerability[] = [
  {
    cve: 'CVE-2023-2454',
    about: 'CREATE SCHEMA defeats a protective search_path',
    fixed: { 13: 11, 14: 8, 15: 3 },
  },
  {
    cve: 'CVE-2023-2455',
    about: 'policies disregard a change of role after inlining',
    fixed: { 13: 11, 14: 8, 15: 3 },
  },
  {
    cve: 'CVE-2023-39418',
    about: 'MERGE does not enforce the policies for UPDATE or SELECT',
    fixed: { 15: 4 },
  },
  {
    cve: 'CVE-2024-4317',
    about:
      'extended statistics show values of tables one may not read (existing clusters: run fix-CVE-2024-4317.sql)',
    fixed: { 14: 12, 15: 7, 16: 3 },
  },
  {
    cve: 'CVE-2024-10976',
    about: 'policies below subqueries disregard a change of role',
    fixed: { 13: 17, 14: 14, 15: 9, 16: 5, 17: 1 },
  },
  {
    cve: 'CVE-2024-10978',
    about: 'SET ROLE is reset to a wrong role',
    fixed: { 13: 17, 14: 14, 15: 9, 16: 5, 17: 1 },
  },
  {
    cve: 'CVE-2025-8713',
    about: 'optimizer statistics show values that a policy hides',
    fixed: { 13: 22, 14: 19, 15: 14, 16: 10, 17: 6 },
  },
  {
    cve: 'CVE-2026-6473',
    about: 'any SQL user can corrupt memory of the server',
    fixed: { 14: 23, 15: 18, 16: 14, 17: 10, 18: 4 },
  },
];

/** Oldest major version this package is tested on. */
const OLDEST_MAJOR = 15;

const versionOf = (number: number) => `${Math.floor(number / 10_000)}.${number % 10_000}`;

/** A server too old to be read at all: the catalog has other columns there. */
export function* unsupportedServer(serverVersion: number): Generator<Hit> {
  if (serverVersion >= OLDEST_MAJOR * 10_000) return;
  const message = `the server is ${versionOf(serverVersion)}, the oldest supported major version ${OLDEST_MAJOR}`;
  yield { object: 'server', message, remedy: '-- upgrade PostgreSQL' };
}

/** The server. */
export const serverRules: readonly Rule[] = [
  {
    id: 'RF701',
    name: 'server-unsupported',
    level: 'error',
    title: 'The major version of the server is not supported',
    rationale:
      'Views with security_invoker exist since 15, and versions out of support get no fixes. Nothing else is examined.',
    source: 'PostgreSQL versioning policy',
    check: ({ catalog: { serverVersion } }) => unsupportedServer(serverVersion),
  },
  {
    id: 'RF702',
    name: 'server-vulnerable',
    level: 'error',
    title: 'The server has a known hole in row-level security',
    rationale: 'A correct policy does not help against a server that does not apply it.',
    source: `postgresql.org/support/security: ${VULNERABILITIES.map(({ cve }) => cve).join(', ')}`,
    *check({ catalog: { serverVersion } }): Generator<Hit> {
      const major = Math.floor(serverVersion / 10_000);
      for (const { cve, about, fixed } of VULNERABILITIES) {
        const minor = fixed[major];
        if (minor === undefined || serverVersion % 10_000 >= minor) continue;
        const message = `${cve}: ${about}; the server is ${versionOf(serverVersion)}`;
        yield { object: 'server', message, remedy: `-- upgrade PostgreSQL to ${major}.${minor} or later` };
      }
    },
  },
];

/** Rules on what leaves the database past row-level security, and on what other sessions show. */
export const activityRules: readonly Rule[] = [
  {
    id: 'RF801',
    name: 'publication-all-tables',
    level: 'error',
    title: 'A publication carries all tables, or all of a schema',
    rationale:
      'Row-level security is not applied to the stream, and tables yet to be made join it by themselves.',
    source: `${DOCS.replication}; ${DOCS.executed}`,
    *check({ catalog, schema }): Generator<Hit> {
      for (const { name, allTables, schemas } of catalog.publications) {
        if (schema.publications.has(name) || !(allTables || schemas.length > 0)) continue;
        const message = allTables
          ? 'it carries all tables'
          : `it carries all tables of ${schemas.join(', ')}`;
        yield {
          object: `publication ${name}`,
          message,
          remedy: `drop publication "${name.replaceAll('"', '""')}";`,
        };
      }
    },
  },
  {
    id: 'RF802',
    name: 'publication-undeclared',
    level: 'error',
    title: 'An undeclared publication carries a relation',
    rationale:
      'Row-level security is not applied to the stream: the subscriber gets the rows of all organisations.',
    source: DOCS.replication,
    *check({ catalog, schema }): Generator<Hit> {
      for (const { name, relations } of catalog.publications) {
        if (schema.publications.has(name) || relations.length === 0) continue;
        const remedy = `drop publication "${name.replaceAll('"', '""')}";`;
        yield { object: `publication ${name}`, message: `it carries ${relations.join(', ')}`, remedy };
      }
    },
  },
  {
    id: 'RF803',
    name: 'event-trigger',
    level: 'note',
    title: 'An event trigger runs at DDL',
    rationale:
      'It runs in every migration, with the rights of the migrating role, and can change what the migration made.',
    source: 'PostgreSQL documentation, 38 Event Triggers',
    *check({ catalog }): Generator<Hit> {
      for (const { name } of catalog.eventTriggers) {
        const remedy = `-- review it; alter event trigger "${name.replaceAll('"', '""')}" disable;`;
        yield { object: `event trigger ${name}`, message: 'it is enabled', remedy };
      }
    },
  },
  {
    id: 'RF804',
    name: 'app-role-monitors',
    level: 'error',
    title: 'The app role may read the statements of all sessions',
    rationale: 'Statements of the owner, of jobs and of other tools carry literals of all organisations.',
    source: 'PostgreSQL documentation, 21.5 Predefined Roles: pg_monitor',
    *check({ reachRoles, schema }): Generator<Hit> {
      for (const { name } of reachRoles) {
        if (!['pg_monitor', 'pg_read_all_stats', 'pg_read_all_settings'].includes(name)) continue;
        const remedy = `revoke "${name}" from "${schema.appRole}";`;
        yield { object: schema.appRole, message: `a member of ${name}`, remedy };
      }
    },
  },
  {
    id: 'RF805',
    name: 'statement-statistics-readable',
    level: 'warning',
    title: 'The app role may read pg_stat_statements',
    rationale:
      'All organisations share the app role, so its view shows the statements of all: the literals of utility statements, and how often each one runs.',
    source: 'PostgreSQL documentation, F.31 pg_stat_statements',
    *check(inspection): Generator<Hit> {
      for (const relation of inspection.catalog.relations) {
        if (relation.extension !== 'pg_stat_statements' || inspection.grantsOn(relation).length === 0)
          continue;
        const remedy = `revoke all on ${quoted(relation.name)} from public, ${quotedRole(inspection.schema.appRole)};`;
        yield { object: relation.name, message: 'the app role may read it', remedy };
      }
      for (const { name, extension, grants } of inspection.catalog.functions) {
        if (extension !== 'pg_stat_statements' || !/\.pg_stat_statements\(/.test(name)) continue;
        if (inspection.reachable(grants).length === 0) continue;
        const remedy = `revoke execute on routine ${quotedFunction(name)} from public, ${quotedRole(inspection.schema.appRole)};`;
        yield { object: name, message: 'the app role may execute it', remedy };
      }
    },
  },
  {
    id: 'RF806',
    name: 'activity-readable',
    level: 'note',
    title: 'The app role sees the running statements of its other sessions',
    rationale:
      'PostgreSQL hides statements of other roles, and all organisations share one. Bound parameters do not show; literals do.',
    source: `${DOCS.statistics}; ${DOCS.executed}`,
    *check({ facts, schema }): Generator<Hit> {
      if (!facts.activityReadable) return;
      const remedy =
        'revoke select on pg_catalog.pg_stat_activity from public; revoke execute on function pg_catalog.pg_stat_get_activity(integer), pg_catalog.pg_stat_get_backend_activity(integer) from public;';
      yield {
        object: schema.appRole,
        message: 'it may read pg_stat_activity: bind every value as a parameter',
        remedy,
      };
    },
  },
  {
    id: 'RF807',
    name: 'notify-shared',
    level: 'note',
    title: 'A function or trigger notifies a channel',
    rationale: 'Any role may LISTEN to any channel: a payload reaches the sessions of all organisations.',
    source: `PostgreSQL documentation, NOTIFY; ${DOCS.executed}`,
    *check({ catalog }): Generator<Hit> {
      for (const { name, source, extension } of catalog.functions) {
        if (extension !== null || !/\bpg_notify\s*\(|^\s*notify\b/im.test(source)) continue;
        const remedy = '-- send no content: an opaque id, read again through a handle';
        yield { object: name, message: 'it calls pg_notify', remedy };
      }
      const told = new Set(catalog.functions.flatMap((each) => (each.extension === 'tcn' ? each.name : [])));
      for (const { relation, name, function: called } of catalog.triggers) {
        if (!told.has(called)) continue;
        const remedy = `drop trigger "${name.replaceAll('"', '""')}" on ${quoted(relation)};`;
        yield { object: `${relation}.${name}`, message: 'it sends the key of each row it changes', remedy };
      }
    },
  },
  {
    id: 'RF808',
    name: 'volumes-readable',
    level: 'note',
    title: 'The app role sees how many rows all organisations have',
    rationale:
      'pg_class.reltuples and pg_relation_size() are of the whole table, as is what pgrowlocks, pgstattuple, pg_visibility and pg_freespacemap count where they are installed. EXPLAIN estimates from statistics of all rows, and counts those that a policy removed: whoever runs it as the app role learns whether a value is frequent in other organisations. None tells a row.',
    source: DOCS.executed,
    *check({ facts, schema }): Generator<Hit> {
      if (!facts.volumesReadable) return;
      const remedy = '-- accept it: tools and drivers read pg_class';
      yield { object: schema.appRole, message: 'it may read pg_class.reltuples', remedy };
    },
  },
];
