/** What PostgreSQL refuses comes out with a code of this package, whatever language its messages are in. */
import { type CompiledQuery, type QueryResult, sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { QueryExecutor } from '../src/executor.ts';
import { fromDatabaseError, type OrgId, parseOrgId, RingfenceAuditError } from '../src/index.ts';
import { listEvents } from '../src/query/index.ts';
import { errorOf } from './fixture.ts';
import { type PersonalFixture, personalFixture } from './personal-fixture.ts';

let p: PersonalFixture;
let count = 0;
const newOrg = (): OrgId => parseOrgId(`0190f5d2-7b1c-7d34-9a57-${String(++count).padStart(12, '0')}`);

beforeAll(async () => {
  p = await personalFixture(inject('databaseUrl'));
});
afterAll(() => p.f.close());

/** The error of a statement as the app sees it: mapped. */
const mappedError = async (run: Promise<unknown>) => fromDatabaseError(await errorOf(run));

test('a receipt with personal parts that is run twice is a duplicate', async () => {
  const org = newOrg();
  const receipt = await p.personal.prepare(org, 'consent.given', {
    subject: 's-1',
    outcome: 'success',
    data: { answer: true },
  });
  await p.f.append(org, receipt);
  const again = p.f.inOrg(org, (trx) => trx.executeQuery(receipt.query));
  expect(await mappedError(again)).toMatchObject({ code: 'audit.duplicate_event', retryable: false });
});

test('a sealed value that the table does not take is too large', async () => {
  const org = newOrg();
  const receipt = await p.personal.prepare(org, 'consent.given', {
    subject: 's-1',
    outcome: 'success',
    data: { answer: true },
  });
  const parameters = receipt.query.parameters.map((one) =>
    Array.isArray(one) && one.every((part) => Buffer.isBuffer(part)) ? [Buffer.alloc(131_073)] : one,
  );
  const run = p.f.inOrg(org, (trx) => trx.executeQuery({ ...receipt.query, parameters }));
  expect(await mappedError(run)).toMatchObject({ code: 'audit.event_too_large' });
});

describe('a chain whose head was set back', () => {
  const setBack = async (org: OrgId) =>
    await p.f.superuser.transaction().execute(async (trx) => {
      await sql.raw('alter table audit.head disable trigger user').execute(trx);
      await sql`update audit.head set seq = 1, hash = (select hash from audit.seal where org_id = ${org} and seq = 1)
        where org_id = ${org}`.execute(trx);
      for (const guard of ['refuse_removal', 'refuse_backward'])
        await sql.raw(`alter table audit.head enable always trigger ${guard}`).execute(trx);
    });
  const forgetQueue = async (org: OrgId) =>
    await p.f.superuser.transaction().execute(async (trx) => {
      await sql.raw('alter table audit.queue disable trigger user').execute(trx);
      await sql`delete from audit.queue where org_id = ${org}`.execute(trx);
      await sql.raw('alter table audit.queue enable always trigger refuse_change').execute(trx);
    });
  const login = () => p.audit.prepare('login.succeeded', { outcome: 'success' });

  test('takes no event, and says that its history was changed', async () => {
    const org = newOrg();
    for (let n = 0; n < 3; n++) await p.f.append(org, login());
    await setBack(org);
    const run = p.f.inOrg(org, (trx) => trx.executeQuery(login().query));
    expect(await mappedError(run)).toMatchObject({ code: 'audit.history_changed', retryable: false });
    // What was queued meanwhile cannot be sealed either.
    const receipt = login();
    const queued = p.f.inOrg(org, (trx) => trx.executeQuery(receipt.query), { isolation: 'serializable' });
    const sealed = p.audit.sealed(receipt, await queued);
    expect(await errorOf(sealed)).toMatchObject({ code: 'audit.history_changed', retryable: false });
    await forgetQueue(org);
  });

  test('stops no other: the rest is sealed, in the call that fails and in one call with it', async () => {
    const broken = newOrg();
    for (let n = 0; n < 2; n++) await p.f.append(broken, login());
    await setBack(broken);
    const others = [newOrg(), newOrg()];
    const leave = async (org: OrgId) => {
      const receipt = login();
      const queued = p.f.inOrg(org, (trx) => trx.executeQuery(receipt.query), { isolation: 'serializable' });
      return { receipt, result: await queued };
    };
    for (const org of [broken, ...others]) await leave(org);
    expect(await errorOf(p.audit.sealPending())).toMatchObject({ code: 'audit.history_changed' });
    const { rows } = await sql`select distinct org_id::text as org from audit.queue`.execute(p.f.superuser);
    expect(rows).toEqual([{ org: broken }]);
    const left = await Promise.all([broken, ...others].map(leave));
    const outcomes = await Promise.allSettled(
      left.map(({ receipt, result }) => p.audit.sealed(receipt, result)),
    );
    expect(outcomes).toMatchObject([
      { status: 'rejected', reason: { code: 'audit.history_changed' } },
      { status: 'fulfilled', value: { orgSeq: 2 } },
      { status: 'fulfilled', value: { orgSeq: 2 } },
    ]);
    await forgetQueue(broken);
  });
});

test('every unique constraint that a statement of the app can meet has a code', async () => {
  const { rows } = await sql<{ name: string; rel: string }>`
    select k.conname as name, c.relname as rel from pg_constraint k join pg_class c on c.oid = k.conrelid
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'audit' and k.contype in ('p', 'u') order by 1`.execute(p.f.superuser);
  const untyped = rows
    .map(({ name }) => name)
    .filter((constraint) => {
      const error = Object.assign(new Error('x'), { code: '23505', schema: 'audit', constraint });
      return !(fromDatabaseError(error) instanceof RingfenceAuditError);
    });
  expect(untyped).toEqual([
    'checkpoint_pkey', // the checkpointer: tried again, then audit.unavailable
    'copy_pkey', // on conflict do nothing
    'cosignature_pkey', // on conflict do nothing
    'deployment_entry_pkey', // as checkpoint_pkey
    'deployment_entry_place', // as checkpoint_pkey
    'head_pkey', // on conflict do nothing
    'pruned_event', // the function that prunes holds the head of the chain
    'pruned_pkey', // as pruned_event
    'queue_pkey', // event_pkey comes first
    'subject_pkey', // on conflict do nothing
    'tile_pkey', // as checkpoint_pkey
  ]);
});

/** A server whose `lc_messages` is German: real errors, with the texts it would send. */
function german(executor: QueryExecutor): QueryExecutor {
  return {
    isTransaction: executor.isTransaction,
    executeQuery: async <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> => {
      try {
        return await executor.executeQuery(query);
      } catch (error) {
        const severity = (error as { severity?: string }).severity;
        if (severity !== undefined) {
          Object.assign(error as Error, {
            severity: severity === 'ERROR' ? 'FEHLER' : severity,
            message: 'doppelter Schlüsselwert',
          });
        }
        throw error;
      }
    },
  };
}

/** Runs each statement in a transaction of its own with the context of an organisation. */
function handleOf(org: OrgId, before?: (query: CompiledQuery<unknown>) => Promise<void>): QueryExecutor {
  return german({
    isTransaction: false,
    executeQuery: async <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> => {
      await before?.(query);
      return await p.f.inOrg(org, (trx) => trx.executeQuery(query));
    },
  });
}

test('a refusal is a refusal in any language: only what may have committed is unknown', async () => {
  const org = newOrg();
  const refused = async (statement: string) =>
    await errorOf(
      p.audit.record(
        german({
          isTransaction: false,
          executeQuery: async () => (await sql.raw(statement).execute(p.f.superuser)) as never,
        }),
        'login.succeeded',
        { outcome: 'success' },
      ),
    );
  for (const [statement, code] of [
    ['select 1/0', '22012'],
    ["set local x.y to ''; select * from nothing", '42P01'],
    ["do $$ begin raise exception 'x' using errcode = '40001'; end $$", '40001'],
    ["do $$ begin raise exception 'x'; end $$", 'P0001'],
    ["do $$ begin raise exception 'x' using errcode = '57014'; end $$", '57014'],
  ] as const)
    expect(await refused(statement), statement).toMatchObject({ code });
  for (const errcode of ['40003', '57P01', '57P02', '25P03', '25P04', '08006', '53300', '58030', 'XX000'])
    expect(
      await refused(`do $$ begin raise exception 'x' using errcode = '${errcode}'; end $$`),
      errcode,
    ).toMatchObject({ code: 'audit.outcome_unknown' });
  // An error of the socket has a code that looks like a SQLSTATE.
  const broken = handleOf(org, async () => {
    throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
  });
  expect(await errorOf(p.audit.record(broken, 'login.succeeded', { outcome: 'success' }))).toMatchObject({
    code: 'audit.outcome_unknown',
  });
});

test('a repeated receipt is a duplicate in any language', async () => {
  const org = newOrg();
  const receipt = p.audit.prepare('login.succeeded', { outcome: 'success' });
  await p.f.append(org, receipt);
  expect(await mappedError(handleOf(org).executeQuery(receipt.query))).toMatchObject({
    code: 'audit.duplicate_event',
  });
});

test.each([
  '0000-01-01T00:00:00Z',
  '0000-12-31T23:59:59.999999Z',
  '10000-01-01T00:00:00Z',
  '+10000-01-01T00:00:00Z',
  '-0001-01-01T00:00:00Z',
  '99999-01-01T00:00:00Z',
  '2026-02-30T00:00:00Z',
  '2026-01-01T24:00:00Z',
  '2026-01-01T23:59:60Z',
])('a filter by the time %s is refused before PostgreSQL sees it', async (time) => {
  const org = newOrg();
  for (const filter of [{ from: time }, { to: time }])
    expect(await errorOf(p.f.inOrg(org, (trx) => listEvents(trx, org, filter)))).toMatchObject({
      code: 'audit.invalid_filter',
    });
});

test.each(['0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999999Z'])('a filter by %s works', async (time) => {
  const org = newOrg();
  for (const filter of [{ from: time }, { to: time }])
    expect((await p.f.inOrg(org, (trx) => listEvents(trx, org, filter))).events).toEqual([]);
});
