/** What a page costs: a range of an index that begins with the organisation, whatever it is narrowed to. */
import { type CompiledQuery, sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { parseOrgId } from '../src/index.ts';
import { listEvents, type PageRequest } from '../src/query/index.ts';
import { SCAN_ROWS } from '../src/query/page-statement.ts';
import { type Fixture, fixture } from './fixture.ts';
import { generatedEvents } from './query-rows.ts';

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Heap Fetches'?: number;
  readonly 'Presorted Key'?: readonly string[];
  readonly 'Rows Removed by Filter'?: number;
  readonly Plans?: readonly PlanNode[];
}

let f: Fixture;
const ORGS = Array.from({ length: 5 }, (_, n) => parseOrgId(`0190f5d2-7b1c-7d34-9a51-00000000a${n}00`));
const ORG = ORGS[2] ?? parseOrgId('');

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 2);
  for (const org of ORGS) await sql.raw(generatedEvents(org, 20_000)).execute(f.superuser);
  await sql`vacuum (analyze) audit.event, audit.seal`.execute(f.superuser);
}, 120_000);

afterAll(() => f.close());

/** Nodes of the plan with which the app role reads a page. */
async function planOf(request: PageRequest): Promise<PlanNode[]> {
  return await f.inOrg(ORG, async (trx) => {
    const plans: PlanNode[] = [];
    const explaining = {
      isTransaction: true,
      executeQuery: async <R>(query: CompiledQuery<R>) => {
        const explained = { ...query, sql: `explain (analyze, timing off, format json) ${query.sql}` };
        const { rows } = await trx.executeQuery(explained);
        const [root] = (rows[0] as { 'QUERY PLAN': readonly { Plan: PlanNode }[] })['QUERY PLAN'];
        if (root !== undefined) plans.push(root.Plan);
        return { rows: [] };
      },
    };
    await listEvents(explaining, ORG, request);
    return plans.flatMap(nodesOf);
  });
}

function nodesOf(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}

const actor = 'user:cfcd208495d565ef66e7dff9f98764da';
const action = 'entry.posted';
const target = 'entry:c9f0f895fb98ab9159f51fd0297e236d';
const range = { from: '2026-01-01T10:00:00Z', to: '2026-01-02T10:00:00Z' };

const combinations: (readonly [string, PageRequest])[] = [
  ['event_time', {}],
  ['event_actor', { actor }],
  ['event_action', { action }],
  ['event_target', { target }],
  ['event_actor', { actor, action }],
  ['event_target', { actor, target }],
  ['event_target', { action, target }],
  ['event_target', { actor, action, target }],
];

test.each(
  combinations.flatMap(([index, request]) => [
    [index, request] as const,
    [index, { ...request, ...range }] as const,
  ]),
)('reads a range of %s for %j, in both directions, without sorting', async (index, request) => {
  const first = await f.inOrg(ORG, (trx) => listEvents(trx, ORG, { ...request, limit: 5 }));
  expect(first.events.length).toBeGreaterThan(0);
  for (const cursor of [undefined, first.older ?? undefined, first.newer ?? undefined]) {
    const nodes = await planOf({ ...request, limit: 5, cursor });
    const kinds = nodes.map((node) => node['Node Type']);
    // Within one time only, which the index has in order.
    expect(kinds.filter((kind) => /^Sort|Seq Scan|Bitmap|Hash|Materialize/.test(kind))).toEqual([]);
    for (const node of nodes)
      if (node['Node Type'] === 'Incremental Sort')
        expect(node['Presorted Key']?.[0]).toMatch(/\bat( DESC)?$/);
    const reads = nodes.filter((node) => node['Relation Name'] === 'event');
    const scans = reads.filter((node) => node['Index Name'] !== 'event_pkey');
    expect(scans).toHaveLength(1);
    // What another filter leaves out is passed over in the index: the table is asked for what is likely to match.
    const isCombined = Object.keys(request).filter((name) => name !== 'from' && name !== 'to').length > 1;
    expect(scans[0]?.['Node Type']).toBe(isCombined ? 'Index Only Scan' : 'Index Scan');
    expect(scans[0]?.['Heap Fetches'] ?? 0).toBe(0);
    expect(reads).toHaveLength(isCombined ? 2 : 1);
    const [lookedUp] = reads.filter((node) => node !== scans[0]);
    expect(lookedUp?.['Actual Loops'] ?? 0).toBeLessThanOrEqual(5 + 2);
    expect(scans[0]?.['Index Name']).toBe(index);
    expect(scans[0]?.['Index Cond']).toMatch(/^\(+org_id = /);
    if (cursor !== undefined) expect(scans[0]?.['Index Cond']).toMatch(/\(at [<>]= /);
    expect(scans[0]?.['Actual Rows']).toBeLessThanOrEqual(SCAN_ROWS + 1 + 32);
  }
});

test('looks at no more rows for the last page than for the first', async () => {
  const deep = await f.inOrg(ORG, (trx) => listEvents(trx, ORG, { to: '2026-01-01T00:10:00Z', limit: 5 }));
  const nodes = await planOf({ to: '2026-01-01T00:10:00Z', limit: 5, cursor: deep.older ?? undefined });
  const [scan] = nodes.filter((node) => node['Index Name'] === 'event_time');
  expect(scan?.['Actual Rows']).toBeLessThanOrEqual(6 + 32); // events of one time are sorted in groups of 32 at least
  expect(scan?.['Rows Removed by Filter'] ?? 0).toBeLessThanOrEqual(1); // the event of the cursor
});

test('the indexes cost what the guide says', async () => {
  const { rows } = await sql<{ name: string; bytes: number }>`
    select c.relname as name, (pg_relation_size(c.oid)::float8 / ${ORGS.length * 20_000}) as bytes
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'audit' and c.relname like 'event%' and c.relkind in ('r', 'i')`.execute(f.superuser);
  const sizes = new Map(rows.map(({ name, bytes }) => [name, Math.round(bytes)]));
  expect([...sizes.keys()].sort()).toEqual([
    'event',
    'event_action',
    'event_actor',
    'event_pkey',
    'event_target',
    'event_time',
  ]);
  const search = ['event_time', 'event_actor', 'event_action', 'event_target'];
  const added = search.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
  expect(added).toBeLessThan(370); // bytes an event, as docs/audit-query.md says
});
