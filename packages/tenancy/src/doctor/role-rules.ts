/** Rules on the app role: attributes, memberships, ownership and settings by which row-level security does not bind it. */
import type { Role } from '../catalog/catalog.ts';
import { type Inspection, OWN_SCHEMA } from './inspection.ts';
import { DOCS, type Hit, type Level, quoted, quotedFunction, quotedRole, type Rule } from './rule.ts';

/** Predefined roles that reach rows, files or sessions past every policy, and what each one gives. */
const PREDEFINED: Readonly<Record<string, string>> = {
  pg_read_all_data: 'SELECT on every relation',
  pg_write_all_data: 'INSERT, UPDATE and DELETE on every relation',
  pg_read_server_files: 'the data files of all organisations',
  pg_write_server_files: 'writing any file of the server',
  pg_execute_server_program: 'running programs as the server',
  pg_maintain: 'LOCK TABLE and REFRESH on every relation',
  pg_signal_backend: 'ending the sessions of other roles',
  pg_stat_scan_tables: 'counting and locking the rows of every relation',
  pg_create_subscription: 'writing tables by replication',
};

/** A role attribute that the app role, or a role it is a member of, must not have. */
function attributeRule(
  rule: Omit<Rule, 'check' | 'level'> & { readonly level?: Level },
  has: (role: Role) => boolean,
  attribute: string,
): Rule {
  return {
    level: 'error',
    ...rule,
    *check({ reachRoles, schema }): Generator<Hit> {
      for (const role of reachRoles) {
        if (!has(role)) continue;
        const own = role.name === schema.appRole;
        const remedy = own
          ? `alter role ${quotedRole(role.name)} no${attribute};`
          : `revoke ${quotedRole(role.name)} from ${quotedRole(schema.appRole)};`;
        const message = own
          ? `it has ${attribute.toUpperCase()}`
          : `a member of ${role.name}, which has ${attribute.toUpperCase()}`;
        yield { object: schema.appRole, message, remedy };
      }
    },
  };
}

/** What the app owns: `[owner, object, SQL that gives it away]`. Schemas of extensions and of PostgreSQL are not looked at. */
function* owned({ catalog, facts, reachRoles }: Inspection): Generator<readonly [string, string, string]> {
  const owners = new Set(reachRoles.map(({ name }) => name));
  if (owners.has(catalog.databaseOwner))
    yield [
      catalog.databaseOwner,
      `database ${catalog.database}`,
      `alter database ${quotedRole(catalog.database)} owner to`,
    ];
  for (const { name, owner } of catalog.schemas)
    if (owners.has(owner)) yield [owner, `schema ${name}`, `alter schema ${quotedRole(name)} owner to`];
  for (const { name, owner, kind, ownedBy } of catalog.relations)
    if (owners.has(owner) && ownedBy === null)
      yield [owner, name, `alter ${kind === 'partitioned table' ? 'table' : kind} ${quoted(name)} owner to`];
  for (const { name, owner, schema } of catalog.functions)
    if (owners.has(owner) && schema !== OWN_SCHEMA)
      yield [owner, name, `alter routine ${quotedFunction(name)} owner to`];
  for (const { kind, name, owner } of facts.owned)
    if (owners.has(owner)) yield [owner, `${kind} ${name}`, `alter ${kind} ${name} owner to`];
}

/** Settings in force for sessions of the app role, with where they come from and the SQL that resets them. */
function* settingsOf({
  catalog,
  facts,
  schema,
  role,
}: Inspection): Generator<readonly [string, string, string]> {
  const app = quotedRole(schema.appRole);
  for (const setting of role(schema.appRole)?.settings ?? []) {
    const reset = resetOf(setting);
    const remedy = `alter role ${app} ${reset} alter role ${app} in database ${quotedRole(catalog.database)} ${reset}`;
    yield [setting, `role ${schema.appRole}`, remedy];
  }
  for (const setting of catalog.everyRolesSettings)
    yield [setting, 'every role', `alter role all ${resetOf(setting)}`];
  for (const setting of catalog.databaseSettings)
    yield [
      setting,
      `database ${catalog.database}`,
      `alter database ${quotedRole(catalog.database)} ${resetOf(setting)}`,
    ];
  for (const setting of facts.serverSettings)
    yield [setting, 'the configuration of the server', `alter system ${resetOf(setting)}`];
}

