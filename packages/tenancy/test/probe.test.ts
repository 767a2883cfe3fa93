import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { expectIsolation, formatProbeReport, probe } from '../src/testing/index.ts';
import { codeOf } from './fixture.ts';
import { GOLDEN_ORG_TABLES, goldenDatabase, goldenSchema, type ProbeFixture } from './probe-fixture.ts';

let f: ProbeFixture;
beforeAll(async () => {
  f = await goldenDatabase(inject('databaseUrl'));
});
afterAll(() => f.close());

/** Rows of every table of schema `app`, keys of the context, and open transactions of others in this database. */
async function traces(): Promise<unknown> {
  const tables = ['app.currency', 'app.setting', ...Object.keys(GOLDEN_ORG_TABLES), 'tenancy.context_key'];
  const counts = tables.map((table) => `select '${table}' as name, count(*)::int as rows from ${table}`);
  const { rows } = await sql.raw(`${counts.join(' union all ')} order by name`).execute(f.superuser);
  return rows;
}

describe('an isolated schema', () => {
  test('is clean, with every table attacked', async () => {
    const report = await expectIsolation({ owner: f.superuser, schema: goldenSchema(f.database.app) });
    expect(report).toMatchObject({ clean: true, unprobed: [], stale: [], tables: 6, signedContext: true });
    const perTable = (table: string) =>
      new Set(report.attacks.filter(({ relation }) => relation === table).map(({ attack }) => attack));
    expect(perTable('app.note').size).toBe(20);
    expect(perTable('app.event_2026')).toEqual(
      new Set(['read by organisation', 'read all', 'insert', 'update', 'delete', 'truncate']),
    );
  });

  test('is clean too when the owner, bound by row-level security, probes it: once it may take the app role', async () => {
    const schema = goldenSchema(f.database.app);
    expect(await codeOf(probe({ owner: f.owner, schema }))).toBe('tenancy.probe_refused');
    await sql.raw(`grant ${f.database.app} to ${f.database.owner}`).execute(f.superuser);
    const report = await probe({ owner: f.owner, schema });
    expect(formatProbeReport(report)).toMatch(/^clean: 6 tables/m);
    const { rows } = await sql`select from pg_class where relrowsecurity and not relforcerowsecurity`.execute(
      f.owner,
    );
    expect(rows).toEqual([]);
    await sql.raw(`revoke ${f.database.app} from ${f.database.owner}`).execute(f.superuser);
  });

  test('has the same rows and keys afterwards, also when the probe fails half way', async () => {
    const before = await traces();
    await probe({ owner: f.superuser, schema: goldenSchema(f.database.app) });
    expect(await traces()).toEqual(before);
    const broken = () => {
      throw new Error('the values of the caller fail');
    };
    await expect(
      probe({ owner: f.superuser, schema: goldenSchema(f.database.app), rows: { 'app.member': broken } }),
    ).rejects.toThrow('the values of the caller fail');
    expect(await traces()).toEqual(before);
    const { rows } = await sql`select name from pg_prepared_statements where name like 'ringfence%'`.execute(
      f.superuser,
    );
    expect(rows).toEqual([]);
  });
});

describe('a prober that is killed', () => {
  test('leaves nothing', async () => {
    const before = await traces();
    const blocker = f.superuser.connection().execute(async (db) => {
      await sql.raw('begin; lock table app.member in share mode').execute(db);
      const source = `
        import { kyselyOf } from './fixture.ts';
        import { goldenSchema } from './probe-fixture.ts';
        import { probe } from '../src/probe/index.ts';
        await probe({ owner: kyselyOf(process.env.PROBE_URL, 1), schema: goldenSchema(process.env.PROBE_APP) });`;
      const url = new URL(f.database.superuserUrl);
      url.searchParams.set('application_name', 'killed_probe');
      const child = spawn(
        process.execPath,
        ['--conditions=@ringfence/source', '--input-type=module-typescript', '-e', source],
        {
          cwd: fileURLToPath(new URL('.', import.meta.url)),
          env: { ...process.env, PROBE_URL: url.href, PROBE_APP: f.database.app },
          stdio: ['ignore', 'ignore', 'inherit'],
        },
      );
      const exited = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
      const backends = async (condition: string) => {
        const query = `select from pg_stat_activity where application_name = 'killed_probe' and ${condition}`;
        return (await sql.raw(query).execute(f.superuser)).rows.length; // outside the transaction, which sees one snapshot of it
      };
      while ((await backends(`wait_event_type = 'Lock'`)) === 0) {
        if (child.exitCode !== null) throw new Error('the prober ended by itself');
      }
      child.kill('SIGKILL');
      expect(await exited).toBe('SIGKILL');
      await sql.raw('rollback').execute(db);
      while ((await backends('true')) > 0);
    });
    await blocker;
    expect(await traces()).toEqual(before);
  });
});

