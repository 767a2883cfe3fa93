/** Pruning takes the content of old events out, and no verifier mistakes it for anything else, nor anything else for it. */

// #region imports
import { pruneLog } from '@ringfence/audit/retention';
// #endregion

import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { verifyInDatabase } from '../src/database-verification.ts';
import { exportLog, type OrgId, verifyExport } from '../src/index.ts';
import { verifyInBlocks } from '../src/parallel/verify-parallel.ts';
import { listEvents } from '../src/query/index.ts';
import { errorOf, waitingForLocks } from './fixture.ts';
import { prunedCases } from './pruned-corpus.ts';
import { type RetentionFixture, retentionFixture } from './retention-fixture.ts';

let f: RetentionFixture;
beforeAll(async () => {
  f = await retentionFixture(inject('databaseUrl'));
});
afterAll(() => f.close());

const DAY_MS = 24 * 3_600_000;
const before = new Date(Date.now() - 366 * DAY_MS);
const policy = 'records schedule 4.2';
const prune = (org: OrgId, request = { before, policy }) => pruneLog(f.pruning(org), request);
const inDatabase = (org: OrgId) => verifyInDatabase(f.handle(org), org, {});

async function exported(org: OrgId): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportLog(f.handle(org), org)) chunks.push(chunk);
  return chunks;
}

const classes = ({ findings }: { readonly findings: readonly { readonly class: string }[] }) => [
  ...new Set(findings.map((finding) => finding.class)),
];

