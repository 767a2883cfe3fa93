/** Rules on functions and triggers: code that runs with other rights, before the policy, or in place of this package's. */
import type { CatalogFunction } from '../catalog/catalog.ts';
import { grouped } from '../catalog/grouped.ts';
import { isFixedPath, searchPathOf } from '../catalog/search-path.ts';
import { ownersTriggers } from '../catalog/set-off.ts';
import { expectedFunctions, expectedTriggers, identityOf, sameFunction } from './expected-functions.ts';
import type { InstalledFunction } from './facts.ts';
import { type Inspection, OWN_SCHEMA } from './inspection.ts';
import { DOCS, type Hit, quoted, quotedFunction, quotedRole, type Rule } from './rule.ts';

/**
 * Functions the app role may execute, those of this package left out. Those of extensions are in it: ALTER EXTENSION … ADD
 * makes any function one.
 */
function* executable(inspection: Inspection): Generator<CatalogFunction> {
  for (const each of inspection.catalog.functions) {
    if (each.schema === OWN_SCHEMA) continue;
    if (inspection.reachable(each.grants).length > 0) yield each;
  }
}

/** Functions of other schemas that run with their owner's rights and that the app role sets off: itself, by a trigger, by an aggregate. */
function* definers(inspection: Inspection): Generator<CatalogFunction> {
  for (const each of inspection.catalog.functions) {
    if (!each.securityDefiner || each.schema === OWN_SCHEMA) continue;
    if (inspection.setOff.functions.has(each.name) || inspection.reachable(each.grants).length > 0)
      yield each;
  }
}

