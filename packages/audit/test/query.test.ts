/** Pages of the log: order, filters, cursors, and what must not get through them. */
// #region imports
import { listEvents } from '@ringfence/audit/query';
// #endregion

import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import fc from '../../../tools/fuzz.ts';
import { type OrgId, parseOrgId } from '../src/index.ts';
import type { AuditEntry, AuditPage, PageRequest } from '../src/query/index.ts';
import { errorOf, type Fixture, fixture, ORG_A, ORG_B } from './fixture.ts';
import { generatedEvents } from './query-rows.ts';

let f: Fixture;
const BIG = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000b1600');
const ROWS = 5_000;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 6);
  await sql.raw(generatedEvents(BIG, ROWS)).execute(f.superuser);
  for (let n = 0; n < 7; n++) {
    for (const org of [ORG_A, ORG_B]) {
      const receipt = f.audit.prepare('entry.posted', {
        target: `e${n % 2}`,
        outcome: 'success',
        reason: `number ${n}`,
        data: { amount: `${n}.00` },
        after: { status: 'posted' },
      });
      await f.append(org, receipt, { actor: n % 3 === 0 ? 'user:alice' : 'user:bob' });
    }
  }
});

afterAll(() => f.close());

const list = (org: OrgId, request?: PageRequest): Promise<AuditPage> =>
  f.inOrg(org, (trx) => listEvents(trx, org, request));
const idsOf = (events: readonly AuditEntry[]) => events.map(({ id }) => id);

/** All pages from the newest to the end; fails when they do not end. */
async function walk(org: OrgId, request: PageRequest): Promise<AuditPage[]> {
  const pages = [await list(org, request)];
  for (;;) {
    const cursor = pages.at(-1)?.older ?? null;
    if (cursor === null) return pages;
    if (pages.length > 500) throw new Error('endless');
    pages.push(await list(org, { ...request, cursor }));
  }
}

async function expectedIds(org: OrgId, where: string): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`select id::text as id from audit.event
    where org_id = ${org} and ${sql.raw(where)} order by at desc, id desc`.execute(f.superuser);
  return rows.map(({ id }) => id);
}

