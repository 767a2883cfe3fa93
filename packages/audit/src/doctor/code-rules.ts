/** Rules on triggers and functions: that they are there, that they fire, and that they do what the migrations say. */
import { type Examined, type Hit, quoted, type Rule } from './rule.ts';
import { shapeOf } from './sql-shape.ts';

/** Rules on triggers and functions. */
export const codeRules: readonly Rule[] = [
  {
    name: 'trigger-missing',
    level: 'error',
    rationale: 'the triggers refuse UPDATE, DELETE and TRUNCATE to the owner and to superusers',
    *check({ facts, expected }): Generator<Hit> {
      const there = new Map(facts.triggers.map((one) => [`${one.schema}.${one.table}.${one.name}`, one]));
      const tables = new Set(facts.relations.filter(({ kind }) => kind === 'r').map(({ name }) => name));
      for (const [key, { definition, ddl }] of expected.triggers) {
        const [table = '', name] = key.split('.');
        const found = there.get(`audit.${key}`);
        if (!tables.has(table)) continue;
        const again = `${ddl}; alter table audit.${table} enable always trigger ${name};`;
        if (found === undefined)
          yield { object: `audit.${key}`, message: 'the trigger is missing', remedy: again };
        else if (triggerText(found.definition) !== triggerText(definition))
          yield {
            object: `audit.${key}`,
            message: 'the trigger does something else',
            remedy: `drop trigger ${name} on audit.${table}; ${again}`,
          };
      }
    },
  },
  {
    name: 'trigger-weakened',
    level: 'error',
    rationale: 'only ENABLE ALWAYS fires under session_replication_role = replica too',
    *check({ facts, expected }): Generator<Hit> {
      for (const { schema, table, name, enabled } of facts.triggers) {
        if (schema !== 'audit' || enabled === 'A' || !expected.triggers.has(`${table}.${name}`)) continue;
        const message = enabled === 'D' ? 'the trigger is disabled' : 'the trigger does not fire always';
        yield {
          object: `audit.${table}.${name}`,
          message,
          remedy: `alter table audit.${table} enable always trigger ${name};`,
        };
      }
      for (const { name, triggers } of facts.relations)
        if (
          !triggers &&
          [...expected.triggers.keys()].some((key) => key.startsWith(`${name}.`)) &&
          facts.triggers.some((one) => one.table === name)
        )
          yield {
            object: `audit.${name}`,
            message: 'pg_class says that the table has no triggers: the catalog was edited',
            remedy: `update pg_class set relhastriggers = true where oid = 'audit.${name}'::regclass;`,
          };
    },
  },
  {
    name: 'trigger-unexpected',
    level: 'error',
    rationale: 'a trigger of somebody else can change or swallow what audit.append stores',
    *check({ facts, expected }): Generator<Hit> {
      for (const { schema, table, name } of facts.triggers)
        if (schema === 'audit' && !expected.triggers.has(`${table}.${name}`))
          yield {
            object: `audit.${table}.${name}`,
            message: 'no migration made it',
            remedy: `drop trigger ${quoted(name)} on audit.${table};`,
          };
    },
  },
  {
    name: 'capture-missing',
    level: 'error',
    rationale: 'changes of this table are not recorded',
    check: captureHits,
  },
  {
    name: 'function-changed',
    level: 'error',
    rationale:
      'what audit.append, its context or a trigger function does is what the log is worth from then on',
    *check({ facts, expected }): Generator<Hit> {
      const there = new Map(facts.functions.map((one) => [one.signature, one]));
      for (const [signature, wanted] of expected.functions) {
        const found = there.get(signature);
        const remedy = `${wanted.ddl.replace(/^create (?:or replace )?/i, 'create or replace ')};`;
        const object = `audit.${signature}`;
        if (found === undefined) {
          const grants = [...expected.grants].filter(([right]) => right.includes(` on ${signature} to `));
          const after = [
            `alter function ${object} owner to ${quoted(facts.owner ?? '')}`,
            `revoke all on function ${object} from public`,
            ...new Set(grants.map(([, ddl]) => ddl)),
          ];
          yield { object, message: 'the function is missing', remedy: `${remedy} ${after.join('; ')};` };
        } else if (found.body !== wanted.body)
          yield { object, message: 'the function has another body', remedy };
        else if (found.securityDefiner !== wanted.securityDefiner)
          yield { object, message: `it is ${found.securityDefiner ? '' : 'not '}SECURITY DEFINER`, remedy };
        else if (found.settings.join() !== wanted.settings.join())
          yield {
            object,
            message: 'its settings (search_path and planning) are not those of the migrations',
            remedy,
          };
      }
    },
  },
  {
    name: 'function-unexpected',
    level: 'error',
    rationale: 'an overload is called in the place of the function it shadows',
    *check({ facts, expected }): Generator<Hit> {
      for (const { signature } of facts.functions)
        if (!expected.functions.has(signature))
          yield {
            object: `audit.${signature}`,
            message: 'no migration made it',
            remedy: `drop function audit.${signature};`,
          };
    },
  },
];

/** Capture triggers of the application's tables, as `captureTriggers` generates them. */
function* captureHits({ facts, captures }: Examined): Generator<Hit> {
  for (const { schema, table, triggers, ddl } of captures) {
    for (const [name, wanted] of triggers) {
      const found = facts.triggers.find(
        (one) => one.schema === schema && one.table === table && one.name === name,
      );
      const object = `${schema}.${table}.${name}`;
      const again = `drop trigger if exists ${name} on ${quoted(schema)}.${quoted(table)}; ${ddl.get(name) ?? ''}`;
      if (found === undefined) yield { object, message: 'the trigger is missing', remedy: again };
      else if (withoutTable(found.definition) !== withoutTable(wanted))
        yield { object, message: 'the trigger does something else', remedy: again };
      else if (found.enabled !== 'A')
        yield {
          object,
          message: found.enabled === 'D' ? 'the trigger is disabled' : 'the trigger does not fire always',
          remedy: `alter table ${quoted(schema)}.${quoted(table)} enable always trigger ${name};`,
        };
    }
  }
}

function withoutTable(definition: string): string {
  return definition.replace(/ ON \S+ /, ' ');
}

/** A trigger's definition without its name and with its events in order. */
function triggerText(definition: string): string {
  const [, timing = '', events = '', rest = ''] =
    /\b(before|after|instead of) ([\s\S]+?) (on audit\.[\s\S]*)$/i.exec(definition) ?? [];
  return shapeOf(
    `${timing} ${events
      .split(/\s+or\s+/i)
      .sort()
      .join(' or ')} ${rest}`,
  );
}
