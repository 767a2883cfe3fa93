/** What guards the probe against itself: its canary, its rollback, and FORCE put back before the attacks. */
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { probe } from '../src/probe/index.ts';
import { GOLDEN_ORG_TABLES, goldenDatabase, goldenSchema, type ProbeFixture } from './probe-fixture.ts';

let f: ProbeFixture;
beforeAll(async () => {
  f = await goldenDatabase(inject('databaseUrl'));
  await sql.raw(`grant ${f.database.app} to ${f.database.owner}`).execute(f.superuser);
});
afterAll(() => f.close());

const ddl = (statements: string) =>
  sql
    .raw(statements.replaceAll('$app', f.database.app).replaceAll('$owner', f.database.owner))
    .execute(f.superuser);

test('attacks that cannot cross even the canary are not believed, though all of them were contained', async () => {
  await ddl(`create function public.secure() returns event_trigger language plpgsql as $$ begin
      if to_regclass('pg_temp.ringfence_canary') is not null then
        alter table pg_temp.ringfence_canary enable row level security;
      end if; end $$;
    create event trigger secure on ddl_command_end when tag in ('CREATE TABLE') execute function public.secure()`);
  const run = probe({ owner: f.superuser, schema: goldenSchema(f.database.app) });
  await expect(run).rejects.toMatchObject({
    code: 'tenancy.probe_refused',
    message: expect.stringMatching(/its own canary: .*read all \(no rows\).*insert \(42501\)/),
  });
  await ddl('drop event trigger secure; drop function public.secure');
  expect((await probe({ owner: f.superuser, schema: goldenSchema(f.database.app) })).clean).toBe(true);
});

describe('what the probe did', () => {
  const state = async () => {
    const tables = [...Object.keys(GOLDEN_ORG_TABLES), 'app.currency', 'app.setting', 'tenancy.context_key'];
    const rows = tables
      .map((table) => `select '${table}: ' || r::text as line from ${table} r`)
      .join(' union all ');
    const catalog = `select relname || ' ' || relrowsecurity || relforcerowsecurity from pg_class
      where relnamespace = 'app'::regnamespace or relname like 'ringfence%'
      union all select proname from pg_proc where proname like 'ringfence%'`;
    return (await sql.raw(`${rows} union all ${catalog} order by line`).execute(f.superuser)).rows;
  };

  test('is rolled back: rows, keys, FORCE, its canary and its functions', async () => {
    const before = await state();
    for (const owner of [f.superuser, f.owner]) {
      expect((await probe({ owner, schema: goldenSchema(f.database.app) })).clean).toBe(true);
      expect(await state()).toEqual(before);
    }
  });

  test('is rolled back after a crossing that truncates', async () => {
    await ddl(`insert into app.profile values (gen_random_uuid(), 'Real', 3); grant all on app.invoice to $app;
      alter table app.invoice disable row level security`);
    const before = await state();
    const report = await probe({ owner: f.superuser, schema: goldenSchema(f.database.app) });
    const crossed = report.attacks.filter(
      ({ relation, outcome }) => relation === 'app.invoice' && outcome === 'crossed',
    );
    // each list is undone by itself: `truncate` comes before most of these and would leave them nothing to find
    expect(crossed.map(({ attack }) => attack)).toEqual(
      expect.arrayContaining([
        'delete',
        'truncate',
        'move',
        'upsert',
        'no context',
        'forged context',
        'stale plan',
      ]),
    );
    expect(await state()).toEqual(before);
    await ddl(`delete from app.profile; revoke truncate, references, trigger, maintain on app.invoice from $app;
      alter table app.invoice enable row level security`);
  });
});