test('lists the newest first, decoded, with the place in the chain', async () => {
  const { events, older } = await list(ORG_A, { limit: 3 });
  expect(events.map(({ reason }) => reason)).toEqual(['number 6', 'number 5', 'number 4']);
  expect(events[0]).toMatchObject({
    actor: 'user:alice',
    action: 'entry.posted',
    target: { type: 'entry', id: 'e0' },
    request: 'req-1',
    outcome: 'success',
    data: { amount: '6.00' },
    changes: { status: { to: 'posted' } },
    note: null,
    personal: null,
    seal: { orgSeq: 7, hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
  expect(JSON.parse(events[0]?.record ?? '')).toMatchObject({ org: ORG_A, v: 1 });
  expect(older).not.toBeNull();
});

const alice = `actor = 'user:' || md5('0')`;
const target = `target = 'entry:' || md5('7')`;
const posted = `action = 'entry.posted'`;
const md5 = (of: string) => sql<{ value: string }>`select md5(${of}) as value`.execute(f.superuser);

test.each<[string, readonly ('actor' | 'action' | 'target' | 'time')[]]>([
  ['everything', []],
  ['an actor', ['actor']],
  ['an action', ['action']],
  ['a target', ['target']],
  ['a time range', ['time']],
  ['actor and action', ['actor', 'action']],
  ['actor and target', ['actor', 'target']],
  ['action and target', ['action', 'target']],
  ['actor, action and target', ['actor', 'action', 'target']],
  ['all at once', ['actor', 'action', 'target', 'time']],
])('walks the pages of %s without a gap or a repetition, there and back', async (_, filters) => {
  const hash = async (of: string) => (await md5(of)).rows[0]?.value ?? '';
  const request: PageRequest = {
    limit: 67,
    ...(filters.includes('actor') ? { actor: `user:${await hash('0')}` } : {}),
    ...(filters.includes('action') ? { action: 'entry.posted' } : {}),
    ...(filters.includes('target') ? { target: `entry:${await hash('8')}` } : {}),
    ...(filters.includes('time') ? { from: '2026-01-01T01:00:00Z', to: '2026-01-01T10:00:00.5Z' } : {}),
  };
  const where = [
    'true',
    ...(filters.includes('actor') ? [alice] : []),
    ...(filters.includes('action') ? [posted] : []),
    ...(filters.includes('target') ? [target.replace("'7'", "'8'")] : []),
    ...(filters.includes('time') ? [`at >= '2026-01-01T01:00:00Z' and at < '2026-01-01T10:00:00.5Z'`] : []),
  ].join(' and ');
  const expected = await expectedIds(BIG, where);
  expect(expected.length).toBeGreaterThan(9);
  const pages = await walk(BIG, request);
  expect(pages.flatMap(({ events }) => idsOf(events))).toEqual(expected);
  for (const { events } of pages) expect(events.length).toBeLessThanOrEqual(67);

  const back: AuditEntry[] = [...(pages.at(-1)?.events ?? [])];
  let cursor = pages.at(-1)?.newer ?? null;
  for (let turn = 0; turn < pages.length + 5 && cursor !== null; turn++) {
    const page = await list(BIG, { ...request, cursor });
    back.unshift(...page.events);
    cursor = page.newer;
  }
  expect(idsOf(back)).toEqual(expected);
});

test('a combination that nothing matches ends after a bounded number of short pages', async () => {
  const pages = await walk(BIG, {
    actor: `user:${(await md5('0')).rows[0]?.value}`,
    action: 'entry.action3',
  });
  expect(pages.flatMap(({ events }) => events)).toEqual([]);
  expect(pages.length).toBeLessThanOrEqual(3);
  const [first] = pages;
  const back = await list(BIG, {
    actor: `user:${(await md5('0')).rows[0]?.value}`,
    action: 'entry.action3',
    cursor: first?.newer ?? '',
  });
  expect(back.events).toEqual([]);
});

test('events recorded while somebody pages are neither repeated nor push others out', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000f1');
  const add = (text: string) =>
    f.append(org, f.audit.prepare('note.taken', { outcome: 'success', data: { text } }));
  for (let n = 0; n < 6; n++) await add(`old ${n}`);
  const texts: unknown[] = [];
  let page = await list(org, { limit: 2 });
  const { newer } = page;
  for (;;) {
    texts.push(...page.events.map(({ data }) => (data as { text: string }).text));
    await add('meanwhile');
    if (page.older === null) break;
    page = await list(org, { limit: 2, cursor: page.older });
  }
  expect(texts).toEqual(['old 5', 'old 4', 'old 3', 'old 2', 'old 1', 'old 0']);
  const fresh = await list(org, { limit: 2, cursor: newer ?? '' });
  expect(fresh.events.map(({ data }) => data)).toEqual([{ text: 'meanwhile' }, { text: 'meanwhile' }]);
  const last = await list(org, { limit: 2, cursor: fresh.newer ?? '' });
  expect(last.events).toHaveLength(1);
  const none = await list(org, { limit: 2, cursor: last.newer ?? '' });
  expect(none).toEqual({ events: [], older: null, newer: last.newer });
  await add('later');
  expect((await list(org, { limit: 2, cursor: none.newer ?? '' })).events).toHaveLength(1);
});

test('pages through events of one microsecond by their ids', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000f2');
  await sql
    .raw(generatedEvents(org, 20).replace(`n * interval '10 seconds'`, `n / 20 * interval '1 second'`))
    .execute(f.superuser);
  const pages = await walk(org, { limit: 3 });
  expect(pages.flatMap(({ events }) => idsOf(events))).toEqual(await expectedIds(org, 'true'));
  expect(pages).toHaveLength(7);
});

test('an empty log has an empty page', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000f3');
  expect(await list(org)).toEqual({ events: [], older: null, newer: null });
});

test('lists what is committed but not sealed, and says that it is not', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000f4');
  const receipt = f.audit.prepare('login.succeeded', { outcome: 'denied' });
  await f.inOrg(org, (trx) => trx.executeQuery(receipt.query));
  expect((await list(org)).events).toMatchObject([{ id: receipt.id, seal: null, outcome: 'denied' }]);
  await f.audit.sealPending();
  expect((await list(org)).events).toMatchObject([{ id: receipt.id, seal: { orgSeq: 1 } }]);
});

test('refuses the log of another organisation instead of showing an empty one', async () => {
  const borrowed = f.inOrg(ORG_A, (trx) => listEvents(trx, ORG_B));
  expect(await errorOf(borrowed)).toMatchObject({ code: 'audit.other_org' });
  const empty = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000f5');
  expect(await errorOf(f.inOrg(ORG_A, (trx) => listEvents(trx, empty)))).toMatchObject({
    code: 'audit.other_org',
  });
  expect(await errorOf(listEvents(f.app, ORG_A))).toMatchObject({ code: 'audit.no_context' });
});

