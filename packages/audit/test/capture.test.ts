/** Row changes become events in the chain of the row's organisation, whoever makes them; what cannot be recorded is refused. */
import { createHash } from 'node:crypto';
import { sql, type Transaction } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { type CaptureOptions, captureTriggers } from '../src/capture/index.ts';
import { auditDoctor } from '../src/doctor/index.ts';
import { canonicalize, fromDatabaseError, type OrgId, parseOrgId } from '../src/index.ts';
import { errorOf, type Fixture, fixture, type Isolation, type Tables } from './fixture.ts';
import { executorOf } from './guards/play.ts';

let f: Fixture;
let org: OrgId;
let other: OrgId;
let count = 0;
const REFUSING: CaptureOptions = {
  table: 'app.bill',
  target: 'bill',
  exclude: ['touched'],
  redact: ['iban'],
};
const RECORDING: CaptureOptions = { table: 'app.note', target: 'note', withoutContext: 'record' };

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  await sql
    .raw(`
      create table app.bill (org_id uuid, id int, amount numeric, iban text, touched timestamptz, doc jsonb,
        "__proto__" text, primary key (org_id, id));
      create table app.note (org_id uuid, id text, body text, at timestamptz, ratio float8, unique (org_id, id) deferrable);
      create table app.line (org_id uuid, id int, bill int, foreign key (org_id, bill) references app.bill (org_id, id) on delete cascade);
      grant select, insert, update, delete, truncate on app.bill, app.note, app.line to ${f.database.app};
      ${captureTriggers(REFUSING).up} ${captureTriggers(RECORDING).up}
      ${captureTriggers({ table: 'app.line', target: 'line' }).up}`)
    .execute(f.owner);
});

afterAll(() => f.close());

