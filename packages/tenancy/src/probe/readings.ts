/**
 * What views and `SECURITY DEFINER` functions answer to one organisation does not change when another one gets rows. Code that the
 * app role sets off without calling it, and that runs with the rights of its owner, cannot be asked: it has to be declared.
 */
import type { Catalog, CatalogFunction, Relation } from '../catalog/catalog.ts';
import type { OrgId } from '../org-id.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import type { StepResult } from './probe-session.ts';
import type { AttackResult } from './report.ts';
import { grantedTo, isInvoker, isView, rolesOf } from './rights.ts';
import { quoted } from './sample-values.ts';
import { column, quotedName } from './statements.ts';
import { describeFailure } from './verdict.ts';

/** What is read twice: its digest as one organisation, before and after another one gets rows. */
export interface Reading {
  readonly relation: string;
  readonly attack: 'view' | 'function';
  readonly statement: string;
  /** Reason of the declaration, when a difference is declared as safe. */
  readonly accepted?: string;
  /** True when it is not read with the rights of its reader. */
  readonly asOwner: boolean;
}

const digest = (from: string) =>
  `select count(*) || ' ' || coalesce(md5(string_agg(md5(r::text), '' order by r::text)), '') from ${from} r`;

/** Views, and the functions that run with their owner's rights and that the app role may execute. */
export function readings(catalog: Catalog, schema: TenancySchema, foreign: OrgId): Reading[] {
  const grantees = rolesOf(catalog, schema);
  const views = catalog.relations
    .filter((relation) => isView(relation, schema))
    .map(
      (relation): Reading => ({
        relation: relation.name,
        attack: 'view',
        statement: digest(readable(relation, grantees)),
        asOwner: !isInvoker(relation),
      }),
    );
  const functions = catalog.functions
    .filter((fn) => fn.securityDefiner && !isTrigger(fn) && fn.schema !== 'tenancy')
    .filter(({ grants }) =>
      grants.some(({ grantee, privilege }) => grantees.has(grantee) && privilege === 'execute'),
    )
    .map((fn): Reading => {
      const accepted = schema.definerFunctions.get(fn.name)?.reason;
      const reading = {
        relation: fn.name,
        attack: 'function' as const,
        statement: digest(call(fn, foreign)),
        asOwner: true,
      };
      return accepted === undefined ? reading : { ...reading, accepted };
    });
  return [...views, ...functions];
}

/** The columns of a view that the app role may read; the view as it is when it may read all of them, or none. */
function readable(relation: Relation, grantees: ReadonlySet<string>): string {
  const granted = grantedTo(relation, 'select', grantees);
  const all = granted.size === 0 || granted.size === relation.columns.length;
  const name = quotedName(relation.name);
  return all ? name : `(select ${[...granted].map(column).join(', ')} from ${name})`;
}

function isTrigger({ returns }: CatalogFunction): boolean {
  return returns === 'trigger' || returns === 'event_trigger';
}

/** Calls a function about the other organisation: its id wherever a uuid or text fits, null elsewhere. */
function call({ name, schema }: CatalogFunction, foreign: OrgId): string {
  const open = name.indexOf('(');
  const types = name
    .slice(open + 1, -1)
    .split(', ')
    .filter((type) => type !== '');
  const values = types.map((type) =>
    /^(?:uuid|text|character varying)$/.test(type) ? `${quoted(foreign)}::${type}` : `null::${type}`,
  );
  return `${quotedName(name.slice(0, open), schema)}(${values.join(', ')})`;
}

/** Compares two readings before the other organisation had rows with one after. */
export function compareReading(
  reading: Reading,
  [first, again, after]: readonly [StepResult, StepResult, StepResult],
  [foreign, empty]: readonly [StepResult, StepResult],
): AttackResult {
  const { relation, attack, accepted } = reading;
  const result = (outcome: AttackResult['outcome'], evidence: string): AttackResult => ({
    relation,
    attack,
    outcome,
    evidence,
  });
  // A refusal from within a function of the owner may be due to the arguments.
  if ([first, again, after].every(({ state, place }) => state === '42501' && place === ''))
    return result('contained', describeFailure(after));
  if (accepted !== undefined && attack === 'function') return result('accepted', accepted);
  if (first.state !== '00000' || again.state !== '00000' || after.state !== '00000')
    return result('inconclusive', `failed with ${describeFailure(after)}`);
  if (first.answer !== again.answer)
    return result('inconclusive', 'answers differently each time, so that a difference proves nothing');
  if (first.answer !== after.answer)
    return result('crossed', 'answers differently once another organisation has rows');
  if (attack === 'view' && reading.asOwner && foreign.answer === empty.answer)
    return result(
      'inconclusive',
      "runs with its owner's rights, and shows no row of the probe to any organisation: set security_invoker",
    );
  return attack === 'view'
    ? result('contained', 'answers the same once another organisation has rows')
    : result(
        'inconclusive',
        "runs with its owner's rights and is not declared; answers the same once another organisation has rows",
      );
}

/** Triggers and rules on the attacked tables that run with the rights of an owner and are not declared. */
export function setOff(
  { triggers, rules, functions }: Catalog,
  schema: TenancySchema,
  attacked: ReadonlySet<string>,
): AttackResult[] {
  const definers = new Set(
    functions
      .filter(
        ({ securityDefiner, schema: of, name }) =>
          securityDefiner && of !== 'tenancy' && !schema.definerFunctions.has(name),
      )
      .map(({ name }) => name),
  );
  const result = (relation: string, object: string, what: string): AttackResult => ({
    relation,
    attack: 'function',
    object,
    outcome: 'inconclusive',
    evidence: `${what} with its owner's rights and is not declared`,
  });
  return [
    ...triggers
      .filter(
        ({ relation, enabled, function: called }) =>
          attacked.has(relation) && enabled && definers.has(called),
      )
      .map(({ relation, name, function: called }) => result(relation, name, `a trigger runs ${called}`)),
    ...rules
      .filter(({ relation }) => attacked.has(relation))
      .map(({ relation, name }) => result(relation, name, 'a rule runs')),
  ];
}