test('refuses a cursor of another organisation or of other filters', async () => {
  const cursor = (await list(ORG_B, { limit: 2, action: 'entry.posted' })).older ?? '';
  expect((await list(ORG_B, { limit: 2, action: 'entry.posted', cursor })).events).toHaveLength(2);
  const others: [OrgId, PageRequest][] = [
    [ORG_A, { limit: 2, action: 'entry.posted', cursor }],
    [ORG_B, { limit: 2, cursor }],
    [ORG_B, { limit: 2, action: 'entry.approved', cursor }],
    [ORG_B, { limit: 2, action: 'entry.posted', to: '2030-01-01T00:00:00Z', cursor }],
  ];
  for (const [org, request] of others) {
    expect(await errorOf(list(org, request))).toMatchObject({ code: 'audit.invalid_cursor' });
  }
});

test('refuses a cursor with any one character changed, cut off or added', async () => {
  const cursor = (await list(ORG_A, { limit: 2 })).older ?? '';
  expect(cursor).toHaveLength(56);
  const changed = [...cursor].flatMap((character, at) =>
    [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \u0000é']
      .filter((other) => other !== character)
      .map((other) => cursor.slice(0, at) + other + cursor.slice(at + 1)),
  );
  const wrong: unknown[] = [
    ...changed,
    '',
    cursor.slice(1),
    `${cursor}A`,
    `${cursor}=`,
    7,
    null,
    {},
    [cursor],
  ];
  await f.inOrg(ORG_A, async (trx) => {
    for (const one of wrong) {
      const error = await errorOf(listEvents(trx, ORG_A, { limit: 2, cursor: one as string }));
      if (error.code !== 'audit.invalid_cursor') throw new Error(`accepted ${JSON.stringify(one)}`);
    }
  });
});

test('treats what is put into a filter as a value', async () => {
  const attacks = [
    `' or '1'='1`,
    `x'; drop table audit.event; --`,
    '$1',
    '\\',
    '%',
    '*',
    '\u202e',
    `user:alice' --`,
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.constantFrom(...attacks), fc.string({ unit: 'grapheme', minLength: 1 })),
      fc.constantFrom('actor', 'action', 'target'),
      async (value, name) => {
        fc.pre(!value.includes('\u0000'));
        expect((await list(ORG_A, { [name]: value })).events).toEqual([]);
      },
    ),
    { numRuns: 150 },
  );
  expect((await list(ORG_A, { actor: 'user:alice' })).events).toHaveLength(3);
});

test.each<PageRequest>([
  { limit: 0 },
  { limit: -1 },
  { limit: 201 },
  { limit: 1.5 },
  { limit: Number.NaN },
  { limit: '50; drop table x' as unknown as number },
  { actor: '' },
  { actor: 'a\u0000' },
  { target: 'a\ud800' },
  { action: 'x'.repeat(4_001) },
  { actor: ['user:alice'] as unknown as string },
  { from: '2026-02-30T00:00:00Z' },
  { from: 'infinity' },
  { to: 'now' },
  { to: '2026-01-01' },
  { to: '2026-01-01T00:00:00+02:00' },
  { from: '2026-01-01T24:00:00Z' },
  { from: new Date() as unknown as string },
])('refuses the request %j', async (request) => {
  expect(await errorOf(list(ORG_A, request))).toMatchObject({ code: 'audit.invalid_filter' });
});

test('gives at most as many events as asked for', async () => {
  expect((await list(BIG, { limit: 200 })).events).toHaveLength(200);
  expect((await list(BIG, { limit: 1 })).events).toHaveLength(1);
  expect((await list(BIG)).events).toHaveLength(50);
  expect((await list(BIG, { from: '2027-01-01T00:00:00Z' })).events).toEqual([]);
  expect((await list(BIG, { from: '2026-01-01T02:00:00Z', to: '2026-01-01T01:00:00Z' })).events).toEqual([]);
});

test('stops at a record that is not of the format instead of showing nothing for it', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000000f6');
  for (const canon of ['{}', 'null', 'no json', '{"id":7}']) {
    await sql`insert into audit.event (org_id, id, at, canon, leaf, actor, action)
      values (${org}, gen_random_uuid(), now(), ${canon}, sha256(decode('00', 'hex') || convert_to(${canon}, 'UTF8')), 'u', 'a.b')`.execute(
      f.superuser,
    );
    expect(await errorOf(list(org, { limit: 1 }))).toMatchObject({ code: 'audit.malformed_record' });
  }
});