describe('a table the probe cannot seed', () => {
  const TRIGGER = `create function app.only_known() returns trigger language plpgsql as $$ begin
      if new.title <> 'Known' then raise exception 'the title % is not known', new.title; end if; return new; end $$;
    create trigger known before insert on app.profile for each row execute function app.only_known()`;
  beforeAll(() => f.ddl(TRIGGER));
  afterAll(() => f.ddl('drop trigger known on app.profile; drop function app.only_known'));

  test('is a failure that names it and the trigger, and no value', async () => {
    const report = await probe({ owner: f.superuser, schema: goldenSchema(f.database.app) });
    expect(report.clean).toBe(false);
    expect(report.unprobed.map(({ relation }) => relation)).toEqual(
      expect.arrayContaining(['app.profile', 'app.folder', 'app.note']),
    );
    expect(formatProbeReport(report)).toContain('P0001 in app.only_known');
    expect(formatProbeReport(report)).not.toContain('is not known');
    expect(await codeOf(expectIsolation({ owner: f.superuser, schema: goldenSchema(f.database.app) }))).toBe(
      'tenancy.isolation_failed',
    );
  });

  test('is probed with the values of the caller', async () => {
    const rows = { 'app.profile': () => ({ title: 'Known' }) };
    const report = await probe({ owner: f.superuser, schema: goldenSchema(f.database.app), rows });
    expect(formatProbeReport(report)).toMatch(/^clean/m);
  });

  test('is a failure when it is declared and not there, or has no org_id', async () => {
    const org = { ...GOLDEN_ORG_TABLES, 'app.gone': { key: ['id'] }, 'app.setting': { key: ['name'] } };
    const report = await probe({
      owner: f.superuser,
      schema: goldenSchema(f.database.app, { org, system: {} }),
    });
    expect(report.unprobed.map(({ relation }) => relation)).toEqual(
      expect.arrayContaining(['app.gone', 'app.setting']),
    );
  });

  test('refuses values for a table that is not there', async () => {
    const run = probe({
      owner: f.superuser,
      schema: goldenSchema(f.database.app),
      rows: { 'app.notes': () => ({}) },
    });
    await expect(run).rejects.toThrow(TypeError);
  });
});

describe('a crossing that is wanted', () => {
  const accepted = [
    {
      relation: 'app.note',
      attack: 'unique value' as const,
      object: 'email_once',
      reason: 'one account per address',
    },
  ];

  test('is accepted with its reason, and the acceptance is stale once it is gone', async () => {
    const schema = goldenSchema(f.database.app);
    await f.ddl('create unique index email_once on app.note (email)');
    const report = await probe({ owner: f.superuser, schema, accepted });
    await f.ddl('drop index app.email_once');
    expect(report.attacks.find(({ outcome }) => outcome === 'accepted')?.evidence).toContain(
      'one account per address',
    );
    expect(report.clean).toBe(true);
    expect((await probe({ owner: f.superuser, schema, accepted })).stale).toEqual(accepted);
  });

  test('is accepted alone: not what the same attack finds elsewhere in the table', async () => {
    const schema = goldenSchema(f.database.app);
    await f.ddl(`create unique index email_once on app.note (email);
      create unique index email_open on app.note (email) where status = 'closed'`);
    const report = await probe({ owner: f.superuser, schema, accepted });
    await f.ddl('drop index app.email_once; drop index app.email_open');
    const crossed = report.attacks.filter(({ outcome }) => outcome === 'crossed');
    expect(crossed.map(({ object }) => object)).toEqual(['email_open']);
    expect(report.clean).toBe(false);
  });
});

describe('a database whose contexts are not signed', () => {
  test('is crossed by a forged context, on every table', async () => {
    const unsigned = await goldenDatabase(inject('databaseUrl'), { signed: false });
    const report = await probe({ owner: unsigned.superuser, schema: goldenSchema(unsigned.database.app) });
    const crossed = report.attacks.filter(({ outcome }) => outcome === 'crossed');
    expect(new Set(crossed.map(({ attack }) => attack))).toEqual(new Set(['forged context']));
    expect(crossed).toHaveLength(6);
    await unsigned.close();
  });
});