/** `reset` finds a name by its case, which one that was quoted has kept. */
function resetOf(setting: string): string {
  const parts = setting.slice(0, setting.indexOf('=')).split('.');
  const plain = (part: string) => (/^[a-z_]+$/.test(part) ? part : quotedRole(part));
  return `reset ${parts.map(plain).join('.')};`;
}

/** PostgreSQL looks settings up without case. */
const nameOf = (setting: string) => setting.slice(0, setting.indexOf('=')).toLowerCase();

function settingRule(
  rule: Omit<Rule, 'check' | 'level'>,
  is: (setting: string, inspection: Inspection) => boolean,
): Rule {
  return {
    level: 'error',
    ...rule,
    *check(inspection): Generator<Hit> {
      for (const [setting, object, remedy] of settingsOf(inspection)) {
        if (is(setting, inspection)) yield { object, message: `${nameOf(setting)} is set`, remedy };
      }
    },
  };
}

/** True when the path names a schema the app role may create objects in. */
function isWritablePath(setting: string, inspection: Inspection): boolean {
  if (!setting.startsWith('search_path=')) return false;
  const names = setting
    .slice('search_path='.length)
    .split(',')
    .map((name) => name.trim().replaceAll('"', ''));
  const writable = inspection.catalog.schemas.filter(
    ({ owner, grants }) =>
      inspection.reach.has(owner) ||
      inspection.reachable(grants).some(({ privilege }) => privilege === 'create'),
  );
  return writable.some(({ name }) => names.includes(name));
}