beforeEach(() => {
  const next = () => parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(++count).padStart(12, '0')}`);
  [org, other] = [next(), next()];
});

interface Recorded {
  readonly actor: string;
  readonly request: string | null;
  readonly event: Readonly<Record<string, unknown>> & { readonly type: string };
}

/** Events of an organisation in the order of its chain, all sealed and verified. */
async function recorded(log: OrgId = org): Promise<Recorded[]> {
  await f.audit.sealPending();
  const report = await f.inOrg(log, (trx) => f.audit.verify(trx, log));
  expect(report.findings).toEqual([]);
  const { rows } = await sql<{ canon: string }>`
    select e.canon from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
     where s.org_id = ${log} order by s.seq`.execute(f.superuser);
  expect(rows).toHaveLength(report.checked);
  return rows.map(({ canon }) => JSON.parse(canon) as Recorded);
}

const insert = (id: number, values = '') =>
  sql.raw(
    `insert into app.bill (org_id, id${values === '' ? '' : ', amount, iban, doc'}) values ('${org}', ${id}${values})`,
  );

test('records insert, update and delete of the app with before and after, in the context of its transaction', async () => {
  await f.inOrg(org, async (trx) => {
    await insert(1, `, 1.50, 'DE11', '{"b":1,"a":[1.5]}'`).execute(trx);
    await sql`update app.bill set amount = 2, doc = '{"a":[1.5],"b":1}' where id = 1 and org_id = ${org}`.execute(
      trx,
    );
    await sql`delete from app.bill where id = 1 and org_id = ${org}`.execute(trx);
  });
  const data = { session_user: f.database.app, table: 'app.bill' };
  const target = { id: '1', type: 'bill' };
  const found = await recorded();
  expect(found.map(({ actor, request }) => [actor, request])).toEqual(
    Array.from({ length: 3 }, () => ['user:alice', 'req-1']),
  );
  expect(found.map(({ event }) => event)).toEqual([
    {
      changes: {
        ['__proto__']: { to: null },
        amount: { to: '1.50' },
        doc: { to: { a: ['1.5'], b: 1 } },
        id: { to: 1 },
        org_id: { to: org },
      },
      data: { ...data, redacted: ['iban'] },
      outcome: 'success',
      target,
      type: 'row.inserted',
    },
    { changes: { amount: { from: '1.50', to: 2 } }, data, outcome: 'success', target, type: 'row.updated' },
    expect.objectContaining({ type: 'row.deleted', target }),
  ]);
});

test('keeps values of redacted columns out, and of excluded columns everything', async () => {
  await f.inOrg(org, async (trx) => {
    await insert(1, `, 1, 'secret-iban-1', null`).execute(trx);
    await sql`update app.bill set iban = 'secret-iban-2' where org_id = ${org}`.execute(trx);
    await sql`update app.bill set touched = now() where org_id = ${org}`.execute(trx);
    await sql`update app.bill set iban = iban, amount = amount where org_id = ${org}`.execute(trx);
    await sql`delete from app.bill where org_id = ${org}`.execute(trx);
  });
  const found = await recorded();
  expect(found.map(({ event }) => event.type)).toEqual(['row.inserted', 'row.updated', 'row.deleted']);
  expect(found[1]?.event).toMatchObject({ changes: {}, data: { redacted: ['iban'] } });
  expect(JSON.stringify(found)).not.toMatch(/secret-iban|touched/);
});

test('records a column named __proto__ like any other', async () => {
  await f.inOrg(org, async (trx) => {
    await insert(1).execute(trx);
    await sql`update app.bill set "__proto__" = 'polluted' where org_id = ${org}`.execute(trx);
  });
  const changes = (await recorded())[1]?.event['changes'] as object;
  expect(Object.entries(changes)).toEqual([['__proto__', { from: null, to: 'polluted' }]]);
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});

test('refuses a change when a column to redact or exclude was renamed, instead of recording it in clear', async () => {
  await f.inOrg(org, (trx) => insert(90).execute(trx));
  for (const column of ['iban', 'touched']) {
    await sql.raw(`alter table app.bill rename ${column} to renamed`).execute(f.owner);
    const change = f.inOrg(org, (trx) => insert(91).execute(trx));
    expect(await errorOf(change)).toMatchObject({ constraint: 'audit.uncaptured' });
    await sql.raw(`alter table app.bill rename renamed to ${column}`).execute(f.owner);
  }
  expect(await recorded()).toHaveLength(1);
});

test('records the digest of a change that is larger than an event may be', async () => {
  const long = 'x'.repeat(70_000);
  await f.inOrg(org, (trx) =>
    sql`insert into app.note (org_id, id, body) values (${org}, 'n', ${long})`.execute(trx),
  );
  const [found] = await recorded();
  const row = { org_id: org, id: 'n', body: long, at: null, ratio: null };
  const changes = canonicalize(Object.fromEntries(Object.entries(row).map(([name, to]) => [name, { to }])));
  expect(found?.event).toEqual({
    data: {
      changes_bytes: changes.length,
      changes_sha256: createHash('sha256').update(changes).digest('hex'),
      session_user: f.database.app,
      table: 'app.note',
    },
    outcome: 'success',
    target: { id: 'n', type: 'note' },
    type: 'row.inserted',
  });
});

test('takes the text of a value from no setting of the session', async () => {
  const row = (trx: Transaction<Tables>, id: string) =>
    sql`insert into app.note (org_id, id, at, ratio) values (${org}, ${id}, '2026-03-01 12:00:00+00', 0.1)`.execute(
      trx,
    );
  await f.inOrg(org, async (trx) => {
    await row(trx, 'a');
    for (const setting of [
      `timezone = 'Asia/Kathmandu'`,
      `datestyle = 'SQL, DMY'`,
      'extra_float_digits = -10',
      'standard_conforming_strings = off',
    ])
      await sql.raw(`set local ${setting}`).execute(trx);
    await row(trx, 'b');
  });
  for (const { event } of await recorded())
    expect(event['changes']).toMatchObject({ at: { to: '2026-03-01T12:00:00+00:00' }, ratio: { to: '0.1' } });
});

test('refuses a change without a context, also to a superuser and under the replica role', async () => {
  const statement = sql`insert into app.bill (org_id, id) values (${org}, 1)`;
  for (const db of [f.app, f.owner, f.superuser]) {
    const error = await errorOf(statement.execute(db));
    expect(fromDatabaseError(error)).toMatchObject({ code: 'audit.no_context' });
  }
  const asReplica = f.superuser.transaction().execute(async (trx) => {
    await sql`set local session_replication_role = replica`.execute(trx);
    await statement.execute(trx);
  });
  expect(await errorOf(asReplica)).toMatchObject({ constraint: 'audit.no_context' });
  expect(await recorded()).toEqual([]);
});

test('records a change outside the app, where that is chosen, in the chain of the row and under the login', async () => {
  await sql`insert into app.note (org_id, id, body) values (${org}, 'n1', 'a'), (${other}, 'n2', 'b')`.execute(
    f.superuser,
  );
  await sql`update app.note set body = 'edited in psql'`.execute(f.superuser);
  for (const [log, from, id] of [
    [org, 'a', 'n1'],
    [other, 'b', 'n2'],
  ] as const) {
    const found = await recorded(log);
    expect(found.map(({ actor }) => actor)).toEqual(['db:postgres', 'db:postgres']);
    expect(found[1]).toMatchObject({
      request: null,
      event: {
        changes: { body: { from, to: 'edited in psql' } },
        data: { session_user: 'postgres' },
        target: { id },
      },
    });
  }
  await sql`truncate app.note`.execute(f.superuser).catch(() => {});
});

test('names the login, not the role that it took on', async () => {
  await f.superuser.transaction().execute(async (trx) => {
    await sql.raw(`set local role ${f.database.app}`).execute(trx);
    await sql`insert into app.note (org_id, id) values (${org}, 'n')`.execute(trx);
  });
  expect((await recorded())[0]?.actor).toBe('db:postgres');
});

test('keeps a transaction of one organisation from changing rows of another', async () => {
  for (const table of ['bill', 'note']) {
    const run = f.inOrg(org, (trx) =>
      sql.raw(`insert into app.${table} (org_id, id) values ('${other}', 1)`).execute(trx),
    );
    expect(fromDatabaseError(await errorOf(run))).toMatchObject({ code: 'audit.uncaptured' });
  }
  expect(await recorded(other)).toEqual([]);
});

test('refuses a row that changes its organisation, that has none, or that has no id', async () => {
  await sql`insert into app.note (org_id, id) values (${org}, 'n')`.execute(f.superuser);
  for (const statement of [
    `update app.note set org_id = '${other}' where org_id = '${org}'`,
    `update app.note set org_id = null where org_id = '${org}'`,
    `insert into app.note (id) values ('x')`,
    `insert into app.note (org_id, id) values ('${org}', null)`,
    `insert into app.note (org_id, id) values ('${org}', '')`,
  ]) {
    expect(await errorOf(sql.raw(statement).execute(f.superuser)), statement).toMatchObject({
      constraint: 'audit.uncaptured',
    });
  }
  expect(await recorded()).toHaveLength(1);
});

test.each(['app', 'owner', 'superuser'] as const)('refuses TRUNCATE to the %s', async (role) => {
  for (const statement of ['truncate app.bill cascade', 'truncate app.note'])
    expect(await errorOf(sql.raw(statement).execute(f[role]))).toMatchObject({
      constraint: 'audit.uncaptured',
      message: expect.stringContaining('TRUNCATE tells nobody'),
    });
});

test('leaves nothing of a transaction that is rolled back', async () => {
  await errorOf(
    f.inOrg(org, async (trx) => {
      await insert(1).execute(trx);
      throw new Error('no');
    }),
  );
  await f.inOrg(org, async (trx) => {
    await insert(2).execute(trx);
    await sql`savepoint before`.execute(trx);
    await insert(3).execute(trx);
    await sql`rollback to before`.execute(trx);
  });
  expect((await recorded()).map(({ event }) => event['target'])).toEqual([{ id: '2', type: 'bill' }]);
});

test.each<Isolation>(['read committed', 'repeatable read', 'serializable'])(
  'records concurrent transactions in %s without a gap and without waiting for each other',
  async (isolation) => {
    // All hold their changes open at once: a chain held until COMMIT would let none of them arrive at the barrier.
    let arrived = 0;
    let open: () => void = () => {};
    const barrier = new Promise<void>((resolve) => {
      open = resolve;
    });
    await Promise.all(
      Array.from({ length: 8 }, (_, id) =>
        f.inOrg(
          org,
          async (trx) => {
            await insert(id).execute(trx);
            if (++arrived === 8) open();
            await barrier;
          },
          { isolation },
        ),
      ),
    );
    expect(await recorded()).toHaveLength(8);
  },
);

test('records each row of a statement, of ON CONFLICT, of MERGE, and of a cascade', async () => {
  await f.inOrg(org, async (trx) => {
    await sql`insert into app.bill (org_id, id) select ${org}, n from generate_series(1, 100) n`.execute(trx);
    await sql`update app.bill set amount = id where org_id = ${org} and id <= 50`.execute(trx);
    await sql`insert into app.bill (org_id, id) values (${org}, 1) on conflict (org_id, id) do update set amount = 9`.execute(
      trx,
    );
    await sql`insert into app.line (org_id, id, bill) values (${org}, 1, 1), (${org}, 2, 1)`.execute(trx);
    await sql`merge into app.bill b using (values (1), (200)) v(id) on b.id = v.id and b.org_id = ${org}
      when matched then delete when not matched then insert (org_id, id) values (${org}, v.id)`.execute(trx);
  });
  const types = (await recorded()).map(({ event }) => event.type);
  const number = (type: string) => types.filter((one) => one === type).length;
  expect([number('row.inserted'), number('row.updated'), number('row.deleted')]).toEqual([103, 51, 3]);
});

test('records what a deferred trigger changes at COMMIT, and changes under deferred constraints', async () => {
  await sql
    .raw(`
    create function app.late() returns trigger language plpgsql as $$ begin
      update app.bill set amount = 7 where org_id = new.org_id and id = new.id; return null; end $$;
    create constraint trigger late after insert on app.bill deferrable initially deferred for each row
      when (new.amount = 6) execute function app.late()`)
    .execute(f.owner);
  await f.inOrg(org, async (trx) => {
    await insert(1, `, 6, null, null`).execute(trx);
    await sql`set constraints all deferred`.execute(trx);
    await sql`insert into app.note (org_id, id) values (${org}, 'n'), (${org}, 'n')`.execute(trx);
    await sql`update app.note set id = 'm' where ctid = (select max(ctid) from app.note where org_id = ${org})`.execute(
      trx,
    );
  });
  const found = await recorded();
  expect(found.map(({ event }) => event.type)).toEqual([
    'row.inserted',
    'row.inserted',
    'row.inserted',
    'row.updated',
    'row.updated',
  ]);
  expect(found[4]?.event['changes']).toEqual({ amount: { from: 6, to: 7 } });
});

test('stands in one chain with the events of the app, in the order they were made', async () => {
  const receipt = f.audit.prepare('entry.approved', { target: 'e1', outcome: 'success' });
  const result = await f.inOrg(org, async (trx) => {
    await insert(1).execute(trx);
    return await trx.executeQuery(receipt.query);
  });
  expect(await f.audit.sealed(receipt, result)).toMatchObject({ orgSeq: 2 });
  expect((await recorded()).map(({ event }) => event.type)).toEqual(['row.inserted', 'entry.approved']);
});

test('refuses a value that nests too deep instead of leaving it out', async () => {
  const deep = `${'['.repeat(40)}${']'.repeat(40)}`;
  const run = f.inOrg(org, (trx) =>
    sql`insert into app.bill (org_id, id, doc) values (${org}, 1, ${deep})`.execute(trx),
  );
  expect(fromDatabaseError(await errorOf(run))).toMatchObject({ code: 'audit.not_canonical' });
});

test.each([
  `select audit.append_row('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60', 'user:ceo', null, '{"type":"a.b"}', null)`,
  'create temporary table forged (id int, org_id uuid); create trigger t after insert on forged for each row execute function audit.capture_row()',
  'alter table app.bill disable trigger audit_capture',
  'drop trigger audit_capture on app.bill',
])('keeps the app role from forging or stopping capture: %s', async (statement) => {
  await sql
    .raw(
      `grant temporary on database ${new URL(f.database.superuserUrl).pathname.slice(1)} to ${f.database.app}`,
    )
    .execute(f.superuser);
  expect(await errorOf(f.inOrg(org, (trx) => sql.raw(statement).execute(trx)))).toMatchObject({
    code: '42501',
  });
});

test('a capture that was switched off is found by the doctor', async () => {
  const client = new pg.Client({ connectionString: f.database.superuserUrl });
  await client.connect();
  const rules = async (captures: readonly CaptureOptions[]) => {
    const { findings } = await auditDoctor(executorOf(client), {
      appRole: f.database.app,
      checkpointerRole: f.database.keys,
      copierRole: f.database.queue,
      captures,
    });
    return findings.filter(({ rule }) => rule !== 'durability-off').map(({ rule, object }) => [rule, object]);
  };
  expect(await rules([REFUSING, RECORDING])).toEqual([]);
  await client.query('begin; alter table app.bill disable trigger audit_capture');
  expect(await rules([REFUSING, RECORDING])).toEqual([['capture-missing', 'app.bill.audit_capture']]);
  await client.query('rollback');
  expect(await rules([{ ...REFUSING, exclude: [] }])).toEqual([
    ['capture-missing', 'app.bill.audit_capture'],
  ]);
  await client.end();
});