test('events of one time are paged in the order of their ids, none twice and none left out', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-0000000b1601');
  const receipts = Array.from({ length: 90 }, (_, n) =>
    f.audit.prepare('entry.posted', { target: `e${n % 3}`, outcome: 'success', data: { amount: '1.00' } }),
  );
  await f.inOrg(org, async (trx) => {
    for (const { query } of receipts) await trx.executeQuery(query);
  });
  await sql.raw('alter table audit.event disable trigger user').execute(f.superuser);
  await sql`update audit.event set at = (select min(at) from audit.event where org_id = ${org}) where org_id = ${org}`.execute(
    f.superuser,
  );
  for (const guard of ['refuse_row_change', 'refuse_change'])
    await sql.raw(`alter table audit.event enable always trigger ${guard}`).execute(f.superuser);
  for (const [request, where] of [
    [{}, 'true'],
    [{ actor: 'user:alice' }, 'true'],
    [{ target: 'entry:e1' }, `target = 'entry:e1'`],
  ] as const) {
    const pages = await walk(org, { ...request, limit: 7 });
    expect(pages.flatMap(({ events }) => idsOf(events))).toEqual(await expectedIds(org, where));
    // And back again, from the last page.
    const back: string[] = [];
    for (let cursor = pages.at(-1)?.newer ?? null, turns = 0; cursor !== null && turns < 30; turns++) {
      const page = await list(org, { ...request, limit: 7, cursor });
      if (page.events.length === 0) break;
      back.unshift(...idsOf(page.events));
      cursor = page.newer;
    }
    const last = pages.at(-1)?.events.length ?? 0;
    expect([...back, ...idsOf(pages.at(-1)?.events ?? [])]).toEqual(await expectedIds(org, where));
    expect(last).toBeGreaterThan(0);
  }
});

test('actors that share a hash are not taken for each other, and hide nothing', async () => {
  const other = await fixture(inject('databaseUrl'), 2);
  try {
    const { rows } = await sql<{
      version: number;
    }>`select current_setting('server_version_num')::int as version`.execute(other.superuser);
    if ((rows[0]?.version ?? 0) < 170_000) return; // cannot give a column another expression
    await sql
      .raw(
        `alter table audit.event alter column actor_hash set expression as (hashtextextended(coalesce(nullif(actor, actor), 'user:alice'), '0'::bigint))`,
      )
      .execute(other.superuser);
    for (let n = 0; n < 20; n++) {
      const receipt = other.audit.prepare('login.succeeded', { outcome: 'success' });
      await other.append(ORG_A, receipt, { actor: n % 4 === 0 ? 'user:alice' : 'user:mallory' });
    }
    for (const filter of [{ actor: 'user:alice' }, { actor: 'user:alice', action: 'login.succeeded' }]) {
      const seen: AuditEntry[] = [];
      let cursor: string | null | undefined;
      for (let turns = 0; cursor !== null && turns < 30; turns++) {
        const request = { ...filter, limit: 2, cursor: cursor ?? undefined };
        const page: AuditPage = await other.inOrg(ORG_A, (trx) => listEvents(trx, ORG_A, request));
        seen.push(...page.events);
        cursor = page.older;
      }
      expect(seen.map(({ actor }) => actor)).toEqual(Array.from({ length: 5 }, () => 'user:alice'));
      expect(new Set(idsOf(seen)).size).toBe(5);
    }
  } finally {
    await other.close();
  }
});

test('the guide docs/audit-query.md does what it says', () =>
  f.inOrg(ORG_A, async (db) => {
    const org = ORG_A;
    // #region pages
    const filters = { actor: 'user:alice', from: '2026-03-01T00:00:00Z', limit: 50 };
    const page = await listEvents(db, org, filters);
    const next = page.older && (await listEvents(db, org, { ...filters, cursor: page.older }));
    // #endregion
    expect(page.events.map(({ reason }) => reason)).toEqual(['number 6', 'number 3', 'number 0']);
    expect(next).toBeNull();
    const guide = new URL('../../../docs/audit-query.md', import.meta.url);
    expect(snippetDrift(guide, [new URL(import.meta.url)])).toEqual([]);
  }));
