/**
 * The SQL that isolates freshly created tables, for a reviewer to read and for the user's own migrations to run. On
 * tables with rows use the steps of `migrationSteps`, which take no long lock.
 */
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { identifier, qualifiedName } from '../identifier.ts';
import type { TenancySchema } from './declaration.ts';
import { expectedKeys, keySql } from './foreign-keys.ts';
import { freshGuardSql, GLOBAL_GUARD, grantSql, orgGuard } from './guard.ts';
import { PACKAGE_SCHEMA } from './other-relations.ts';
import { usedSchemas } from './surroundings.ts';

/** Settings of `policySql`. */
export interface PolicySqlOptions {
  /** False when `create table` states `org_id` and the keys itself. Default true: generate them too. */
  readonly keys?: boolean;
}

/**
 * Everything that isolates the tables of a schema which the migration before it has created: `org_id` and the keys it
 * leads, policies, forced row-level security, grants. Run it as the owner, behind `tenancyMigrations`.
 *
 * @throws RingfenceTenancyError `tenancy.invalid_identifier` when a name is not plain.
 * @example
 * ```ts
 * const schema = declareSchema()({ appRole: 'app', org: { 'app.note': { key: ['id'] } } });
 * console.log(policySql(schema));
 * ```
 */
export function policySql(schema: TenancySchema, { keys = true }: PolicySqlOptions = {}): string {
  const app = identifier(schema.appRole);
  const blocks: string[] = [];
  const used = [...usedSchemas(schema)].filter((name) => name !== PACKAGE_SCHEMA);
  blocks.push(
    used
      .flatMap((name) => [
        `revoke all on schema ${identifier(name)} from public, ${app};`,
        `grant usage on schema ${identifier(name)} to ${app};`,
      ])
      .join('\n'),
  );
  if (keys) blocks.push(keysSql(schema));
  for (const [table, { privileges }] of schema.org) {
    if (table.startsWith(`${PACKAGE_SCHEMA}.`)) continue; // made and isolated by the package's own migrations
    blocks.push(
      `-- ${table}: rows of one organisation\n${freshGuardSql(table, schema.appRole, orgGuard(privileges))}`,
    );
  }
  for (const table of schema.global.keys())
    blocks.push(
      `-- ${table}: read by all organisations\n${freshGuardSql(table, schema.appRole, GLOBAL_GUARD)}`,
    );
  for (const [table, { privileges, reason }] of schema.system)
    blocks.push(`-- ${table}: ${oneLine(reason)}\n${grantSql(qualifiedName(table), app, privileges)}`);
  for (const view of schema.views.keys()) {
    const name = qualifiedName(view);
    blocks.push(
      `-- ${view}: reads with the rights of its reader\nalter view ${name} set (security_invoker = true);\n${grantSql(name, app, ['select'])}`,
    );
  }
  return `${blocks
    .map((block) => block.trimEnd())
    .filter((block) => block !== '')
    .join('\n\n')}\n`;
}

/** Keys before foreign keys: a reference needs the key it points to. */
function keysSql(schema: TenancySchema): string {
  const list = (columns: readonly string[]) => `(${columns.map(identifier).join(', ')})`;
  const keys: string[] = [];
  const references: string[] = [];
  for (const [table, declared] of schema.org) {
    if (table.startsWith(`${PACKAGE_SCHEMA}.`)) continue;
    const name = qualifiedName(table);
    keys.push(
      `alter table ${name} add column if not exists org_id uuid, alter column org_id set not null;`,
      `alter table ${name} add primary key ${list(['org_id', ...declared.key])};`,
      ...declared.unique.map((unique) => `alter table ${name} add unique ${list(['org_id', ...unique])};`),
    );
    references.push(
      ...expectedKeys(schema, declared).map((key) => `alter table ${name} add ${keySql(key)};`),
    );
  }
  for (const [table, { key }] of schema.global)
    keys.push(`alter table ${qualifiedName(table)} add primary key ${list(key)};`);
  return [...keys, ...references].join('\n');
}

/** A reason may not end the comment it stands in. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}

/** `policySql` as one migration of Kysely's migrator. */
export function policyKyselyMigration(schema: TenancySchema, options: PolicySqlOptions = {}): Migration {
  const up = policySql(schema, options);
  return {
    up: async (db: Kysely<unknown>): Promise<void> => {
      await sql.raw(up).execute(db);
    },
  };
}
