import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type ChainReport, type OrgId, parseOrgId } from '../src/index.ts';
import { errorOf, type Fixture, fixture, type Isolation, ORG_A, ORG_B } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});

afterAll(() => f.close());

const posted = (id: string) =>
  f.audit.prepare('entry.posted', { target: id, outcome: 'success', data: { amount: '12.50' } });

function verify(org: OrgId): Promise<ChainReport> {
  return f.inOrg(org, (trx) => f.audit.verify(trx, org));
}

test('seals an event with its business change and numbers the chain from 1', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-000000000001');
  for (const expected of [1, 2, 3]) {
    const sealed = await f.append(org, posted(`e${expected}`));
    expect(sealed.orgSeq).toBe(expected);
    expect(sealed.hash).toMatch(/^[0-9a-f]{64}$/);
  }
  const report = await verify(org);
  expect(report).toMatchObject({ ok: true, checked: 3, findings: [] });
  expect(report.head.seq).toBe(3);
});

test('takes organisation, actor, request id and time from the database', async () => {
  const receipt = posted('e9');
  await f.append(ORG_A, receipt, { actor: 'user:bob "the builder"\n', request: 'r\\42' });
  const { rows } = await sql<{ canon: string; actor: string }>`
    select canon, actor from audit.event where id = ${receipt.id}`.execute(f.superuser);
  const record = JSON.parse(rows[0]?.canon ?? '') as Record<string, unknown>;
  expect(record).toMatchObject({
    actor: 'user:bob "the builder"\n',
    request: 'r\\42',
    org: ORG_A,
    id: receipt.id,
    v: 1,
    event: { type: 'entry.posted', target: { type: 'entry', id: 'e9' }, data: { amount: '12.50' } },
  });
  expect(rows[0]?.actor).toBe('user:bob "the builder"\n');
  expect(Math.abs(Date.parse(String(record['at'])) - Date.now())).toBeLessThan(60_000);
});

test('records what changed, field by field', async () => {
  const receipt = f.audit.prepare('entry.approved', {
    target: 'e1',
    outcome: 'success',
    reason: 'matches invoice 7',
    note: 'checked against the bank statement',
    before: { status: 'draft', amount: '1.00', tags: ['a'], old: true },
    after: { amount: '1.00', status: 'approved', tags: ['a'], approvedBy: null },
  });
  await f.append(ORG_A, receipt);
  const { rows } = await sql<{
    canon: string;
  }>`select canon from audit.event where id = ${receipt.id}`.execute(f.superuser);
  const { event } = JSON.parse(rows[0]?.canon ?? '') as { event: Record<string, unknown> };
  expect(event).toEqual({
    type: 'entry.approved',
    outcome: 'success',
    reason: 'matches invoice 7',
    note: 'checked against the bank statement',
    target: { type: 'entry', id: 'e1' },
    changes: { status: { from: 'draft', to: 'approved' }, old: { from: true }, approvedBy: { to: null } },
  });
});

test('records an event without a business change, and refuses to do so inside a transaction', async () => {
  const session = f.app.connection();
  const sealed = await session.execute(async (db) => {
    await sql`select set_config('ringfence.org_id', ${ORG_B}, false), set_config('ringfence.actor', 'user:eve', false)`.execute(
      db,
    );
    const first = await f.audit.record(db, 'login.succeeded', { outcome: 'success' });
    const second = await f.audit.record(db, 'login.succeeded', {
      outcome: 'denied',
      reason: 'wrong password',
    });
    await sql`select set_config('ringfence.org_id', '', false), set_config('ringfence.actor', '', false)`.execute(
      db,
    );
    return [first.orgSeq, second.orgSeq];
  });
  expect(sealed).toEqual([1, 2]);
  await f.inOrg(ORG_B, async (trx) => {
    await expect(f.audit.record(trx, 'login.succeeded', { outcome: 'success' })).rejects.toThrow(TypeError);
  });
  expect(await verify(ORG_B)).toMatchObject({ ok: true, checked: 2 });
});