/** The app role. */
export const roleRules: readonly Rule[] = [
  {
    id: 'RF601',
    name: 'app-role-missing',
    level: 'error',
    title: 'The declared app role does not exist',
    rationale:
      'Nothing that is known of the declared role says anything about the one the application really uses.',
    source: 'the declaration',
    *check({ role, schema }): Generator<Hit> {
      if (role(schema.appRole) !== undefined) return;
      const remedy = `create role ${quotedRole(schema.appRole)} login nosuperuser nobypassrls;`;
      yield { object: schema.appRole, message: 'there is no such role', remedy };
    },
  },
  attributeRule(
    {
      id: 'RF602',
      name: 'app-role-superuser',
      title: 'The app role is a superuser, or can become one',
      rationale: 'Superusers bypass row-level security and every grant.',
      source: DOCS.roles,
    },
    ({ superuser }) => superuser,
    'superuser',
  ),
  attributeRule(
    {
      id: 'RF603',
      name: 'app-role-bypassrls',
      title: 'The app role bypasses row-level security, or can become a role that does',
      rationale: 'BYPASSRLS skips every policy.',
      source: DOCS.rowSecurity,
    },
    ({ bypassRls }) => bypassRls,
    'bypassrls',
  ),
  attributeRule(
    {
      id: 'RF604',
      name: 'app-role-replication',
      title: 'The app role may replicate',
      rationale: 'A replication connection streams the data of all organisations as they are on disk.',
      source: DOCS.roles,
    },
    ({ replication }) => replication,
    'replication',
  ),
  attributeRule(
    {
      id: 'RF605',
      name: 'app-role-createrole',
      title: 'The app role may create roles',
      rationale:
        'Up to PostgreSQL 15 it can make itself a member of any role that is no superuser; since 16 it still administers those it makes.',
      source: DOCS.roles,
    },
    ({ createRole }) => createRole,
    'createrole',
  ),
  attributeRule(
    {
      id: 'RF606',
      name: 'app-role-createdb',
      level: 'warning',
      title: 'The app role may create databases',
      rationale: 'A database of its own is a place to put rows that no policy bounds.',
      source: DOCS.roles,
    },
    ({ createDb }) => createDb,
    'createdb',
  ),
  {
    id: 'RF607',
    name: 'app-role-owns',
    level: 'error',
    title: 'The app role owns an object',
    rationale:
      'An owner may disable row-level security, replace a function, or grant what it likes: FORCE binds its statements, not its DDL.',
    source: DOCS.rowSecurity,
    *check(inspection): Generator<Hit> {
      for (const [owner, object, sql] of owned(inspection)) {
        if (owner !== inspection.schema.appRole) continue;
        yield { object, message: 'it is owned by the app role', remedy: `${sql} current_user;` };
      }
    },
  },
  {
    id: 'RF608',
    name: 'app-role-member-of-owner',
    level: 'error',
    title: 'The app role is a member of a role that owns objects',
    rationale: 'A member may do what the owner may, NO FORCE included; SET ROLE and INHERIT only decide how.',
    source: `${DOCS.rowSecurity}; ${DOCS.executed}: crosses`,
    *check(inspection): Generator<Hit> {
      const app = inspection.schema.appRole;
      const counts = new Map<string, number>();
      for (const [owner] of owned(inspection))
        if (owner !== app) counts.set(owner, (counts.get(owner) ?? 0) + 1);
      for (const [owner, count] of counts) {
        const remedy = `revoke ${quotedRole(owner)} from ${quotedRole(app)};`;
        yield { object: app, message: `a member of ${owner}, which owns ${count} objects`, remedy };
      }
    },
  },
  {
    id: 'RF609',
    name: 'app-role-predefined',
    level: 'error',
    title: 'The app role is a member of a predefined role',
    rationale:
      'Predefined roles reach every relation, file or session of the server, those without policies included.',
    source: DOCS.predefinedRoles,
    *check({ reachRoles, schema }): Generator<Hit> {
      for (const { name } of reachRoles) {
        const gives = PREDEFINED[name];
        if (gives === undefined) continue;
        const remedy = `revoke ${quotedRole(name)} from ${quotedRole(schema.appRole)};`;
        yield { object: schema.appRole, message: `a member of ${name}: ${gives}`, remedy };
      }
    },
  },
  settingRule(
    {
      id: 'RF610',
      name: 'session-setting-unsafe',
      title: 'A preset setting takes row-level security or the constraints away',
      rationale:
        'row_security = off turns every policy into an error, which invites a bypass; session_replication_role turns off triggers and foreign keys; role changes who asks; standard_conforming_strings and transform_null_equals change what SQL means; lo_compat_privileges opens every large object; without synchronous_commit a crash takes back what was acknowledged. The app role may set most of them for itself.',
      source: 'PostgreSQL documentation, 19.11 Client Connection Defaults',
    },
    (setting) =>
      /^row_security=(?!on$)/.test(setting) ||
      /^session_replication_role=(?!origin$)/.test(setting) ||
      /^standard_conforming_strings=(?!on$)/.test(setting) ||
      /^transform_null_equals=(?!off$)/.test(setting) ||
      /^lo_compat_privileges=(?!off$)/.test(setting) ||
      /^default_transaction_(isolation|read_only)=/.test(setting) ||
      /^synchronous_commit=(off|false|no|0)$/i.test(setting) ||
      /^(role|session_authorization)=(?!none$)/.test(setting),
  ),
  settingRule(
    {
      id: 'RF611',
      name: 'context-preset',
      title: 'An organisation context is preset for a role or the database',
      rationale:
        'A statement without a handle would not fail: it would see the rows of the preset organisation.',
      source: DOCS.executed,
    },
    (setting) => nameOf(setting).startsWith('ringfence.'),
  ),
  settingRule(
    {
      id: 'RF612',
      name: 'search-path-writable',
      title: 'The search_path leads through a schema the app role may write',
      rationale: 'An object it puts there takes the place of the one that unqualified SQL means.',
      source: 'PostgreSQL documentation, 5.10.6 Usage Patterns; CVE-2018-1058',
    },
    isWritablePath,
  ),
  {
    id: 'RF613',
    name: 'owner-bypasses',
    level: 'warning',
    title: 'An org-owned table is owned by a role that row-level security does not bind',
    rationale:
      'FORCE binds an owner, but no superuser: its views and SECURITY DEFINER functions see all organisations.',
    source: `${DOCS.rowSecurity}; ${DOCS.executed}: a forced owner without bypass is contained`,
    *check(inspection): Generator<Hit> {
      for (const { name, owner } of inspection.orgTables) {
        if (!inspection.bypasses(owner)) continue;
        const remedy = `-- alter table ${quoted(name)} owner to a role without SUPERUSER and BYPASSRLS`;
        yield { object: name, message: `its owner ${owner} bypasses row-level security`, remedy };
      }
    },
  },
  {
    id: 'RF614',
    name: 'standing-bypass',
    level: 'note',
    title: 'A login role bypasses row-level security at all times',
    rationale:
      'A login with BYPASSRLS is a break-glass nobody has to break. Superusers are not listed: every server has one.',
    source: DOCS.rowSecurity,
    *check({ catalog, reach }): Generator<Hit> {
      for (const { name, login, bypassRls, superuser } of catalog.roles) {
        if (!login || !bypassRls || superuser || reach.has(name)) continue;
        yield {
          object: name,
          message: 'a login with BYPASSRLS',
          remedy: `alter role ${quotedRole(name)} nobypassrls;`,
        };
      }
    },
  },
];
