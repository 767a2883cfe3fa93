/** Two statements of one process append at once, and never events of one organisation. */
import { type CompiledQuery, type QueryResult, sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type ContextExecutor, createAudit, type OrgId, parseOrgId } from '../src/index.ts';
import { events, type Fixture, fixture } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});

afterAll(() => f.close());

const orgOf = (n: number): OrgId => parseOrgId(`0190f5d2-7b1c-7d34-9a56-${String(n).padStart(12, '0')}`);
const handleOf = (n: number): ContextExecutor => ({ ...f.handle(orgOf(n)), org: orgOf(n) });
const posted = (n: number) => ({ target: `e${n}`, outcome: 'success', data: { amount: String(n) } }) as const;

/** An audit log whose batches wait until they are let go, one by one in any order. */
function gated() {
  const batches: { readonly orgs: readonly string[]; readonly targets: readonly string[]; go(): void }[] = [];
  let most = 0;
  let running = 0;
  const db = {
    isTransaction: false,
    executeQuery: async <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> => {
      if (!query.sql.includes('append_batch')) return await f.app.executeQuery(query);
      const [, bodies, contextOf, names, values] = query.parameters as [
        unknown,
        string[],
        number[],
        string[],
        string[],
      ];
      const orgs = contextOf.map(
        (context) => values[(context - 1) * names.length + names.indexOf('ringfence.org_id')] ?? '',
      );
      const targets = bodies.map((body) => (JSON.parse(body) as { target: { id: string } }).target.id);
      most = Math.max(most, ++running);
      await new Promise<void>((go) => batches.push({ orgs, targets, go }));
      return await f.app.executeQuery(query).finally(() => running--);
    },
  };
  return { audit: createAudit({ events, db }), batches, most: () => most };
}

/** Lets what is due in this turn happen. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Targets of an organisation's events in the order of its chain. */
async function chainOf(n: number): Promise<readonly string[]> {
  await f.audit.sealPending();
  const { rows } = await sql<{ target: string }>`
    select e.target from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
     where s.org_id = ${orgOf(n)} order by s.seq`.execute(f.superuser);
  return rows.map(({ target }) => target);
}

test('an event of another organisation does not wait for the statement under way', async () => {
  const { audit, batches } = gated();
  const first = audit.record(handleOf(1), 'entry.posted', posted(1));
  await turn();
  const [same, other] = [
    audit.record(handleOf(1), 'entry.posted', posted(2)),
    audit.record(handleOf(2), 'entry.posted', posted(3)),
  ];
  await turn();
  expect(batches.map(({ targets }) => targets)).toEqual([['e1'], ['e3']]);
  batches[1]?.go();
  await other;
  await turn();
  expect(batches).toHaveLength(2);
  batches[0]?.go();
  await first;
  await turn();
  expect(batches[2]?.targets).toEqual(['e2']);
  batches[2]?.go();
  await same;
  expect(await chainOf(1)).toEqual(['entry:e1', 'entry:e2']);
});

test('many events of many organisations are halved; each organisation stays whole', async () => {
  const { audit, batches } = gated();
  const all = Promise.all(
    Array.from({ length: 60 }, (_, n) => audit.record(handleOf(10 + (n % 40)), 'entry.posted', posted(n))),
  );
  await turn();
  expect(batches).toHaveLength(2);
  const [one, two] = batches.map(({ orgs }) => new Set(orgs));
  expect([...(one ?? [])].filter((org) => two?.has(org))).toEqual([]);
  for (const { go } of batches) go();
  await all;
  for (let n = 0; n < 20; n++) expect(await chainOf(10 + n)).toEqual([`entry:e${n}`, `entry:e${n + 40}`]);
});

test('never two at once with one organisation, and its events keep their order, however statements end', async () => {
  const { audit, batches, most } = gated();
  const done: Promise<unknown>[] = [];
  for (let n = 0; n < 120; n++) {
    done.push(audit.record(handleOf(60 + ((n * 7) % 5)), 'entry.posted', posted(n)));
    if (n % 3 === 0) await turn();
    if (n % 4 === 0) batches.splice(batches.length > 1 ? n % 2 : 0, 1)[0]?.go();
    const [one, two] = batches.map(({ orgs }) => new Set(orgs));
    expect([...(one ?? [])].filter((org) => two?.has(org))).toEqual([]);
  }
  const all = Promise.all(done);
  let over = false;
  void all.then(() => {
    over = true;
  });
  while (!over) {
    batches.shift()?.go();
    await turn();
  }
  await all;
  expect(most()).toBe(2);
  for (let org = 0; org < 5; org++) {
    const numbers = (await chainOf(60 + org)).map((target) => Number(target.slice('entry:e'.length)));
    expect(numbers).toHaveLength(24);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  }
});

test('an executor that does not tell its organisation shares no time with another statement', async () => {
  const { audit, batches, most } = gated();
  const { org: _, ...silent } = handleOf(80);
  const records = [
    audit.record(handleOf(81), 'entry.posted', posted(1)),
    turn().then(() => audit.record(silent, 'entry.posted', posted(2))),
    turn().then(() => audit.record(handleOf(82), 'entry.posted', posted(3))),
  ];
  await turn();
  await turn();
  expect(batches.map(({ targets }) => targets)).toEqual([['e1']]);
  batches[0]?.go();
  await records[0];
  await turn();
  expect(batches[1]?.targets).toEqual(['e2', 'e3']);
  records.push(audit.record(handleOf(83), 'entry.posted', posted(4)));
  await turn();
  expect(batches).toHaveLength(2);
  batches[1]?.go();
  await Promise.all([records[1], records[2]]);
  await turn();
  batches[2]?.go();
  await Promise.all(records);
  expect(most()).toBe(1);
});