test('leaves nothing of an event whose transaction rolls back, and says so', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-000000000002');
  await f.append(org, posted('before'));
  for (const isolation of ['read committed', 'serializable'] as const) {
    const receipt = posted('never');
    const run = f.inOrg(
      org,
      async (trx) => {
        await trx.insertInto('app.entry').values({ id: 'never', status: 'draft' }).execute();
        await trx.executeQuery(receipt.query);
        throw new Error('business rule');
      },
      { isolation },
    );
    await expect(run).rejects.toThrow('business rule');
    expect(await errorOf(f.audit.sealed(receipt))).toMatchObject({
      code: 'audit.not_sealed',
      retryable: false,
    });
  }
  expect((await f.append(org, posted('after'))).orgSeq).toBe(2);
  expect(await verify(org)).toMatchObject({ ok: true, checked: 2 });
  const { rows } = await sql`select from audit.event where org_id = ${org}`.execute(f.superuser);
  expect(rows).toHaveLength(2);
});

test.each<Isolation>(['read committed', 'repeatable read', 'serializable'])(
  'keeps one gap-free chain without retries under 16 writers in %s',
  async (isolation) => {
    const org = parseOrgId(`0190f5d2-7b1c-7d34-9a51-0000000000${isolation.length}`);
    const writers = Array.from({ length: 16 }, async (_, writer) => {
      const places: number[] = [];
      for (let round = 0; round < 12; round++) {
        places.push((await f.append(org, posted(`w${writer}-${round}`), { isolation })).orgSeq);
      }
      return places;
    });
    const places = (await Promise.all(writers)).flat().sort((a, b) => a - b);
    expect(places).toEqual(Array.from({ length: 192 }, (_, index) => index + 1));
    expect(await verify(org)).toMatchObject({ ok: true, checked: 192, head: { seq: 192 } });
  },
);

test('seals through either route when half of the transactions roll back', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-000000000003');
  const outcomes = await Promise.allSettled(
    Array.from({ length: 60 }, (_, index) => {
      const receipt = posted(`r${index}`);
      return f
        .inOrg(org, async (trx) => {
          const result = await trx.executeQuery(receipt.query);
          if (index % 2 === 0) throw new Error('rolled back');
          return result;
        })
        .then((result) => f.audit.sealed(receipt, result));
    }),
  );
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(30);
  expect(await verify(org)).toMatchObject({ ok: true, checked: 30 });
});

test('finds the place of a sealed event without the result of its statement', async () => {
  const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-000000000004');
  await f.append(org, posted('first'));
  const receipt = posted('second');
  const { rows } = await f.inOrg(org, (trx) => trx.executeQuery(receipt.query));
  expect(rows).toHaveLength(1);
  expect((await f.audit.sealed(receipt)).orgSeq).toBe(2);
});

test.each([
  ['an erasure', '{"data":{},"outcome":"success","type":"subject.erased"}'],
  ['a row change', '{"data":{"session_user":"postgres"},"outcome":"success","type":"row.updated"}'],
  ['personal values', '{"outcome":"success","personal":{"fields":{},"subject":"p1"},"type":"entry.posted"}'],
  ['a target without id', '{"outcome":"success","target":{"type":"x"},"type":"entry.posted"}'],
])('the app cannot record %s that its own function did not make', async (_, body) => {
  const one = sql`select audit.append(gen_random_uuid(), ${body}, true)`;
  expect(await errorOf(f.inOrg(ORG_B, (trx) => one.execute(trx)))).toMatchObject({
    constraint: 'audit.not_canonical',
  });
  const batch = sql`select refused from audit.append_batch(array[gen_random_uuid()], array[${body}], '{1}',
    '{ringfence.org_id,ringfence.actor}', array[${ORG_B}, 'user:eve'], true)`;
  expect((await batch.execute(f.app)).rows).toEqual([{ refused: 'audit.not_canonical' }]);
  const inner = sql`select audit.append_unchecked(gen_random_uuid(), ${body}, true)`;
  expect(await errorOf(f.inOrg(ORG_B, (trx) => inner.execute(trx)))).toMatchObject({ code: '42501' });
});

test('refuses an actor or a request too long for a line of an export', async () => {
  for (const options of [{ actor: 'x'.repeat(1_001) }, { request: 'x'.repeat(1_001) }]) {
    const error = await errorOf(f.append(ORG_B, posted('e1'), options));
    expect(error).toMatchObject({ constraint: 'audit.event_too_large' });
  }
});
