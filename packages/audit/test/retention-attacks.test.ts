/** Ways to prune what must stay, to bring the log to a halt with what was pruned, and to make pruning look like a deletion. */
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { verifyInDatabase } from '../src/database-verification.ts';
import { auditDoctor } from '../src/doctor/index.ts';
import type { QueryExecutor } from '../src/executor.ts';
import { exportLog, type OrgId, verifyExport } from '../src/index.ts';
import { pruneLog } from '../src/retention/index.ts';
import { errorOf, fixture, kyselyOf, type Tables } from './fixture.ts';
import type { MemoryVersion } from './loopback-s3.ts';
import { type RetentionFixture, retentionFixture } from './retention-fixture.ts';

let f: RetentionFixture;
beforeAll(async () => {
  f = await retentionFixture(inject('databaseUrl'));
});
afterAll(() => f.close());

const DAY_MS = 24 * 3_600_000;
const before = new Date(Date.now() - 366 * DAY_MS);
const policy = 'records schedule 4.2';
const prune = (org: OrgId) => pruneLog(f.pruning(org), { before, policy });
const inDatabase = (org: OrgId, db: QueryExecutor = f.handle(org), pageSize = 2_000) =>
  verifyInDatabase(db, org, { pageSize });
const BODY = '{"outcome":"success","type":"login.succeeded"}';