test('takes the old events out, keeps their leaves, and says so in the chain', async () => {
  const org = await f.log(6, 3);
  const done = await prune(org);
  expect(done).toMatchObject({ removed: 6, through: 6 });
  const report = await inDatabase(org);
  expect(report).toMatchObject({ ok: true, checked: 10, pruned: 6, head: { seq: 10 } });
  expect(await verifyExport(await exported(org))).toMatchObject({ ok: true, checked: 10, pruned: 6 });
  const page = await listEvents(f.handle(org), org, {});
  expect(page.events.map(({ seal }) => seal?.orgSeq)).toEqual([10, 9, 8, 7]);
  expect(page.events[0]).toMatchObject({
    id: done.event,
    actor: 'system:retention',
    action: 'log.pruned',
    data: { through: 6, policy, hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
  expect(await prune(org)).toEqual({ event: null, removed: 0, through: 6 });
});

test('goes on where it stopped, and the latest telling covers an earlier one', async () => {
  const org = await f.log(4, 0);
  await f.inThePast(async () => {
    expect(await prune(org)).toMatchObject({ removed: 4, through: 4 });
    await f.grow(org, 3);
  });
  await f.checkpointer.checkpoint(org);
  await f.copyTo(f.store).copy(org);
  expect(await prune(org)).toMatchObject({ removed: 4, through: 8 });
  expect(await inDatabase(org)).toMatchObject({ ok: true, pruned: 8, checked: 9 });
  expect(await f.verify(org, f.store)).toMatchObject({ ok: true, links: 8 });
});

test('the guide: eight years, under a policy that has a name', async () => {
  const id = await f.log(2, 0);
  const org = f.pruning(id);
  // #region prune
  const before = new Date(Date.now() - 8 * 365 * 24 * 3_600_000);
  const { removed, through } = await pruneLog(org, { before, policy: 'records schedule 4.2' });
  // #endregion
  expect({ removed, through }).toEqual({ removed: 0, through: 0 });
  const guide = new URL('../../../docs/audit-retention.md', import.meta.url);
  expect(snippetDrift(guide, [new URL(import.meta.url)])).toEqual([]);
});

test('stops at the first event that must stay, in the chain and in the tree', async () => {
  const org = await f.log(5, 0);
  await f.inThePast(() => f.grow(org, 2)); // neither signed nor copied
  expect(await prune(org)).toMatchObject({ removed: 5, through: 5 });
  await f.checkpointer.checkpoint(org);
  expect(await prune(org)).toMatchObject({ removed: 0, through: 5 }); // signed, not copied
  const unsigned = await f.inThePast(() => f.org(3));
  expect(await prune(unsigned)).toEqual({ event: null, removed: 0, through: 0 });
  await f.checkpointer.checkpoint(unsigned); // in no store at all
  expect(await prune(unsigned)).toEqual({ event: null, removed: 0, through: 0 });
  expect(await f.verify(org, f.store)).toMatchObject({ ok: true, links: 5 });
  await f.copyTo(f.store).copy(org);
  expect(await f.verify(org, f.store)).toMatchObject({ ok: true, links: 8 });
});

test('a checkpoint of another history than the chain vouches for nothing', async () => {
  const org = await f.log(3, 0);
  await f.inThePast(() => f.grow(org, 2));
  await f.checkpointer.checkpoint(org);
  await f.copyTo(f.store).copy(org);
  const unlink = (size: number) =>
    f.tamper((trx) =>
      sql`update audit.checkpoint set link = decode(repeat('00', 32), 'hex') where org_id = ${org} and size = ${size}`.execute(
        trx,
      ),
    );
  await unlink(5);
  expect(await prune(org)).toMatchObject({ removed: 3, through: 3 });
  await unlink(3);
  expect(await prune(org)).toMatchObject({ removed: 0, through: 3 });
});

test('refuses what is younger than the retention of the migration, whoever asks', async () => {
  const org = await f.log(2, 0);
  for (const days of [0, 1, 364]) {
    const request = { before: new Date(Date.now() - days * DAY_MS), policy };
    expect(await errorOf(prune(org, request))).toMatchObject({ code: 'audit.not_prunable' });
  }
  expect(await errorOf(prune(org, { before, policy: '' }))).toMatchObject({ code: 'audit.not_canonical' });
  expect(await errorOf(prune(org, { before, policy: 'x'.repeat(201) }))).toMatchObject({
    code: 'audit.not_canonical',
  });
  expect(await errorOf(pruneLog(f.pruner, { before, policy }))).toMatchObject({ code: 'audit.no_context' });
  expect(await errorOf(prune(org, { before: new Date(Number.NaN), policy }))).toBeInstanceOf(TypeError);
  expect(await inDatabase(org)).toMatchObject({ ok: true, pruned: 0 });
});

test('only the retention role prunes, and it can do nothing else', async () => {
  const org = await f.log(2, 0);
  expect(await errorOf(pruneLog(f.handle(org), { before, policy }))).toMatchObject({ code: '42501' });
  for (const statement of [
    'select * from audit.event',
    'select * from audit.pruned',
    'delete from audit.event',
    "insert into audit.pruned values (gen_random_uuid(), 1, gen_random_uuid(), decode(repeat('00', 32), 'hex'))",
    "select audit.append(gen_random_uuid(), '{}', true)",
    "select audit.append_unchecked(gen_random_uuid(), '{}', true)",
    "select audit.seal_pending('{}', '{}')",
  ])
    expect([statement, await errorOf(sql.raw(statement).execute(f.pruner))]).toMatchObject([
      statement,
      { code: '42501' },
    ]);
});

describe('nobody else takes a record out, or says that one was pruned', () => {
  const body =
    '{"data":{"hash":"' +
    'a'.repeat(64) +
    '","policy":"p","through":2},"outcome":"success","type":"log.pruned"}';

  test('the application cannot forge the telling', async () => {
    const org = await f.log(2, 0);
    const id = 'gen_random_uuid()';
    for (const call of [
      `audit.append(${id}, '${body}', true)`,
      `audit.append_with_personal('${org}', ${id}, '${body.replace('{"data"', `{"personal":{"fields":{"note":"${'b'.repeat(64)}"},"subject":"s"},"data"`)}', true, '{note}', '{x}')`,
    ])
      expect([
        call,
        await errorOf(f.inOrg(org, (trx) => sql.raw(`select ${call}`).execute(trx))),
      ]).toMatchObject([call, { code: '22023', constraint: 'audit.not_canonical' }]);
    const batch = await sql
      .raw(`select refused from audit.append_batch(array[${id}], array['${body}'], array[1],
      '{ringfence.org_id,ringfence.actor}', array['${org}','user:mallory'], true)`)
      .execute(f.app);
    expect(batch.rows).toEqual([{ refused: 'audit.not_canonical' }]);
  });

  test('the owner with the setting of a pruning still needs the leaf, and leaves a hole that no telling covers', async () => {
    const org = await f.log(3, 0);
    const asOwner = (statement: string) =>
      f.owner.transaction().execute(async (trx) => {
        await sql`select set_config('ringfence.org_id', ${org}, true), set_config('ringfence.actor', 'user:mallory', true),
          set_config('ringfence.pruning', 'on', true)`.execute(trx);
        await sql.raw(statement).execute(trx);
      });
    expect(await errorOf(asOwner('delete from audit.event'))).toMatchObject({
      constraint: 'audit.append_only',
    });
    const onlyPruned =
      'delete from audit.event e using audit.pruned p where p.org_id = e.org_id and p.event_id = e.id';
    const leaf = `select s.org_id, s.seq, s.event_id, decode(repeat('00', 32), 'hex') from audit.seal s where s.seq = 1 and s.org_id = '${org}'`;
    expect(await errorOf(asOwner(`insert into audit.pruned ${leaf}; ${onlyPruned}`))).toMatchObject({
      constraint: 'audit.append_only',
    });
    await asOwner(`insert into audit.pruned select s.org_id, s.seq, s.event_id, e.leaf from audit.seal s
        join audit.event e on e.org_id = s.org_id and e.id = s.event_id where s.org_id = '${org}' and s.seq <= 2;
      ${onlyPruned}`);
    const report = await inDatabase(org);
    expect(report.findings).toMatchObject([{ class: 'deleted', seq: 1 }]);
    expect(report).toMatchObject({ ok: false, pruned: 0, checked: 3 });
    for (const statement of [
      'update audit.pruned set seq = 9',
      'delete from audit.pruned',
      'truncate audit.pruned',
    ])
      expect([statement, await errorOf(asOwner(statement))]).toMatchObject([
        statement,
        { constraint: 'audit.append_only' },
      ]);
  });

  test('a DELETE without effect is an error as well', async () => {
    expect(await errorOf(sql`delete from audit.event where false`.execute(f.superuser))).toMatchObject({
      constraint: 'audit.append_only',
    });
  });
});

test('what does not verify is not pruned: the evidence stays', async () => {
  const org = await f.log(4, 0);
  await f.tamper(async (trx) => {
    await sql`alter table audit.event drop constraint event_leaf`.execute(trx);
    await sql`update audit.event set canon = replace(canon, 'user:alice', 'user:other')
      where org_id = ${org} and id = (select event_id from audit.seal where org_id = ${org} and seq = 2)`.execute(
      trx,
    );
    await sql`alter table audit.event add constraint event_leaf
      check (leaf = sha256(decode('00', 'hex') || convert_to(canon, 'UTF8'))) not valid`.execute(trx);
  });
  expect(await errorOf(prune(org))).toMatchObject({ code: 'audit.history_changed' });
  expect(await inDatabase(org)).toMatchObject({
    ok: false,
    checked: 4,
    pruned: 0,
    findings: [{ class: 'edited', seq: 2 }],
  });
});

test('of two prunings at once the second waits, and finds none left', async () => {
  const org = await f.log(5, 0);
  let second: ReturnType<typeof prune> | undefined;
  await f.pruner.transaction().execute(async (trx) => {
    await sql`select set_config('ringfence.org_id', ${org}, true), set_config('ringfence.actor', 'system:retention', true)`.execute(
      trx,
    );
    expect(await pruneLog(trx, { before, policy })).toMatchObject({ removed: 5, through: 5 });
    let ended = false;
    second = prune(org);
    second.then(
      () => {
        ended = true;
      },
      () => {
        ended = true;
      },
    );
    while ((await waitingForLocks(f.superuser)) === 0) expect(ended).toBe(false);
  });
  expect(await second).toEqual({ event: null, removed: 0, through: 5 });
  expect(await inDatabase(org)).toMatchObject({ ok: true, pruned: 5, checked: 6 });
});

test('a pruning that dies before COMMIT has taken nothing', async () => {
  const org = await f.log(3, 0);
  const death = f.pruner.transaction().execute(async (trx) => {
    await sql`select set_config('ringfence.org_id', ${org}, true), set_config('ringfence.actor', 'system:retention', true)`.execute(
      trx,
    );
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx);
    expect(await pruneLog(trx, { before, policy })).toMatchObject({ removed: 3 });
    await sql`select pg_terminate_backend(${rows[0]?.pid ?? 0}, 5000)`.execute(f.superuser);
    await sql`select 1`.execute(trx);
  });
  expect(await errorOf(death)).toBeInstanceOf(Error);
  expect(await inDatabase(org)).toMatchObject({ ok: true, pruned: 0, checked: 3 });
});

test.each([...prunedCases()])('an export: $what', async ({ verdicts, data }) => {
  const report = await verifyExport([data]);
  expect(classes(report).sort()).toEqual(verdicts);
  expect(report.ok).toBe(verdicts.length === 0);
});

test('threads that verify blocks wait until the chain has said what was pruned', async () => {
  const { data } = [...prunedCases()][0] as { readonly data: Uint8Array };
  const chunks = Array.from({ length: Math.ceil(data.length / 100) }, (_, n) =>
    data.subarray(100 * n, 100 * n + 100),
  );
  const sizes = { aloneBytes: 2_200, blockBytes: 1_500, waits: true };
  expect(await verifyInBlocks(chunks, { threads: 2 }, sizes)).toMatchObject({
    ok: true,
    pruned: 6,
    checked: 15,
  });
});
