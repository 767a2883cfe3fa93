/** How a process asks for events whose chain somebody holds. Pauses end when the test lets them: time stands still. */
import { type CompiledQuery, type QueryResult, sql, type Transaction } from 'kysely';
import { afterAll, afterEach, beforeAll, expect, inject, test, vi } from 'vitest';
import { createAudit, type OrgId, parseOrgId, type Receipt } from '../src/index.ts';
import { events, type Fixture, fixture, type Tables } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});

afterAll(() => f.close());

afterEach(() => {
  vi.useRealTimers();
});

let orgs = 0;
const newOrg = () => parseOrgId(`0190f5d2-7b1c-7d34-9a54-${String(++orgs).padStart(12, '0')}`);
const login = () => f.audit.prepare('login.succeeded', { outcome: 'success' });

/** A process that notes whom it asks for; `before` is called before each call. */
function observed(before: (ids: readonly string[]) => Promise<void> = async () => {}) {
  const asked: string[][] = [];
  const answers: Promise<unknown>[] = [];
  const db = {
    isTransaction: false,
    executeQuery: <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> => {
      const ids = query.parameters[0] as string[];
      asked.push(ids);
      const answer = before(ids).then(() => f.app.executeQuery(query));
      answers.push(answer);
      return answer;
    },
  };
  /** Until the process has taken in every answer. */
  const settled = async () => {
    for (let seen = -1; seen < asked.length; ) {
      seen = asked.length;
      await Promise.all(answers);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { audit: createAudit({ events, db }), asked, settled };
}

type Process = ReturnType<typeof observed>;

/** Commits an event that is queued, and waits for its place in this process. */
async function queued({ audit }: Process, org: OrgId, receipt: Receipt): Promise<{ place: Promise<number> }> {
  const result = await f.inOrg(org, (trx) => trx.executeQuery(receipt.query), { isolation: 'serializable' });
  return { place: audit.sealed(receipt, result).then(({ orgSeq }) => orgSeq) };
}

/** Runs while a transaction holds the chain of an organisation, which has two events then. */
async function whileHeld<T>(run: (org: OrgId, trx: Transaction<Tables>) => Promise<T>): Promise<T> {
  const org = newOrg();
  await f.append(org, login());
  return await f.inOrg(org, async (trx) => {
    await trx.executeQuery(login().query);
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    return await run(org, trx);
  });
}

test('events of a held chain are asked for together after a pause, and delay none of another', async () => {
  const free = newOrg();
  await f.append(free, login());
  const process = observed();
  const receipts = Array.from({ length: 20 }, login);
  const places = await whileHeld(async (held) => {
    const waiting: Promise<number>[] = [];
    for (const receipt of receipts) {
      waiting.push((await queued(process, held, receipt)).place);
      expect(await (await queued(process, free, login())).place).toBe(waiting.length + 1);
    }
    const ids = receipts.map(({ id }) => id);
    expect(process.asked.flat().filter((id) => ids.includes(id))).toEqual([ids[0]]);
    return waiting;
  });
  process.asked.length = 0;
  await vi.advanceTimersByTimeAsync(1);
  expect(await Promise.all(places)).toEqual(receipts.map((_, n) => n + 3));
  expect(process.asked).toEqual([receipts.map(({ id }) => id)]);
});

test('the pause grows while a chain stays held, and there is one however its events come', async () => {
  const [first, second] = [login(), login()];
  let late: Promise<{ place: Promise<number> }> | undefined;
  const places = await whileHeld(async (held) => {
    // The second comes while the first is asked for: nobody knows yet that the chain is held.
    const process: Process = observed(async (ids) => {
      if (!ids.includes(first.id)) return;
      late ??= queued(process, held, second);
      await late;
    });
    const { place } = await queued(process, held, first);
    place.catch(() => {}); // awaited below
    await process.settled();
    expect(process.asked).toEqual([[first.id], [second.id]]);
    const askedWithin = async (ms: number) => {
      const before = process.asked.length;
      await vi.advanceTimersByTimeAsync(ms);
      await process.settled();
      return process.asked.slice(before);
    };
    const both = [[first.id, second.id]];
    for (const pause of [1, 2, 4, 8, 16, 20, 20]) {
      expect(await askedWithin(pause - 1), `before ${pause} ms`).toEqual([]);
      expect(await askedWithin(1), `after ${pause} ms`).toEqual(both);
    }
    return [place, (await late)?.place];
  });
  await vi.advanceTimersByTimeAsync(20);
  expect(await Promise.all(places)).toEqual([3, 4]);
});

test('who joins while a held chain is asked for is asked for at once when it was free', async () => {
  const [first, second] = [login(), login()];
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let joined: { place: Promise<number> } | undefined;
  let org: OrgId | undefined;
  let calls = 0;
  const process: Process = observed(async () => {
    if (++calls === 2 && org !== undefined) {
      await released;
      joined = await queued(process, org, second);
    }
  });
  const { place } = await whileHeld(async (held) => {
    org = held;
    const waiting = await queued(process, held, first);
    await process.settled();
    return waiting;
  });
  await vi.advanceTimersByTimeAsync(1);
  release();
  expect(await place).toBe(3);
  await process.settled();
  expect(process.asked).toEqual([[first.id], [first.id], [second.id]]);
  expect(await joined?.place).toBe(4);
  const { rows } = await sql`select seq from audit.seal where org_id = ${org}`.execute(f.superuser);
  expect(rows).toHaveLength(4);
});

test('a chain that turns out to be free in the middle of a pause ends the pause', async () => {
  const [first, second] = [login(), login()];
  let free = () => {};
  const freed = new Promise<void>((resolve) => {
    free = resolve;
  });
  let org: OrgId | undefined;
  let late: { place: Promise<number> } | undefined;
  const process: Process = observed(async (ids) => {
    if (ids.includes(second.id)) await freed;
    else if (org !== undefined) late ??= await queued(process, org, second);
  });
  const { place } = await whileHeld(async (held) => {
    org = held;
    const waiting = await queued(process, held, first);
    while (process.asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
    return waiting;
  });
  free();
  await process.settled();
  expect(process.asked).toEqual([[first.id], [second.id], [first.id]]);
  expect(await Promise.all([place, late?.place])).toEqual([3, 4]);
  await vi.advanceTimersByTimeAsync(100);
  await process.settled();
  expect(process.asked).toHaveLength(3);
});