async function idsOf(org: OrgId): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select event_id::text as id from audit.seal where org_id = ${org} order by seq`.execute(f.superuser);
  return rows.map(({ id }) => id);
}

/** A day of the year as a POSIX time zone names it, which knows no 29 February. */
function julian(fromNowDays: number): string {
  const day = new Date(Date.now() + fromNowDays * DAY_MS);
  const newYear = Date.UTC(2025, 0, 0);
  return `J${Math.round((Date.UTC(2025, day.getUTCMonth(), Math.min(day.getUTCDate(), 28)) - newYear) / DAY_MS)}`;
}

test('days are not shortened by a time zone in which a day is two weeks long', async () => {
  const young = await fixture(inject('databaseUrl'), 1, 10);
  const pruner = kyselyOf<Tables>(young.database.retentionUrl, 1);
  const zone = `AAA167BBB-167,${julian(-9)}/0,${julian(-40)}/0`;
  const attempt = (request: { before: Date }) =>
    pruner.transaction().execute(async (trx) => {
      const org = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60';
      await sql`select set_config('ringfence.org_id', ${org}, true), set_config('ringfence.actor', 'x', true),
        set_config('TimeZone', ${zone}, true)`.execute(trx);
      return await pruneLog(trx, { ...request, policy });
    });
  try {
    for (const days of [9, 5, 1, 0])
      expect(await errorOf(attempt({ before: new Date(Date.now() - days * DAY_MS) }))).toMatchObject({
        code: 'audit.not_prunable',
      });
    expect(await attempt({ before: new Date(Date.now() - 10.01 * DAY_MS) })).toMatchObject({ removed: 0 });
  } finally {
    await pruner.destroy();
    await young.close();
  }
});

describe('the id of a pruned event', () => {
  const append = (org: OrgId, id: string, seal: boolean, isolation: 'read committed' | 'repeatable read') =>
    f.inOrg(org, (trx) => sql`select * from audit.append(${id}::uuid, ${BODY}, ${seal})`.execute(trx), {
      isolation,
    });
  const duplicate = { code: '23505', schema: 'audit', constraint: 'event_pkey' };

  test('takes no other record on any route, and the chain goes on', async () => {
    const org = await f.log(3, 0);
    const [id = ''] = await idsOf(org);
    await prune(org);
    for (const seal of [true, false])
      for (const isolation of ['read committed', 'repeatable read'] as const)
        expect(await errorOf(append(org, id, seal, isolation))).toMatchObject(duplicate);
    const batch = sql`select * from audit.append_batch(array[gen_random_uuid(), ${id}::uuid], array[${BODY}, ${BODY}],
      array[1, 1], '{ringfence.org_id,ringfence.actor}', array[${org}, 'user:mallory'], false)`;
    expect(await errorOf(batch.execute(f.app))).toMatchObject(duplicate);
    const personal = BODY.replace(
      '"type"',
      `"personal":{"fields":{"note":"${'b'.repeat(64)}"},"subject":"s"},"type"`,
    );
    const call = sql`select * from audit.append_with_personal(${org}::uuid, ${id}::uuid, ${personal}, false, '{note}', '{x}')`;
    expect(await errorOf(f.inOrg(org, (trx) => call.execute(trx)))).toMatchObject(duplicate);
    await f.grow(org, 1);
    expect(await inDatabase(org)).toMatchObject({ ok: true, pruned: 3, checked: 5 });
  });

  test('takes none while the pruning is under way, in a snapshot from before it either', async () => {
    const org = await f.log(2, 0);
    const [id = ''] = await idsOf(org);
    const old = f.inOrg(
      org,
      async (snapshot) => {
        await sql`select count(*) from audit.event`.execute(snapshot);
        await f.pruner.transaction().execute(async (trx) => {
          await sql`select set_config('ringfence.org_id', ${org}, true), set_config('ringfence.actor', 'x', true)`.execute(
            trx,
          );
          await pruneLog(trx, { before, policy });
          for (const isolation of ['read committed', 'repeatable read'] as const)
            expect(await errorOf(append(org, id, false, isolation))).toMatchObject(duplicate);
        });
        await sql`select * from audit.append(${id}::uuid, ${BODY}, false)`.execute(snapshot);
      },
      { isolation: 'repeatable read' },
    );
    expect(await errorOf(old)).toMatchObject(duplicate);
    await f.audit.sealPending();
    expect(await inDatabase(org)).toMatchObject({ ok: true, pruned: 2, checked: 3 });
  });
});

test('the doctor knows the schema of a deployment that prunes, and misses what was taken from it', async () => {
  const { app: appRole, keys: checkpointerRole, queue: copierRole, retention: role } = f.database;
  const look = async (db: QueryExecutor) => {
    const options = { appRole, checkpointerRole, copierRole, retention: { role, afterDays: 365 } };
    const { findings } = await auditDoctor(db, options);
    return findings.filter(({ rule }) => rule !== 'durability-off').map(({ rule, object }) => [rule, object]);
  };
  expect(await look(f.superuser)).toEqual([]);
  const undone = new Error('undone');
  const taken = f.superuser.transaction().execute(async (trx) => {
    await sql`drop policy once on audit.event`.execute(trx);
    expect(await look(trx)).toEqual([['policy-changed', 'audit.event.once']]);
    throw undone;
  });
  expect(await errorOf(taken)).toBe(undone);
});

test('a store in which a copy has only begun holds nothing, so that nothing is pruned', async () => {
  const org = await f.log(3, 0);
  const add = (kind: string, key: string) =>
    sql`insert into audit.copy (org_id, store, key, kind, upto, version_id, sha256, bytes)
      values (${org}, 'second', ${key}, ${kind}, 2, 'v', sha256(''), 1)`.execute(f.copying);
  await add('segment', 'a');
  expect(await prune(org)).toEqual({ event: null, removed: 0, through: 0 });
  await add('checkpoint', 'b');
  expect(await prune(org)).toMatchObject({ removed: 2, through: 2 });
});

test('an event whose time was dated back in its column is not pruned', async () => {
  const org = await f.log(2, 1);
  const [, , young = ''] = await idsOf(org);
  await f.tamper((trx) =>
    sql`update audit.event set at = at - interval '400 days' where org_id = ${org} and id = ${young}`.execute(
      trx,
    ),
  );
  expect(await errorOf(prune(org))).toMatchObject({ code: 'audit.history_changed' });
  expect(await inDatabase(org)).toMatchObject({
    ok: false,
    pruned: 0,
    findings: [{ class: 'edited', seq: 3 }],
  });
});

test('the telling is in the chain with the pruning, also when other events wait', async () => {
  const org = await f.log(4, 0);
  await f.inOrg(org, (trx) => sql`select audit.append(gen_random_uuid(), ${BODY}, false)`.execute(trx));
  const { event } = await prune(org);
  expect(await inDatabase(org)).toMatchObject({ ok: true, pruned: 4, checked: 6 });
  expect((await idsOf(org)).at(-1)).toBe(event);
});

describe('a log that is pruned while it is read', () => {
  test('is no export: whoever writes it is told, and the next one holds', async () => {
    const org = await f.log(8, 2);
    const read = async (meanwhile: (page: number) => Promise<unknown>) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of exportLog(f.handle(org), org, { pageSize: 2 })) {
        chunks.push(chunk);
        await meanwhile(chunks.length);
      }
      return await verifyExport(chunks);
    };
    const error = await errorOf(read(async (page) => page === 2 && (await prune(org))));
    expect(error).toMatchObject({ code: 'audit.pruned_meanwhile', retryable: true });
    expect(await read(async () => {})).toMatchObject({ ok: true, pruned: 8, checked: 11 });
  });

  test('is exported when only what was written already is pruned', async () => {
    const org = await f.log(4, 6);
    const chunks: Uint8Array[] = [];
    for await (const chunk of exportLog(f.handle(org), org, { pageSize: 2 })) {
      chunks.push(chunk);
      if (chunks.length === 4) await prune(org);
    }
    expect(await verifyExport(chunks)).toMatchObject({ ok: true, pruned: 0, checked: 10 });
  });

  test('is read again by a verification, which finds nothing; a deletion is found all the same', async () => {
    const org = await f.log(6, 2);
    const handle = f.handle(org);
    let pages = 0;
    const pruningAtThird: QueryExecutor = {
      isTransaction: false,
      executeQuery: async (query) => {
        if (query.sql.includes('canon') && ++pages === 3) await prune(org);
        return await handle.executeQuery(query);
      },
    };
    expect(await inDatabase(org, pruningAtThird, 2)).toMatchObject({ ok: true, pruned: 6, checked: 9 });
    expect(pages).toBeGreaterThan(7);
    await f.tamper((trx) =>
      sql`delete from audit.event where org_id = ${org} and action <> 'log.pruned'`.execute(trx),
    );
    expect(await inDatabase(org)).toMatchObject({ ok: false, pruned: 6 });
  });
});

test('a copy whose records were taken out is found, also where it holds the telling of their pruning', async () => {
  const org = await f.log(4, 0);
  await prune(org);
  await f.checkpointer.checkpoint(org);
  await f.copyTo(f.store).copy(org);
  expect(await f.verify(org, f.store)).toMatchObject({ ok: true, links: 5, signed: 5 });
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportLog(f.handle(org), org)) chunks.push(chunk);
  expect(await verifyExport(chunks)).toMatchObject({ ok: true, pruned: 4 });
  const place = (seq: number) => String(seq).padStart(16, '0');
  const name = (rest: string) => `ledger/${org}/${rest}`;
  const [first] = f.objects.get(name(`segments/${place(0)}-${place(4)}.ndjson`)) ?? [];
  // As if the log had been signed only once, behind the pruning.
  for (const key of f.objects.keys()) {
    if (key.startsWith(name('')) && !key.endsWith(place(5)) && !key.endsWith('.p/5')) f.objects.delete(key);
  }
  const body = Buffer.concat(chunks);
  f.objects.set(name(`segments/${place(0)}-${place(5)}.ndjson`), [{ ...first, body } as MemoryVersion]);
  const report = await f.verify(org, f.store);
  expect(report).toMatchObject({ ok: false, signed: 0, findings: [{ class: 'gap' }] });
});
