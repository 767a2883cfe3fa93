/** Rules on roles, rights and the server: who can pass the guards without breaking one. */
import { type Hit, quoted, type Rule } from './rule.ts';

/** Predefined roles that write past grants, or past PostgreSQL. */
const PREDEFINED: readonly string[] = [
  'pg_write_all_data',
  'pg_write_server_files',
  'pg_execute_server_program',
];

/** Rules on roles, rights and the server. */
export const accessRules: readonly Rule[] = [
  {
    name: 'app-role',
    level: 'error',
    rationale: 'the guards bind the app role only while it can become neither the owner nor a superuser',
    *check({ facts, app }): Generator<Hit> {
      if (facts.reach.length === 0)
        yield {
          object: app,
          message: 'there is no such role',
          remedy: '-- name the login role of the application',
        };
      for (const { name, superuser, bypass } of facts.reach) {
        const what = superuser
          ? 'a superuser'
          : bypass
            ? 'exempt from row-level security'
            : PREDEFINED.includes(name)
              ? 'a role that writes past grants'
              : name === facts.owner
                ? 'the owner of the log'
                : undefined;
        if (what === undefined) continue;
        const remedy =
          name !== app
            ? `revoke ${quoted(name)} from ${quoted(app)};`
            : name === facts.owner
              ? '-- let another role own schema audit'
              : `alter role ${quoted(app)} nosuperuser nobypassrls;`;
        yield {
          object: app,
          message: name === app ? `it is ${what}` : `it is a member of ${name}, ${what}`,
          remedy,
        };
      }
    },
  },
  {
    name: 'owner-differs',
    level: 'error',
    rationale: 'an owner can do with its table or function what it likes',
    *check({ facts }): Generator<Hit> {
      const owner = quoted(facts.owner ?? '');
      for (const { name, kind, owner: of } of facts.relations)
        if (of !== facts.owner && kind === 'r')
          yield {
            object: `audit.${name}`,
            message: `it belongs to ${of}, not to the owner of the schema`,
            remedy: `alter table audit.${name} owner to ${owner};`,
          };
      for (const { signature, owner: of } of facts.functions)
        if (of !== facts.owner)
          yield {
            object: `audit.${signature}`,
            message: `it belongs to ${of}, not to the owner of the schema`,
            remedy: `alter function audit.${signature} owner to ${owner};`,
          };
    },
  },
  {
    name: 'grant-unexpected',
    level: 'error',
    rationale: 'the app role reads and calls functions, nothing else; a right beyond that is a way past them',
    *check({ facts, expected }): Generator<Hit> {
      for (const { right, grantable, target, privilege, grantee } of facts.grants) {
        if (expected.grants.has(right) && !grantable) continue;
        const what = expected.grants.has(right) ? `${privilege} with grant option` : privilege;
        const revoke = expected.grants.has(right) ? `grant option for ${privilege}` : privilege;
        yield {
          object: right.slice(right.indexOf(' on ') + 4, right.lastIndexOf(' to ')),
          message: `${grantee} has ${what}`,
          remedy: `revoke ${revoke} on ${target} from ${quoted(grantee)} cascade;`,
        };
      }
    },
  },
  {
    name: 'grant-missing',
    level: 'warning',
    rationale: 'the application cannot record, seal or read',
    *check({ facts, expected }): Generator<Hit> {
      const there = new Set(facts.grants.map(({ right }) => right));
      const objects = new Set([
        'schema',
        ...facts.relations.map(({ name }) => name),
        ...facts.functions.map(({ signature }) => signature),
      ]);
      for (const [right, ddl] of expected.grants) {
        const object = right.slice(right.indexOf(' on ') + 4, right.lastIndexOf(' to '));
        if (!objects.has(object) || there.has(right) || right.endsWith(` to ${facts.owner}`)) continue;
        yield { object, message: `${right} is missing`, remedy: `${ddl};` };
      }
    },
  },
  {
    name: 'default-privileges',
    level: 'error',
    rationale: 'whatever is created next in the schema comes with these rights',
    *check({ facts }): Generator<Hit> {
      for (const { by, schema, right } of facts.defaults) {
        const [privilege = '', role = ''] = right.split(' to ');
        const where = schema === null ? '' : ` in schema ${schema}`;
        yield {
          object: schema ?? facts.database,
          message: `objects that ${by} creates come with ${right}`,
          remedy: `-- alter default privileges for role ${quoted(by)}${where} revoke ${privilege} on … from ${quoted(role)};`,
        };
      }
    },
  },
  {
    name: 'subscription',
    level: 'error',
    rationale: 'a subscription writes rows as another server sends them',
    *check({ facts }): Generator<Hit> {
      for (const name of facts.subscribed)
        yield {
          object: name,
          message: 'a subscription writes into the log',
          remedy: `-- drop subscription ${name};`,
        };
    },
  },
  {
    name: 'publication',
    level: 'warning',
    rationale: "every organisation's log leaves this database, past row-level security",
    *check({ facts }): Generator<Hit> {
      for (const name of facts.published)
        yield {
          object: name,
          message: 'the log is published to subscribers',
          remedy: '-- take the table out of the publication, or state who subscribes',
        };
    },
  },
  {
    name: 'durability-off',
    level: 'error',
    rationale: 'an event that was answered as sealed can be gone after a crash',
    *check({ facts }): Generator<Hit> {
      for (const [name, value] of Object.entries(facts.settings))
        if (value === 'off')
          yield {
            object: name,
            message: 'it is off for the whole server',
            remedy: `alter system set ${name} = on; select pg_reload_conf();`,
          };
      for (const kept of facts.keptSettings)
        if (/: synchronous_commit=off$/.test(kept))
          yield {
            object: kept.slice(0, kept.indexOf(':')),
            message: 'synchronous_commit is off',
            remedy: '-- alter role or database … reset synchronous_commit;',
          };
    },
  },
  {
    name: 'replica-sessions',
    level: 'warning',
    rationale:
      'sessions begin with session_replication_role = replica: capture triggers of others and foreign keys do not fire',
    *check({ facts }): Generator<Hit> {
      for (const kept of facts.keptSettings)
        if (/: session_replication_role=(?:replica|local)$/.test(kept))
          yield {
            object: kept.slice(0, kept.indexOf(':')),
            message: kept.slice(kept.indexOf(':') + 2),
            remedy: '-- alter role or database … reset session_replication_role;',
          };
    },
  },
];
