/** What a superuser can do to the log, and what the verifier says to it. */
import { sql, type Transaction } from 'kysely';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import {
  type ChainHead,
  type ChainReport,
  type OrgId,
  parseOrgId,
  type VerifyOptions,
} from '../src/index.ts';
import { type Fixture, fixture, type Tables } from './fixture.ts';

let f: Fixture;
let org: OrgId;
let count = 0;
/** The head the customer kept when the log was honest. */
let kept: ChainHead;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});

afterAll(() => f.close());

beforeEach(async () => {
  org = parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(++count).padStart(12, '0')}`);
  for (let index = 1; index <= 8; index++) {
    const data = { amount: `${index}.00` };
    await f.append(org, f.audit.prepare('entry.posted', { target: `e${index}`, outcome: 'success', data }));
  }
  const honest = await verify();
  expect(honest).toMatchObject({ ok: true, checked: 8 });
  kept = honest.head;
});

function verify(options: VerifyOptions = {}): Promise<ChainReport> {
  return f.inOrg(org, (trx) => f.audit.verify(trx, org, options));
}

/** As a superuser with triggers and the leaf check off. */
async function tamper(run: (trx: Transaction<Tables>) => Promise<unknown>): Promise<void> {
  const tables = ['event', 'seal', 'head'];
  await f.superuser.transaction().execute(async (trx) => {
    for (const table of tables) await sql.raw(`alter table audit.${table} disable trigger all`).execute(trx);
    await sql`alter table audit.event drop constraint event_leaf`.execute(trx);
    await run(trx);
    await sql`alter table audit.event add constraint event_leaf
      check (leaf = sha256(decode('00', 'hex') || convert_to(canon, 'UTF8'))) not valid`.execute(trx);
    const { rows } = await sql<{
      place: string;
      name: string;
    }>`select tgrelid::regclass::text as place, tgname as name
      from pg_trigger where tgfoid = 'audit.refuse_change'::regproc`.execute(trx);
    for (const { place, name } of rows) {
      await sql.raw(`alter table ${place} enable always trigger ${name}`).execute(trx);
    }
  });
}

const at = (seq: number) =>
  sql`(org_id, id) in (select org_id, event_id from audit.seal where org_id = ${org} and seq = ${seq})`;
const leafOf = sql`sha256(decode('00', 'hex') || convert_to(canon, 'UTF8'))`;
const classes = ({ findings }: ChainReport) => findings.map((finding) => [finding.class, finding.seq]);

test('finds a record edited without its leaf, at its place', async () => {
  await tamper((trx) =>
    sql`update audit.event set canon = replace(canon, '"4.00"', '"9.00"') where ${at(4)}`.execute(trx),
  );
  const report = await verify();
  expect(classes(report)).toEqual([['edited', 4]]);
  expect(report.ok).toBe(false);
});

test('finds a record edited together with its leaf, at its place', async () => {
  await tamper(async (trx) => {
    await sql`update audit.event set canon = replace(canon, '"4.00"', '"9.00"') where ${at(4)}`.execute(trx);
    await sql`update audit.event set leaf = ${leafOf} where ${at(4)}`.execute(trx);
  });
  expect(classes(await verify())).toEqual([['edited', 4]]);
});

test.each(['actor', 'action', 'target'])('finds the search column %s edited alone', async (column) => {
  await tamper((trx) => sql`update audit.event set ${sql.id(column)} = 'x' where ${at(3)}`.execute(trx));
  expect(classes(await verify())).toEqual([['edited', 3]]);
});

test('finds the time column edited alone', async () => {
  await tamper((trx) => sql`update audit.event set at = at - interval '1 day' where ${at(3)}`.execute(trx));
  expect(classes(await verify())).toEqual([['edited', 3]]);
});

test('finds a link whose hash was edited', async () => {
  await tamper((trx) =>
    sql`update audit.seal set hash = sha256('x') where org_id = ${org} and seq = 5`.execute(trx),
  );
  expect(classes(await verify())).toEqual([['edited', 5]]);
});

test('finds a record and its link deleted from the middle', async () => {
  await tamper(async (trx) => {
    await sql`delete from audit.event where ${at(4)}`.execute(trx);
    await sql`delete from audit.seal where org_id = ${org} and seq = 4`.execute(trx);
  });
  expect(classes(await verify())).toEqual([['deleted', 4]]);
});

test('finds a record deleted alone, and a link deleted alone', async () => {
  await tamper((trx) => sql`delete from audit.event where ${at(4)}`.execute(trx));
  expect(classes(await verify())).toEqual([['deleted', 4]]);
  await tamper((trx) => sql`delete from audit.seal where org_id = ${org} and seq = 7`.execute(trx));
  expect(classes(await verify())).toEqual([
    ['deleted', 4],
    ['deleted', 7],
    ['inserted', null],
  ]);
});

test('finds a deletion that was hidden by renumbering', async () => {
  await tamper(async (trx) => {
    await sql`delete from audit.event where ${at(4)}`.execute(trx);
    await sql`delete from audit.seal where org_id = ${org} and seq = 4`.execute(trx);
    for (let seq = 5; seq <= 8; seq++) {
      await sql`update audit.seal set seq = seq - 1 where org_id = ${org} and seq = ${seq}`.execute(trx);
    }
    await sql`update audit.head set seq = 7 where org_id = ${org}`.execute(trx);
  });
  expect(classes(await verify())).toEqual([['deleted', 4]]);
});

test('finds a record put in between, with the rest renumbered', async () => {
  await tamper(async (trx) => {
    for (let seq = 8; seq >= 4; seq--) {
      await sql`update audit.seal set seq = seq + 1 where org_id = ${org} and seq = ${seq}`.execute(trx);
    }
    const id = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b0001';
    const model = sql`select org_id, ${id}::uuid, at, replace(canon, id::text, ${id}) as canon, actor, action, target
      from audit.event where ${at(3)}`;
    await sql`insert into audit.event (org_id, id, at, canon, actor, action, target, leaf)
      select m.*, ${leafOf} from (${model}) m`.execute(trx);
    await sql`insert into audit.seal (org_id, seq, event_id, hash) values (${org}, 4, ${id}, sha256('x'))`.execute(
      trx,
    );
    await sql`update audit.head set seq = 9 where org_id = ${org}`.execute(trx);
  });
  expect(classes(await verify())).toEqual([['inserted', 4]]);
});

test('finds a record that never went through append', async () => {
  await tamper((trx) =>
    sql`insert into audit.event (org_id, id, at, canon, leaf, actor, action)
      values (${org}, gen_random_uuid(), now(), '{}', sha256('x'), 'user:ceo', 'entry.approved')`.execute(
      trx,
    ),
  );
  expect(classes(await verify())).toEqual([['inserted', null]]);
});

test('finds two records that changed places', async () => {
  await tamper(async (trx) => {
    const ids = await sql<{ event_id: string }>`
      select event_id from audit.seal where org_id = ${org} and seq in (3, 6) order by seq`.execute(trx);
    const [third, sixth] = ids.rows.map(({ event_id }) => event_id);
    const put = (seq: number, id: string | undefined) =>
      sql`update audit.seal set event_id = ${id} where org_id = ${org} and seq = ${seq}`.execute(trx);
    await put(3, '00000000-0000-0000-0000-000000000000');
    await put(6, third);
    await put(3, sixth);
  });
  expect(classes(await verify())).toEqual([
    ['reordered', 3],
    ['reordered', 6],
  ]);
});

test.each([
  [3, 6],
  [4, 5],
])('finds the links %i and %i exchanged with their hashes', async (low, high) => {
  await tamper(async (trx) => {
    const move = (from: number, to: number) =>
      sql`update audit.seal set seq = ${to} where org_id = ${org} and seq = ${from}`.execute(trx);
    await move(low, 1_000);
    await move(high, low);
    await move(1_000, high);
  });
  expect(classes(await verify())).toEqual([
    ['reordered', low],
    ['reordered', high],
  ]);
});

async function cutTail(trx: Transaction<Tables>): Promise<void> {
  await sql`delete from audit.event where org_id = ${org} and id in
    (select event_id from audit.seal where org_id = ${org} and seq > 6)`.execute(trx);
  await sql`delete from audit.seal where org_id = ${org} and seq > 6`.execute(trx);
}

test('finds a cut tail by the head that was left', async () => {
  await tamper(cutTail);
  expect(classes(await verify())).toEqual([['cut', 7]]);
});

test('finds a cut tail whose head was set back only with a kept head', async () => {
  await tamper(async (trx) => {
    await cutTail(trx);
    await sql`update audit.head h set seq = 6, hash = s.hash from audit.seal s
      where h.org_id = ${org} and s.org_id = ${org} and s.seq = 6`.execute(trx);
  });
  expect(await verify()).toMatchObject({ ok: true, checked: 6 });
  expect(classes(await verify({ expectedHead: kept }))).toEqual([['cut', 7]]);
});

test('finds a whole chain removed only with a kept head', async () => {
  await tamper(async (trx) => {
    for (const table of ['event', 'seal', 'head']) {
      await sql`delete from ${sql.table(`audit.${table}`)} where org_id = ${org}`.execute(trx);
    }
  });
  expect(await verify()).toMatchObject({ ok: true, checked: 0 });
  expect(classes(await verify({ expectedHead: kept }))).toEqual([['cut', 1]]);
});

test('finds a chain rewritten as a whole only with a kept head', async () => {
  await tamper(async (trx) => {
    await sql`update audit.event set canon = replace(canon, '"2.00"', '"9.00"') where ${at(2)}`.execute(trx);
    await sql`update audit.event set leaf = ${leafOf} where ${at(2)}`.execute(trx);
    await sql
      .raw(`do $$ declare r record; h bytea := decode(repeat('00', 32), 'hex'); begin
      for r in select s.seq, e.leaf from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
                where s.org_id = '${org}' order by s.seq loop
        h := sha256(decode('02', 'hex') || uuid_send('${org}') || int8send(r.seq) || h || r.leaf);
        update audit.seal set hash = h where org_id = '${org}' and seq = r.seq;
      end loop;
      update audit.head set hash = h where org_id = '${org}'; end $$`)
      .execute(trx);
  });
  expect(await verify()).toMatchObject({ ok: true, checked: 8 });
  expect(classes(await verify({ expectedHead: kept }))).toEqual([['rewritten', 8]]);
});

test('finds links that stand behind the head', async () => {
  await tamper((trx) =>
    sql`insert into audit.seal (org_id, seq, event_id, hash)
      select org_id, 9, gen_random_uuid(), sha256('x') from audit.seal where org_id = ${org} and seq = 8`.execute(
      trx,
    ),
  );
  const found = classes(await verify());
  expect(found).toContainEqual(['inserted', 9]);
  expect(found).toContainEqual(['deleted', 9]);
});

test('passes a chain that grew since the head was kept, and one read from that head on', async () => {
  await f.append(org, f.audit.prepare('entry.approved', { target: 'e1', outcome: 'success' }));
  expect(await verify({ expectedHead: kept, pageSize: 3 })).toMatchObject({ ok: true, checked: 9 });
  expect(await verify({ from: kept, expectedHead: kept })).toMatchObject({ ok: true, checked: 1 });
});

test('finds an organisation that got the chain of another', async () => {
  const other = parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(++count).padStart(12, '0')}`);
  await tamper(async (trx) => {
    for (const table of ['event', 'seal', 'head']) {
      await sql`update ${sql.table(`audit.${table}`)} set org_id = ${other} where org_id = ${org}`.execute(
        trx,
      );
    }
  });
  org = other;
  const report = await verify();
  expect(report.ok).toBe(false);
  expect(report.findings.map(({ seq }) => seq)).toContain(1);
});