/** Functions and triggers. */
export const functionRules: readonly Rule[] = [
  {
    id: 'RF521',
    name: 'definer-undeclared',
    level: 'error',
    title: 'The app role may execute a SECURITY DEFINER function that is not declared',
    rationale:
      'It runs with the rights of its owner; under a superuser or BYPASSRLS owner it reads and writes all organisations.',
    source: `${DOCS.createFunction}; ${DOCS.executed}: all rows`,
    *check(inspection): Generator<Hit> {
      for (const { name, securityDefiner, owner } of executable(inspection)) {
        if (!securityDefiner || inspection.schema.definerFunctions.has(name)) continue;
        const remedy = `revoke execute on routine ${quotedFunction(name)} from public, ${quotedRole(inspection.schema.appRole)};`;
        yield { object: name, message: `it runs as ${owner}`, remedy };
      }
      const callable = new Set([...executable(inspection)].map(({ name }) => name));
      for (const [name, aggregate] of inspection.setOff.aggregated) {
        if (callable.has(name) || inspection.schema.definerFunctions.has(name)) continue;
        const remedy = `revoke execute on routine ${quotedFunction(aggregate)} from public, ${quotedRole(inspection.schema.appRole)};`;
        yield { object: name, message: `the aggregate ${aggregate} runs it`, remedy };
      }
      for (const name of inspection.catalog.supportFunctions) {
        if (callable.has(name) || inspection.schema.definerFunctions.has(name)) continue;
        const remedy = `alter routine ${quotedFunction(name)} security invoker;`;
        yield { object: name, message: 'an operator class or range type runs it', remedy };
      }
    },
  },
  {
    id: 'RF522',
    name: 'definer-search-path',
    level: 'error',
    title: 'A SECURITY DEFINER function has no fixed search_path',
    rationale:
      "Its caller chooses the path, and pg_temp is searched first unless it is named last: the caller's table, type or operator takes the place of the one that was meant. A standard SQL body binds its own names, and none of the functions and triggers it sets off; an empty path leaves pg_temp first.",
    source: DOCS.createFunction,
    *check(inspection): Generator<Hit> {
      for (const { name, settings } of definers(inspection)) {
        const path = searchPathOf(settings);
        if (path !== undefined && isFixedPath(path)) continue;
        const message =
          path === undefined
            ? 'search_path is not set'
            : `search_path=${path} does not name pg_temp once, last, or names $user`;
        const remedy = `alter routine ${quotedFunction(name)} set search_path = pg_catalog, pg_temp;`;
        yield { object: name, message, remedy };
      }
    },
  },
  {
    id: 'RF523',
    name: 'trigger-definer',
    level: 'error',
    title: 'A trigger the app role sets off runs an undeclared SECURITY DEFINER function',
    rationale:
      'A write of the app role sets it off with the rights of its owner, and the app needs no right to execute it: on the table, on a partition the row goes to, on a table a referential action changes. An event trigger needs a temporary table, or a login.',
    source: `PostgreSQL documentation, CREATE TRIGGER, CREATE EVENT TRIGGER; ${DOCS.executed}: all rows`,
    *check(inspection): Generator<Hit> {
      const definer = new Set([...definers(inspection)].map(({ name }) => name));
      const undeclared = (called: string) =>
        definer.has(called) && !inspection.schema.definerFunctions.has(called);
      const { catalog, setOff } = inspection;
      for (const { relation, name, function: called } of catalog.triggers) {
        if (!setOff.relations.has(relation) || !undeclared(called)) continue;
        const remedy = `drop trigger "${name.replaceAll('"', '""')}" on ${quoted(relation)};`;
        yield { object: `${relation}.${name}`, message: `it runs ${called}`, remedy };
      }
      for (const { name, function: called } of catalog.eventTriggers) {
        if (!undeclared(called)) continue;
        const remedy = `drop event trigger "${name.replaceAll('"', '""')}";`;
        yield { object: `event trigger ${name}`, message: `it runs ${called}`, remedy };
      }
    },
  },
  {
    id: 'RF524',
    name: 'leakproof-function',
    level: 'warning',
    title: 'A function is marked LEAKPROOF that PostgreSQL does not ship so',
    rationale:
      'The planner may run it before the policy, on rows of all organisations: what it raises, such as a value it cannot cast, tells of them.',
    source: `${DOCS.createPolicy}; CREATE FUNCTION: LEAKPROOF`,
    *check(inspection): Generator<Hit> {
      for (const { name, leakproof, owner } of executable(inspection)) {
        if (!leakproof) continue;
        const remedy = `alter routine ${quotedFunction(name)} not leakproof;`;
        yield { object: name, message: `owned by ${owner}, it may run before the policy`, remedy };
      }
      for (const name of inspection.facts.leakproofBuiltIns) {
        const remedy = `alter routine ${quotedFunction(name)} not leakproof;`;
        yield { object: name, message: 'PostgreSQL ships it without that mark', remedy };
      }
    },
  },
  {
    id: 'RF525',
    name: 'policy-function-replaceable',
    level: 'error',
    title: 'The app role owns a function that isolation depends on',
    rationale: 'An owner may replace it: injected SQL then decides what the policy answers.',
    source: 'PostgreSQL documentation, CREATE FUNCTION: OR REPLACE',
    *check(inspection): Generator<Hit> {
      const called = new Set(inspection.facts.policyCalls.map(({ uses }) => uses));
      for (const { name, schema, owner } of inspection.catalog.functions) {
        if (!(called.has(name) || schema === OWN_SCHEMA)) continue;
        if (owner !== inspection.schema.appRole && !inspection.reachRoles.some((role) => role.name === owner))
          continue;
        const remedy = `alter routine ${quotedFunction(name)} owner to current_user;`;
        yield { object: name, message: `it is owned by ${owner}`, remedy };
      }
    },
  },
  {
    id: 'RF526',
    name: 'tenancy-function-altered',
    level: 'error',
    title: 'A function or trigger of schema tenancy is missing, or is not the one this version generates',
    rationale:
      'Policies are compared by equality and call these functions: whoever changes one changes all policies at once.',
    source: 'the migrations of this package',
    *check(inspection): Generator<Hit> {
      const unsigned = expectedFunctions(false);
      const live = grouped(inspection.facts.tenancyFunctions, identityOf);
      if (live.size === 0) {
        // One cause, one finding: a list of all that the migrations would make says less than that they never ran.
        const message = `it holds none of the ${inspection.expected.size} functions this version generates`;
        yield {
          object: OWN_SCHEMA,
          message,
          remedy: '-- run the migrations: tenancyMigrations({ appRole, … })',
        };
        return;
      }
      const remedy = '-- run the migrations of this version again';
      for (const [identity, expected] of inspection.expected) {
        const found = live.get(identity);
        const same = (one: InstalledFunction) =>
          sameFunction(one, expected) || sameFunction(one, unsigned.get(identity));
        if (found?.some(same) === true) continue;
        const message = found === undefined ? 'it is missing' : 'it is not the one this version generates';
        yield { object: `${OWN_SCHEMA}.${expected.name}`, message, remedy };
      }
      for (const { relation, name, function: called } of expectedTriggers()) {
        const on = inspection.relation(relation);
        if (on === undefined) continue;
        const found = inspection
          .triggers(on)
          .find((trigger) => trigger.name === name && trigger.function === called);
        if (found?.enabled === true) continue;
        yield {
          object: `${relation}.${name}`,
          message: found === undefined ? 'the trigger is missing' : 'the trigger is disabled',
          remedy: found === undefined ? remedy : `alter table ${quoted(relation)} enable trigger ${name};`,
        };
      }
    },
  },
  {
    id: 'RF527',
    name: 'tenancy-function-foreign',
    level: 'error',
    title: 'Schema tenancy holds a function that this package does not generate',
    rationale: 'It can stand in for a generated one by overloading, and it passes for a part of the guard.',
    source: 'the migrations of this package',
    *check(inspection): Generator<Hit> {
      const seen = new Map<string, number>();
      for (const each of inspection.facts.tenancyFunctions) {
        const { name, inputs } = each;
        const identity = identityOf(each);
        seen.set(identity, (seen.get(identity) ?? 0) + 1);
        if (inspection.expected.has(identity) && seen.get(identity) === 1) continue;
        const object = `${OWN_SCHEMA}.${name}`;
        const remedy = `-- move it: alter routine ${quoted(object)}(…) set schema …;`;
        const message = inspection.expected.has(identity)
          ? `one of several functions of ${inputs} arguments, where the migrations make one`
          : `a function of ${inputs} arguments that no migration makes`;
        yield { object, message, remedy };
      }
    },
  },
  {
    id: 'RF528',
    name: 'context-unsigned',
    level: 'warning',
    title: 'The signature of the context is not verified',
    rationale: 'One injected set_config names another organisation, and the policy believes it.',
    source: `${DOCS.executed}: one injected SELECT reads the other organisation`,
    *check({ facts }): Generator<Hit> {
      const unsigned = expectedFunctions(false).get('org_id/0');
      const live = facts.tenancyFunctions.find((each) => identityOf(each) === 'org_id/0');
      if (live === undefined || !sameFunction(live, unsigned)) return;
      const remedy = '-- migrate with signedContext: true, then install a key with installContextKey';
      yield { object: 'tenancy.org_id', message: 'the context is accepted unsigned', remedy };
    },
  },
  {
    id: 'RF529',
    name: 'context-key-missing',
    level: 'error',
    title: 'No context key is installed',
    rationale:
      'Every statement of every handle is refused as forged; the next quick fix tends to be to stop verifying.',
    source: 'the migrations of this package',
    *check({ facts }): Generator<Hit> {
      if (facts.contextKeys !== 0) return;
      const remedy = '-- install one with installContextKey';
      yield { object: 'tenancy.context_key', message: 'the table of keys is empty', remedy };
    },
  },
  {
    id: 'RF530',
    name: 'context-keys-many',
    level: 'warning',
    title: 'More than two context keys are installed',
    rationale: 'A rotation needs two. Every further key is one more secret that signs for any organisation.',
    source: 'NIST SP 800-57 Part 1, 5.3 Cryptoperiods',
    *check({ facts }): Generator<Hit> {
      if (facts.contextKeys === null || facts.contextKeys <= 2) return;
      const remedy = '-- remove keys that no process signs with any more: removeContextKey';
      yield { object: 'tenancy.context_key', message: `${facts.contextKeys} keys are installed`, remedy };
    },
  },
  {
    id: 'RF531',
    name: 'context-key-read',
    level: 'error',
    title: 'A function of another schema reads the context keys, or sets the context',
    rationale:
      'Whoever has a key signs for any organisation; what sets the context decides whose rows are seen.',
    source: 'the migrations of this package',
    *check(inspection): Generator<Hit> {
      for (const { name, schema, source } of inspection.catalog.functions) {
        if (schema === OWN_SCHEMA || !/context_key|ringfence\.context/.test(source)) continue;
        const remedy = `drop routine ${quotedFunction(name)};`;
        yield { object: name, message: 'its source names the context or its keys', remedy };
      }
    },
  },
  {
    id: 'RF532',
    name: 'trigger-as-owner',
    level: 'warning',
    title: 'A referential action runs a BEFORE trigger as the owner of the table',
    rationale:
      'What ON DELETE or ON UPDATE changes is changed in a query of the owner for which row-level security is not forced: a BEFORE trigger there reads and writes the rows of all organisations, and its caller chooses the search_path. An AFTER trigger runs as who asked.',
    source: `PostgreSQL source, ri_PerformCheck: SECURITY_NOFORCE_RLS; ${DOCS.executed} and 15.18: all rows of a forced table`,
    *check(inspection): Generator<Hit> {
      const functions = new Map(inspection.catalog.functions.map((each) => [each.name, each]));
      for (const { trigger, by } of ownersTriggers(inspection.catalog, inspection.setOff)) {
        const { relation, name, function: called } = trigger;
        const fn = functions.get(called);
        // One of PostgreSQL or in C, such as moddatetime, changes the row and asks for no other.
        if (fn === undefined || fn.language === 'c' || fn.language === 'internal') continue;
        const path = searchPathOf(fn.settings);
        const declared = inspection.schema.definerFunctions.has(called);
        if (declared && path !== undefined && isFixedPath(path)) continue;
        yield {
          object: `${relation}.${name}`,
          message: `${by.relation}.${by.name} runs ${called}${declared ? ', whose search_path is not fixed' : ''}`,
          remedy: `-- make it an AFTER trigger, or declare ${called} in definerFunctions and fix its search_path`,
        };
      }
    },
  },
];
