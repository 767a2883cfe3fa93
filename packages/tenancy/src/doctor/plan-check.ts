/**
 * Plans of the app role, seen through a handle: does a point read and a list of each org-owned table enter an index by
 * org_id, and is anything asked for each row?
 *
 * `enable_seqscan = off` is local to the transaction. It adds a cost to sequential scans and forbids none, so the answer
 * is about what the indexes can do and not about how full a table is: a plan that does not enter by org_id even then has
 * no index to do so, at any size. Keys are compared with the value of a subquery, which is not known when the plan is
 * made, so the plan is the generic one that a prepared statement keeps. Nothing is executed.
 */
import { type CompiledQuery, sql } from 'kysely';
import type { TenancySchema } from '../policies/declaration.ts';
import type { OrgDb } from '../tenancy.ts';
import { quoted } from './rule.ts';

/** A handle of any organisation, whatever its tables. */
export type PlanningHandle = Pick<OrgDb<unknown>, 'batch' | 'getExecutor'>;

/** What one plan showed. */
export interface TablePlan {
  /** Table, `schema.name`. */
  readonly table: string;
  /** What was planned. */
  readonly statement: 'point read' | 'list';
  /** True when every scan of the table has org_id in an index condition. */
  readonly indexed: boolean;
  /** What is evaluated for each row, when it is a function of this package, a setting or a subplan. */
  readonly perRow: string | undefined;
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Parent Relationship'?: string;
  readonly 'Relation Name'?: string;
  readonly 'Index Cond'?: string;
  readonly Filter?: string;
  readonly Plans?: readonly PlanNode[];
}

/** Plans in one flight, so that 500 tables do not make one message of megabytes. */
const FLIGHT = 100;
const PER_ROW = /SubPlan \d+|\bcurrent_setting\(|\btenancy\.\w+\(/;

/**
 * Plans a point read and a list of every org-owned table the app role may select from.
 *
 * @throws RingfenceTenancyError with the codes of a statement of the handle.
 */
export async function checkPlans(app: PlanningHandle, schema: TenancySchema): Promise<readonly TablePlan[]> {
  const asked = [...schema.org]
    .filter(([, { privileges }]) => privileges.includes('select'))
    .flatMap(([table, { key }]) => {
      const list = { table, statement: 'list', query: `select * from ${quoted(table)}` } as const;
      if (key.length === 0) return [list];
      const columns = key.map((column) => `"${column}"`);
      const values = columns.map((column) => `other.${column}`).join(', ');
      const query = `select * from ${quoted(table)} where (${columns.join(', ')}) = (select ${values} from ${quoted(table)} other limit 1)`;
      return [list, { table, statement: 'point read', query } as const];
    });
  const plans: TablePlan[] = [];
  for (let from = 0; from < asked.length; from += FLIGHT) {
    const flight = asked.slice(from, from + FLIGHT);
    const [, ...results] = await app.batch([
      compilable(app, `select set_config('enable_seqscan', 'off', true)`),
      ...flight.map(({ query }) => compilable(app, `explain (format json) ${query}`)),
    ]);
    for (const [i, { table, statement }] of flight.entries()) {
      const row = results[i]?.rows[0] as { 'QUERY PLAN': readonly [{ readonly Plan: PlanNode }] };
      plans.push({ table, statement, ...seen(row['QUERY PLAN'][0].Plan) });
    }
  }
  return plans;
}

function compilable(app: PlanningHandle, text: string): { compile(): CompiledQuery } {
  return { compile: () => sql.raw(text).compile(app) };
}

/** The scans of a plan, its subqueries left out; a bitmap scan is judged by the index scan below it. */
function* scans(node: PlanNode): Generator<PlanNode> {
  if (node['Parent Relationship'] === 'InitPlan' || node['Parent Relationship'] === 'SubPlan') return;
  const below = node.Plans ?? [];
  if (node['Node Type'] === 'Bitmap Index Scan') yield node;
  if (node['Relation Name'] !== undefined && node['Node Type'] !== 'Bitmap Heap Scan') yield node;
  for (const child of below) yield* scans(child);
}

function seen(plan: PlanNode): Pick<TablePlan, 'indexed' | 'perRow'> {
  const found = [...scans(plan)];
  const filters = found.map(({ Filter }) => Filter ?? '').join(' ');
  return {
    indexed: found.length > 0 && found.every((scan) => /\borg_id\b/.test(scan['Index Cond'] ?? '')),
    perRow: PER_ROW.exec(filters)?.[0],
  };
}
