/**
 * What the migrations make, read out of their own SQL, so that the doctor knows no second list that could fall behind.
 * A statement this reader does not understand makes something the doctor then reports as unexpected: nothing is let pass.
 */
import type { SqlMigration } from '../migrations.ts';
import { quoted } from './rule.ts';
import { partsOf, statementsOf } from './sql-statements.ts';

/** A function by its DDL. */
export interface ExpectedFunction {
  /** Source text. */
  readonly body: string;
  /** `security definer`. */
  readonly securityDefiner: boolean;
  /** `SET` clauses, `name=value`, sorted. */
  readonly settings: readonly string[];
  /** The statement that makes it. */
  readonly ddl: string;
}

/** Something with a definition and the statement that makes it. */
export interface ExpectedDefinition {
  /** Definition in the words of the DDL. */
  readonly definition: string;
  /** The statement that makes it. */
  readonly ddl: string;
}

/** A column by its DDL. */
export interface ExpectedColumn {
  /** Type, as PostgreSQL names it. */
  readonly type: string;
  /** The expression that it is generated from; null for one that is written. */
  readonly generated: string | null;
}

/** Schema `audit` as the migrations make it; keys of objects on a table are `table.name`. */
export interface ExpectedSchema {
  /** Columns by table and name. */
  readonly tables: ReadonlyMap<string, ReadonlyMap<string, ExpectedColumn>>;
  /** Constraints. */
  readonly constraints: ReadonlyMap<string, ExpectedDefinition>;
  /** Triggers. */
  readonly triggers: ReadonlyMap<string, ExpectedDefinition>;
  /** Policies. */
  readonly policies: ReadonlyMap<string, ExpectedDefinition>;
  /** Functions by `name(argument types)`. */
  readonly functions: ReadonlyMap<string, ExpectedFunction>;
  /** Rights, each as `privilege on object to role`; `schema`, a table, or `name(argument types)`. */
  readonly grants: ReadonlyMap<string, string>;
  /** Tables under row-level security. */
  readonly guarded: ReadonlySet<string>;
}

