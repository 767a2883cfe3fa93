/**
 * The attacks on everything that is not an org-owned table: global tables are not written, system and undeclared relations
 * are not reached, sequences are not read, and what views and `SECURITY DEFINER` functions answer to one organisation does
 * not change when another one gets rows.
 */
import type { Catalog, CatalogFunction, Relation } from '../catalog/catalog.ts';
import type { OrgId } from '../org-id.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import { CONTEXT, type StepResult } from './probe-session.ts';
import type { AttackResult } from './report.ts';
import { quoted } from './sample-values.ts';
import { column, quotedName } from './table-attacks.ts';
import { type Attack, describeFailure, noRight } from './verdict.ts';

const PRIVILEGES = ['select', 'insert', 'update', 'delete', 'truncate'] as const;

/** Attacks on rights: global tables, system and undeclared relations, sequences. `attacked` are the org-owned ones. */
export function rightAttacks(
  catalog: Catalog,
  schema: TenancySchema,
  attacked: ReadonlySet<string>,
): Attack[] {
  const holders = rolesOf(catalog, schema);
  return catalog.relations.flatMap((relation): Attack[] => {
    const { name, kind } = relation;
    if (kind === 'sequence')
      return [attack(relation, 'sequence', 'select', `select last_value from ${quotedName(name)}`)];
    if (attacked.has(name) || isView(relation, schema)) return [];
    const isGlobal = schema.global.has(name);
    const allowed: readonly string[] = isGlobal ? ['select'] : (schema.system.get(name)?.privileges ?? []);
    // A table without columns, as one that serves as a lock, cannot be updated by anybody.
    const possible = PRIVILEGES.filter((one) => one !== 'update' || relation.columns.length > 0);
    return possible
      .filter((privilege) => !allowed.includes(privilege))
      .map((privilege) =>
        attack(relation, isGlobal ? 'write' : 'reach', privilege, use(relation, privilege, holders)),
      );
  });
}

function attack(
  { name }: Relation,
  kind: 'sequence' | 'write' | 'reach',
  privilege: string,
  statement: string,
): Attack {
  const judge = noRight(privilege);
  return {
    relation: name,
    attack: kind,
    object: privilege,
    lists: [[[CONTEXT.own, statement]]],
    judge: ([result]) => judge(result as never),
  };
}

/** The app role, and every role whose rights it has. */
function rolesOf({ roles }: Catalog, { appRole }: TenancySchema): ReadonlySet<string> {
  return new Set(['public', appRole, ...(roles.find(({ name }) => name === appRole)?.memberOf ?? [])]);
}

/** A statement that needs the privilege and touches no row. */
function use(
  { name, columns }: Relation,
  privilege: (typeof PRIVILEGES)[number],
  holders: ReadonlySet<string>,
): string {
  const relation = quotedName(name);
  const granted = columns.find(({ grants }) =>
    grants.some((grant) => grant.privilege === privilege && holders.has(grant.grantee)),
  );
  const first = granted ?? columns[0];
  const named = column(first?.name ?? '');
  switch (privilege) {
    case 'select':
      return `select from ${relation} where false`;
    case 'insert':
      return `insert into ${relation} select where false`;
    case 'update':
      return `update ${relation} set ${named} = default where false`;
    case 'delete':
      return `delete from ${relation} where false`;
    case 'truncate':
      return `truncate ${relation}`;
  }
}

/** A materialized view is no view here: nobody's rights bind its rows, so the app role must not reach it. */
function isView({ name, kind }: Relation, schema: TenancySchema): boolean {
  return kind === 'view' && schema.views.has(name);
}

/** What is read twice: its digest as one organisation, before and after another one gets rows. */
export interface Reading {
  readonly relation: string;
  readonly attack: 'view' | 'function';
  readonly statement: string;
  /** Reason of the declaration, when a difference is declared as safe. */
  readonly accepted?: string;
}

const digest = (from: string) =>
  `select count(*) || ' ' || coalesce(md5(string_agg(md5(r::text), '' order by r::text)), '') from ${from} r`;

/** Views, and the functions that run with their owner's rights and that the app role may execute. */
export function readings(catalog: Catalog, schema: TenancySchema, foreign: OrgId): Reading[] {
  const views = catalog.relations
    .filter((relation) => isView(relation, schema))
    .map(({ name }): Reading => ({ relation: name, attack: 'view', statement: digest(quotedName(name)) }));
  const grantees = rolesOf(catalog, schema);
  const functions = catalog.functions
    .filter(
      (fn) =>
        fn.securityDefiner &&
        !isTrigger(fn) &&
        !schema.systemSchemas.has(fn.schema) &&
        fn.schema !== 'tenancy',
    )
    .filter(({ grants }) =>
      grants.some(({ grantee, privilege }) => grantees.has(grantee) && privilege === 'execute'),
    )
    .map((fn): Reading => {
      const accepted = schema.definerFunctions.get(fn.name)?.reason;
      const reading = {
        relation: fn.name,
        attack: 'function' as const,
        statement: digest(call(fn, foreign)),
      };
      return accepted === undefined ? reading : { ...reading, accepted };
    });
  return [...views, ...functions];
}

function isTrigger({ returns }: CatalogFunction): boolean {
  return returns === 'trigger' || returns === 'event_trigger';
}

/** Calls a function about the other organisation: its id wherever a uuid or text fits, null elsewhere. */
function call({ name }: CatalogFunction, foreign: OrgId): string {
  const open = name.indexOf('(');
  const types = name
    .slice(open + 1, -1)
    .split(', ')
    .filter((type) => type !== '');
  const values = types.map((type) =>
    /^(?:uuid|text|character varying)$/.test(type) ? `${quoted(foreign)}::${type}` : `null::${type}`,
  );
  return `${quotedName(name.slice(0, open))}(${values.join(', ')})`;
}

/** Compares two readings before the other organisation had rows with one after. */
export function compareReading(
  reading: Reading,
  [first, again, after]: readonly [StepResult, StepResult, StepResult],
): AttackResult {
  const { relation, attack, accepted } = reading;
  const result = (outcome: AttackResult['outcome'], evidence: string): AttackResult => ({
    relation,
    attack,
    outcome,
    evidence,
  });
  if ([first, again, after].every(({ state }) => state === '42501'))
    return result('contained', describeFailure(after));
  if (accepted !== undefined && attack === 'function') return result('accepted', accepted);
  if (first.state !== '00000' || again.state !== '00000' || after.state !== '00000')
    return result('inconclusive', `failed with ${describeFailure(after)}`);
  if (first.answer !== again.answer)
    return result('inconclusive', 'answers differently each time, so that a difference proves nothing');
  if (first.answer !== after.answer)
    return result('crossed', 'answers differently once another organisation has rows');
  return attack === 'view'
    ? result('contained', 'answers the same once another organisation has rows')
    : result(
        'inconclusive',
        "runs with its owner's rights and is not declared; answers the same once another organisation has rows",
      );
}
