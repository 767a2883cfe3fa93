/** `audit.append_batch` called as its client never calls it: by whoever has the password of the app. */
import { CompiledQuery, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { type OrgId, parseOrgId } from '../src/index.ts';
import { auditMigrations } from '../src/migrations.ts';
import { errorOf, type Fixture, fixture, kyselyOf, ORG_B, type Tables } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});

afterAll(() => f.close());

const orgOf = (n: number): OrgId => parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(n).padStart(12, '0')}`);

async function verified(org: OrgId): Promise<number> {
  const report = await f.inOrg(org, (trx) => f.audit.verify(trx, org));
  expect(report).toMatchObject({ ok: true, findings: [] });
  return report.checked;
}

test('the batch function refuses what its client never sends', async () => {
  const id = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7aff';
  const body = '{"outcome":"success","type":"x.y"}';
  const names = ['ringfence.org_id', 'ringfence.actor'];
  const values = [orgOf(9), 'user:eve'];
  const good = [[id], [body], [1], names, values];
  const attempts: Readonly<Record<string, readonly unknown[]>> = {
    nothing: [null, null, null, null, null],
    'no events': [[], [], [], names, values],
    'fewer bodies': [[id], [], [1], names, values],
    'more bodies': [[id], [body, body], [1], names, values],
    'no context of it': [[id], [body], [null], names, values],
    'a context that is not there': [[id], [body], [2], names, values],
    'a context before the first': [[id], [body], [0], names, values],
    'one event without context': [[id, id], [body, body], [1, null], names, values],
    'contexts and no settings': [[id], [body], [1], [], values],
    'settings and no contexts': [[id], [body], [1], names, []],
    'a context cut short': [[id], [body], [1], names, [...values, orgOf(9)]],
    'more contexts than events': [[id], [body], [1], names, [...values, ...values]],
    'the path of the function': [[id], [body], [1], ['search_path'], ['app']],
    'a setting of another extension': [[id], [body], [1], ['plpgsql.variable_conflict'], ['error']],
    'more settings than a context has': [
      [id],
      [body],
      [1],
      [...names, ...Array.from({ length: 7 }, (_, n) => `ringfence.more_${'x'.repeat(n)}`)],
      [...values, ...Array(7).fill('x')],
    ],
    'a setting without a name': [[id], [body], [1], [null, 'ringfence.actor'], values],
    'ids that begin elsewhere': [`[0:1]={${id},${orgOf(8)}}`, [body, body], [1, 1], names, values],
    'contexts that begin elsewhere': [[id, orgOf(8)], [body, body], '[0:1]={1,1}', names, values],
    'contexts in rows': [[id, orgOf(8)], [body, body], '{{1},{1}}', names, values],
    'settings that begin elsewhere': [[id], [body], [1], '[0:1]={ringfence.org_id,ringfence.actor}', values],
    'a second setting of another name': [[id], [body], [1], ['ringfence.org_id', 'search_path'], values],
    'a setting whose name is two': [[id], [body], [1], [`${names[0]}\n${names[1]}`], [orgOf(9)]],
    'too many': [Array(501).fill(id), Array(501).fill(body), Array(501).fill(1), names, values],
  };
  const call = (parameters: readonly unknown[]) =>
    f.app.executeQuery(
      CompiledQuery.raw(
        'select * from audit.append_batch($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], true)',
        [...parameters],
      ),
    );
  for (const [attempt, parameters] of Object.entries(attempts)) {
    const error = await errorOf(call(parameters));
    expect([attempt, error.constraint]).toEqual([attempt, 'audit.not_canonical']);
  }
  expect((await call(good)).rows).toMatchObject([{ refused: null }]);
  await f.audit.sealPending();
  expect(await verified(orgOf(9))).toBe(1);
});

test('a body or an id that the format refuses is taken out, and the others get through', async () => {
  const org = orgOf(10);
  const body = '{"outcome":"success","type":"x.y"}';
  const bodies = [body, null, `${body},"org":"${ORG_B}"`, '{"type":"a","type":"b"}', '{"type": "a"}', body];
  const ids = bodies.map((_, n) => `0190f5d2-7b1c-7d34-9a51-3f2e8c1b70${String(n).padStart(2, '0')}`);
  const parameters = [
    [...ids, null],
    [...bodies, body],
    Array(7).fill(1),
    ['ringfence.org_id', 'ringfence.actor'],
    [org, 'user:eve'],
  ];
  const { rows } = await f.app.executeQuery(
    CompiledQuery.raw(
      'select place, refused from audit.append_batch($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], true) order by place',
      parameters,
    ),
  );
  const rule = 'audit.not_canonical';
  expect(rows.map((row) => (row as { refused: unknown }).refused)).toEqual([
    null,
    rule,
    rule,
    rule,
    rule,
    null,
    rule,
  ]);
  await f.audit.sealPending();
  expect(await verified(org)).toBe(2);
});

test('a context that fails without naming a rule is refused too, and never taken for the one before it', async () => {
  const database = await createTestDatabase(inject('databaseUrl'), 'batch');
  const [owner, app] = [kyselyOf<Tables>(database.ownerUrl, 1), kyselyOf<Tables>(database.appUrl, 2)];
  try {
    // A context as an application may write it: a cast fails with a class 22 error that names no rule.
    await sql
      .raw(`create schema who; grant usage on schema who to ${database.app};
        create function who.context(out org_id uuid, out actor text, out request_id text) language plpgsql stable as $$
        begin
          org_id := current_setting('ringfence.org_id', true)::uuid;
          actor := current_setting('ringfence.actor', true);
        end $$`)
      .execute(owner);
    for (const { up } of auditMigrations({ appRole: database.app, context: 'who.context()' }))
      await sql.raw(up).execute(owner);
    const org = orgOf(16);
    const body = '{"outcome":"success","type":"x.y"}';
    const ids = [1, 2, 3].map((n) => `0190f5d2-7b1c-7d34-9a51-3f2e8c1b71${n}0`);
    const values = [org, 'user:alice', 'no organisation', 'user:mallory', org, 'user:bob'];
    const { rows } = await app.executeQuery(
      CompiledQuery.raw(
        'select org, refused from audit.append_batch($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], true) order by place',
        [ids, ids.map(() => body), [1, 2, 3], ['ringfence.org_id', 'ringfence.actor'], values],
      ),
    );
    expect(rows).toEqual([
      { org, refused: null },
      { org: null, refused: 'audit.no_context' },
      { org, refused: null },
    ]);
  } finally {
    await Promise.all([owner.destroy(), app.destroy()]);
    await database.drop();
  }
});

test('a login without rights on the batch function cannot call it', async () => {
  const client = new pg.Client({ connectionString: f.database.keysUrl });
  await client.connect();
  const call = client.query(
    "select audit.append_batch(array[gen_random_uuid()], array['{}'], '{1}', '{ringfence.actor}', '{x}', true)",
  );
  expect(await errorOf(call)).toMatchObject({ code: '42501' });
  await client.end();
});