const NAME = '"?(\\w+)"?';
const TABLE = new RegExp(`^create table audit\\.${NAME} \\(([\\s\\S]*?)\\)(?: with \\([^)]*\\))?$`, 'i');
const CONSTRAINT = new RegExp(`^constraint ${NAME} ([\\s\\S]+)$`, 'i');
const ADDED = new RegExp(`^alter table audit\\.${NAME} add constraint ${NAME} ([\\s\\S]+)$`, 'i');
const TRIGGER = new RegExp(
  `^create (?:constraint )?trigger ${NAME} ([\\s\\S]*? on audit\\.${NAME}[\\s\\S]*)$`,
  'i',
);
const POLICY = new RegExp(`^create policy ${NAME} on audit\\.${NAME} ([\\s\\S]+)$`, 'i');
const FUNCTION = new RegExp(
  `^create (?:or replace )?(?:function|procedure) audit\\.${NAME}\\(([\\s\\S]*?)\\)([\\s\\S]*?)\\bas (?:\\$(\\w*)\\$([\\s\\S]*)\\$\\4\\$)([\\s\\S]*)$`,
  'i',
);
const GRANT = /^grant ([\w, ()]+?) on (?:(function|schema|table) )?(audit[\s\S]*?) to ([\s\S]+)$/i;
const SECURED = new RegExp(`^alter table audit\\.${NAME} enable row level security`, 'i');
const SETTING = /\bset (\w+) (?:=|to) ((?:'[^']*'|\w+)(?:, ?\w+)*)/gi;
const ALIASES: Readonly<Record<string, string>> = {
  int: 'integer',
  int4: 'integer',
  int8: 'bigint',
  bool: 'boolean',
  timestamptz: 'timestamp with time zone',
};

/** Reads the migrations. `owner` is who `current_user` was while they ran. */
export function expectedSchema(migrations: readonly SqlMigration[], owner: string): ExpectedSchema {
  const tables = new Map<string, Map<string, ExpectedColumn>>();
  const constraints = new Map<string, ExpectedDefinition>();
  const triggers = new Map<string, ExpectedDefinition>();
  const policies = new Map<string, ExpectedDefinition>();
  const functions = new Map<string, ExpectedFunction>();
  const grants = new Map<string, string>();
  const guarded = new Set<string>();
  for (const ddl of migrations.flatMap(({ up }) => statementsOf(up))) {
    const [, table, parts] = TABLE.exec(ddl) ?? [];
    if (table !== undefined) {
      const columns = new Map<string, ExpectedColumn>();
      for (const part of partsOf(parts ?? '')) {
        const [, name, definition] = CONSTRAINT.exec(part) ?? [];
        if (name === undefined || definition === undefined) columns.set(...columnOf(part));
        else
          constraints.set(`${table}.${name}`, {
            definition,
            ddl: `alter table audit.${table} add constraint ${name} ${definition}`,
          });
      }
      tables.set(table, columns);
      continue;
    }
    const [, addedTo, added, addedDefinition] = ADDED.exec(ddl) ?? [];
    if (added !== undefined)
      constraints.set(`${addedTo}.${added}`, { definition: addedDefinition ?? '', ddl });
    const [, trigger, definition, triggerTable] = TRIGGER.exec(ddl) ?? [];
    if (trigger !== undefined)
      triggers.set(`${triggerTable}.${trigger}`, { definition: definition ?? '', ddl });
    const [, policy, policyTable, rule] = POLICY.exec(ddl) ?? [];
    if (policy !== undefined)
      policies.set(`${policyTable}.${policy}`, {
        definition: (rule ?? '').replace(/\bcurrent_user\b/, () => quoted(owner)),
        ddl,
      });
    const [, name, parameters, options, , body, after] = FUNCTION.exec(ddl) ?? [];
    if (name !== undefined)
      functions.set(
        `${name}(${argumentTypes(parameters ?? '')})`,
        functionOf(body ?? '', `${options} ${after}`, ddl),
      );
    for (const right of grantsOf(ddl)) grants.set(right, ddl);
    const secured = SECURED.exec(ddl)?.[1];
    if (secured !== undefined) guarded.add(secured);
  }
  return { tables, constraints, triggers, policies, functions, grants, guarded };
}

function columnOf(part: string): [string, ExpectedColumn] {
  const [, name = '', type = ''] = /^"?(\w+)"? ([\w[\]]+)/.exec(part) ?? [];
  const [, expression] = / generated always as \(([\s\S]+)\) stored$/i.exec(part) ?? [];
  return [name, { type: typeOf(type), generated: expression ?? null }];
}

function typeOf(type: string): string {
  const [, name = '', array = ''] = /^([\w ]+?)(\[\])?$/.exec(type.trim().toLowerCase()) ?? [];
  return `${ALIASES[name] ?? name}${array}`;
}

function argumentTypes(parameters: string): string {
  return partsOf(parameters)
    .filter((parameter) => !/^out\s/i.test(parameter))
    .map((parameter) =>
      typeOf(parameter.replace(/\s+default\s[\s\S]*$/i, '').replace(/^(?:in\s+)?\w+\s+/i, '')),
    )
    .join(', ');
}

function functionOf(body: string, options: string, ddl: string): ExpectedFunction {
  const settings = [...options.matchAll(SETTING)].map(
    ([, name = '', value = '']) => `${name.toLowerCase()}=${value.replaceAll("'", '')}`,
  );
  return { body, securityDefiner: /\bsecurity definer\b/i.test(options), settings: settings.sort(), ddl };
}

function* grantsOf(ddl: string): Generator<string> {
  const [, privileges = '', kind, objects = '', roles = ''] = GRANT.exec(ddl) ?? [];
  for (const object of partsOf(objects)) {
    const name = object
      .trim()
      .replace(/^audit\.?/, '')
      .replaceAll('"', '');
    const signature = /^(\w+)\((.*)\)$/.exec(name);
    const types = partsOf(signature?.[2] ?? '')
      .map(typeOf)
      .join(', ');
    const shown = kind === 'schema' ? 'schema' : signature === null ? name : `${signature[1]}(${types})`;
    for (const role of roles.split(','))
      for (const granted of partsOf(privileges)) {
        const [, privilege = '', columns] = /^(\w+)(?: \((.*)\))?$/.exec(granted) ?? [];
        for (const column of columns?.split(',') ?? [''])
          yield `${privilege.toLowerCase()} on ${shown}${column === '' ? '' : `.${column.trim()}`} to ${role.trim().replaceAll('"', '')}`;
      }
  }
}