describe('the statement that three reads share', () => {
  const READS = ['own rows', 'read by organisation', 'stale plan'];

  test('is refused for the reason it was refused for, once for each of them', async () => {
    await ddl('revoke usage on schema app from $app');
    const { attacks } = await probe({ owner: f.superuser, schema: goldenSchema(f.database.app) });
    await ddl('grant usage on schema app to $app');
    const reads = attacks.filter(({ relation, attack }) => relation === 'app.note' && READS.includes(attack));
    expect(reads.map(({ attack, outcome, evidence }) => `${attack}: ${outcome}, ${evidence}`)).toEqual([
      'own rows: inconclusive, failed with 42501, so that the other attacks prove nothing',
      'read by organisation: contained, 42501',
      'stale plan: contained, 42501',
    ]);
  });

  test('is not one that a cancelled probe left in the session', async () => {
    await sql.raw('prepare ringfence_probe(uuid) as select where false').execute(f.owner); // a pool of one connection
    expect((await probe({ owner: f.owner, schema: goldenSchema(f.database.app) })).clean).toBe(true);
    const left = sql`select from pg_prepared_statements where name = 'ringfence_probe'`;
    expect((await left.execute(f.owner)).rows).toEqual([]);
  });
});

test('FORCE is back for the attacks: what runs as the owner is bound too', async () => {
  await ddl('alter view app.note_count reset (security_invoker)');
  const { attacks } = await probe({ owner: f.owner, schema: goldenSchema(f.database.app) });
  await ddl('alter view app.note_count set (security_invoker = true)');
  expect(attacks.find(({ relation }) => relation === 'app.note_count')?.outcome).toBe('contained');
});

describe('a constraint that is checked at the end', () => {
  test('is met by the clone of a row, also where FORCE has to be put back', async () => {
    await ddl('alter table app.folder add constraint late unique (name) deferrable initially deferred');
    const { attacks } = await probe({ owner: f.owner, schema: goldenSchema(f.database.app) });
    await ddl('alter table app.folder drop constraint late');
    const crossed = attacks.filter(({ outcome }) => outcome === 'crossed');
    expect(crossed.map(({ relation, object }) => [relation, object])).toEqual([['app.folder', 'late']]);
    expect(crossed[0]?.evidence).toContain('23505 late');
  });

  test('of a trigger that refuses the rows of the probe is named where FORCE has to be put back, and left pending elsewhere', async () => {
    await ddl(`create function app.late() returns trigger language plpgsql as $$ begin
        raise check_violation using constraint = 'wanted'; end $$;
      create constraint trigger late after insert on app.folder deferrable initially deferred for each row execute function app.late()`);
    const schema = goldenSchema(f.database.app);
    await expect(probe({ owner: f.owner, schema })).rejects.toMatchObject({
      code: 'tenancy.probe_refused',
      message: expect.stringContaining('a deferred constraint refuses its rows (wanted)'),
    });
    const report = await probe({ owner: f.superuser, schema });
    await ddl('drop trigger late on app.folder; drop function app.late');
    expect(report.clean).toBe(true);
  });
});

test('whether the app role owns is asked for each owner, though once for all its tables', async () => {
  await ddl(
    `create role $owner_other; grant $owner_other to $app; alter table app.invoice owner to $owner_other`,
  );
  const { attacks } = await probe({ owner: f.superuser, schema: goldenSchema(f.database.app) });
  await ddl('alter table app.invoice owner to $owner; drop role $owner_other');
  const crossed = attacks.filter(({ attack, outcome }) => attack === 'become owner' && outcome === 'crossed');
  expect(crossed.map(({ relation }) => relation)).toEqual(['app.invoice']);
});

test('attacks that do not come to an end are reported, not those that were sent behind them', async () => {
  await ddl(`create function public.cancels() returns boolean language plpgsql as $$ begin
      raise query_canceled using message = 'as a time-out does'; end $$;
    create policy cancels on app.profile as restrictive for select to $app using (public.cancels())`);
  const run = probe({ owner: f.superuser, schema: goldenSchema(f.database.app) });
  await expect(run).rejects.toMatchObject({ code: '57014' });
  await ddl('drop policy cancels on app.profile; drop function public.cancels');
  expect((await probe({ owner: f.superuser, schema: goldenSchema(f.database.app) })).clean).toBe(true);
});
