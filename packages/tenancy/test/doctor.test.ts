import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { readCatalog } from '../src/catalog/read-catalog.ts';
import { checkPlans, examine, formatReport, readFacts, runDoctor, toSarif } from '../src/doctor/index.ts';
import { RULES } from '../src/doctor/rules.ts';
import { VULNERABILITIES } from '../src/doctor/server-rules.ts';
import { createTenancy, type OrgDb } from '../src/index.ts';
import { checked } from '../src/policies/declaration.ts';
import { differences } from '../src/policies/differences.ts';
import { ALICE, kyselyOf, ORG_A, ORG_B } from './fixture.ts';
import { type Golden, golden } from './golden-schema.ts';

let g: Golden;
let pool: pg.Pool;
let app: OrgDb<unknown>;
beforeAll(async () => {
  g = await golden(inject('databaseUrl'));
  pool = new pg.Pool({ connectionString: g.database.appUrl, max: 1 });
  pool.on('error', () => {}); // dropping the database ends what is idle
  app = createTenancy<unknown>({ pool, contextKey: g.contextKey }).forOrg(ORG_A, ALICE);
});
afterAll(async () => {
  await pool.end();
  await g.close();
});

/** Runs while a change of the owner is in force. */
async function changed<T>(up: string, down: string, run: () => Promise<T>): Promise<T> {
  await sql.raw(up).execute(g.owner);
  try {
    return await run();
  } finally {
    await sql.raw(down).execute(g.owner);
  }
}

describe('a schema in which everything is as generated', () => {
  test('has no error and no warning, plans included', async () => {
    const report = await runDoctor({ db: g.owner, schema: g.schema, app });
    expect(report.findings.filter(({ level }) => level !== 'note')).toEqual([]);
    expect(report.findings.map(({ name }) => name)).toEqual(['activity-readable', 'volumes-readable']);
    expect(report).toMatchObject({ orgTables: 5, plans: 9, counts: { error: 0, warning: 0, note: 2 } });
  });

  test('has one note less where activity is not readable', async () => {
    const trx = await g.superuser.startTransaction().execute();
    const { findings } = await runDoctor({ db: g.owner, schema: g.schema });
    const { remedy = '' } = findings.find(({ name }) => name === 'activity-readable') ?? {};
    const [view = '', functions = ''] = remedy.split(';');
    for (const half of [view, functions]) {
      await sql`savepoint half`.execute(trx);
      await sql.raw(half).execute(trx);
      const left = await runDoctor({ db: trx, schema: g.schema });
      expect(left.findings.map(({ name }) => name)).toContain('activity-readable');
      await sql`rollback to half`.execute(trx);
    }
    await sql.raw(remedy).execute(trx);
    const report = await runDoctor({ db: trx, schema: g.schema });
    await trx.rollback().execute();
    expect(report.findings.map(({ name }) => name)).toEqual(['volumes-readable']);
  });

  test('gives the same report from a kept snapshot', async () => {
    const facts = await readFacts(g.owner, g.schema.appRole);
    const catalog = JSON.parse(JSON.stringify(await readCatalog(g.owner)));
    expect(examine(catalog, g.schema, facts)).toEqual(await runDoctor({ db: g.owner, schema: g.schema }));
  });

  test('is examined by a role that may not read the context keys, too', async () => {
    const facts = await readFacts(app, g.schema.appRole);
    expect(facts).toMatchObject({ contextKeys: null, activityReadable: true });
    expect((await readFacts(g.owner, g.schema.appRole)).contextKeys).toBe(1);
  });
});

test('a database without schema tenancy is told to run the migrations, once', async () => {
  const empty = await createTestDatabase(inject('databaseUrl'), 'doctor');
  const db = kyselyOf<unknown>(empty.ownerUrl, 1);
  try {
    const schema = checked({ appRole: empty.app, org: {}, global: {}, system: {} });
    const { findings } = await runDoctor({ db, schema });
    const missing = findings.filter(({ name }) => name === 'tenancy-function-altered');
    expect(missing).toMatchObject([{ object: 'tenancy', level: 'error' }]);
    expect(missing[0]?.remedy).toContain('tenancyMigrations');
  } finally {
    await db.destroy();
    await empty.drop();
  }
});

test('one function that is missing among the others is named itself', async () => {
  const facts = await readFacts(g.owner, g.schema.appRole);
  const catalog = await readCatalog(g.owner);
  const [kept, ...lost] = facts.tenancyFunctions;
  if (kept === undefined) throw new Error('no function of schema tenancy');
  const report = examine(catalog, g.schema, { ...facts, tenancyFunctions: [kept] });
  const missing = report.findings.filter(({ name }) => name === 'tenancy-function-altered');
  expect(missing.length).toBe(lost.length);
  expect(missing.every(({ message }) => message === 'it is missing')).toBe(true);
});

test('a role that acknowledges before a change is on the disk is found, whoever set it so', async () => {
  const role = g.schema.appRole;
  for (const off of ['off', 'false', 'no', '0']) {
    const trx = await g.superuser.startTransaction().execute();
    await sql.raw(`alter role ${role} set synchronous_commit = ${off}`).execute(trx);
    const report = await runDoctor({ db: trx, schema: g.schema });
    await trx.rollback().execute();
    expect(report.findings.map(({ name }) => name)).toContain('session-setting-unsafe');
  }
});

test('a partition of an org-owned table that is declared global shows the rows of all organisations', async () => {
  const { app: appRole } = g.database;
  const partition = 'app.reading_2026';
  const schema = {
    ...g.schema,
    global: new Map([...g.schema.global, [partition, { key: ['org_id', 'id', 'at'] }]]),
  };
  const [findings, found] = await changed(
    `alter table ${partition} enable row level security, force row level security;
     create policy ringfence_global on ${partition} for select to ${appRole} using (true);
     grant select on ${partition} to ${appRole};`,
    `revoke all on ${partition} from ${appRole}; drop policy ringfence_global on ${partition};
     alter table ${partition} disable row level security, no force row level security;`,
    async () => [
      (await runDoctor({ db: g.owner, schema })).findings,
      differences(schema, await readCatalog(g.owner)),
    ],
  );
  expect(findings).toContainEqual(expect.objectContaining({ name: 'child-table-open', object: partition }));
  expect(found).toContainEqual(expect.objectContaining({ kind: 'partition', relation: partition }));
});

test('a BEFORE trigger of a referential action sees all organisations, and is told of until it is declared', async () => {
  const trigger = (when: string, event: string) =>
    `create trigger count_notes ${when} ${event} on app.note for each row execute function app.count_notes();`;
  const named = (schema: typeof g.schema) => async () =>
    (await runDoctor({ db: g.owner, schema })).findings.filter(({ name }) => name === 'trigger-as-owner');
  const down = 'drop function app.count_notes() cascade; drop table app.counted;';
  const make = (settings: string) => `create table app.counted (who text, forced boolean, notes bigint);
    create function app.count_notes() returns trigger language plpgsql ${settings} as $$ begin
      insert into app.counted select current_user, row_security_active('app.note'), count(*) from app.note;
      return old; end $$;`;
  const declared = {
    ...g.schema,
    definerFunctions: new Map([...g.schema.definerFunctions, ['app.count_notes()', { reason: 'counts' }]]),
  };
  const fixed = 'set search_path = pg_catalog, pg_temp';
  expect(await changed(make(fixed) + trigger('before', 'delete'), down, named(g.schema))).toHaveLength(1);
  expect(await changed(make(fixed) + trigger('before', 'delete'), down, named(declared))).toEqual([]);
  expect(await changed(make('') + trigger('before', 'delete'), down, named(declared))).toHaveLength(1);
  // What is deleted is not updated, and what comes after runs as the app role.
  expect(await changed(make(fixed) + trigger('before', 'update'), down, named(g.schema))).toEqual([]);
  expect(await changed(make(fixed) + trigger('after', 'delete'), down, named(g.schema))).toEqual([]);

  const trx = await g.superuser.startTransaction().execute();
  try {
    await sql
      .raw(`${make(fixed)} ${trigger('before', 'delete')} alter table app.counted owner to ${g.database.owner};
      alter function app.count_notes() owner to ${g.database.owner};
      insert into app.folder (org_id, id, name) values ('${ORG_A}', '${ORG_A}', 'a'), ('${ORG_B}', '${ORG_B}', 'b');
      insert into app.note (org_id, id, folder_id, title) select org_id, id, id, name from app.folder;
      delete from app.folder where org_id = '${ORG_A}';`)
      .execute(trx);
    const { rows } = await sql`select * from app.counted`.execute(trx);
    expect(rows).toEqual([{ who: g.database.owner, forced: false, notes: '2' }]);
  } finally {
    await trx.rollback().execute();
  }
});

describe('the rules', () => {
  test('have unique ids and names, in order', () => {
    const ids = RULES.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)].sort());
    expect(new Set(RULES.map(({ name }) => name)).size).toBe(RULES.length);
    for (const { name } of RULES) expect(name).toMatch(/^[a-z]+(-[a-z]+)+$/);
  });

  test.each([
    [140_023, ['server-unsupported']],
    [150_002, ['server-vulnerable']],
    [160_014, []],
    [170_009, ['server-vulnerable']],
    [170_010, []],
    [180_003, ['server-vulnerable']],
    [180_004, []],
    [190_000, []],
  ])('judge server version %i: %j', async (serverVersion, names) => {
    const catalog = { ...(await readCatalog(g.owner)), serverVersion };
    const { findings } = examine(catalog, g.schema, await readFacts(g.owner, g.schema.appRole));
    const found = findings.filter(({ rule }) => rule.startsWith('RF7'));
    const major = Math.floor(serverVersion / 10_000);
    const open = VULNERABILITIES.filter(({ fixed }) => (fixed[major] ?? 0) > serverVersion % 10_000);
    const seen = [...new Set(found.map(({ name }) => name))];
    if (major >= 15) expect(found).toHaveLength(open.length);
    expect(seen.filter((name) => name !== 'server-vulnerable' || major >= 15)).toEqual(names);
  });

  test('see row_security = off in the configuration of the server', async () => {
    const facts = { ...(await readFacts(g.owner, g.schema.appRole)), serverSettings: ['row_security=off'] };
    const { findings } = examine(await readCatalog(g.owner), g.schema, facts);
    expect(findings[0]).toMatchObject({
      name: 'session-setting-unsafe',
      object: 'the configuration of the server',
    });
  });
});

describe('the plan check', () => {
  test('sees a table whose organisation no index enters', async () => {
    const plans = await changed(
      'alter table app.setting drop constraint setting_pkey',
      'alter table app.setting add primary key (org_id)',
      () => checkPlans(app, g.schema),
    );
    expect(plans.filter(({ indexed }) => !indexed)).toEqual([
      { table: 'app.setting', statement: 'list', indexed: false, perRow: undefined },
    ]);
    const report = examine(
      await readCatalog(g.owner),
      g.schema,
      await readFacts(g.owner, g.schema.appRole),
      plans,
    );
    expect(report.findings[0]).toMatchObject({ name: 'plan-without-org-index', object: 'app.setting' });
  });

  test.each([
    ['a cast', 'org_id::text = (select tenancy.org_id()::text)', 'plan-without-org-index'],
    ['a volatile call', "org_id = tenancy.org_id() and tenancy.kind() > ''", 'plan-filters-by-function'],
    [
      'a membership subquery per row',
      'exists (select from app.setting s where s.org_id = folder.org_id and s.locale > folder.name)',
      'plan-filters-by-function',
    ],
  ])('sees %s in the policy', async (_, using, rule) => {
    const plans = await changed(
      `alter policy ringfence_org on app.folder using (${using})`,
      'alter policy ringfence_org on app.folder using (org_id = (select tenancy.org_id()))',
      () => checkPlans(app, g.schema),
    );
    const report = examine(
      await readCatalog(g.owner),
      g.schema,
      await readFacts(g.owner, g.schema.appRole),
      plans,
    );
    expect(report.findings).toContainEqual(expect.objectContaining({ name: rule, object: 'app.folder' }));
  });

  test('leaves the planner of the pooled connection as it was', async () => {
    await checkPlans(app, g.schema);
    const { rows } = await sql`select current_setting('enable_seqscan') as setting`.execute(app);
    expect(rows).toEqual([{ setting: 'on' }]);
  });
});

describe('a report', () => {
  const ESCAPE = '\u001b';
  const broken = () =>
    changed(
      'alter table app.note disable row level security; alter table app.folder no force row level security',
      'alter table app.note enable row level security; alter table app.folder force row level security',
      () => runDoctor({ db: g.owner, schema: g.schema }),
    );

  test('reads worst first, aligned, with remedies, and coloured only when asked', async () => {
    const report = await broken();
    const text = formatReport(report);
    expect(text).not.toContain(ESCAPE);
    expect(text.indexOf('error    RF101 rls-disabled')).toBe(0);
    expect(text.indexOf('error    RF102')).toBeLessThan(text.indexOf('note     RF806'));
    expect(text).toContain('alter table "app"."note" enable row level security;');
    expect(text).toMatch(/5 org-owned tables, \d+ rules, 0 plans\n2 errors, 0 warnings, 2 notes\n$/);
    expect(formatReport(report, { colour: true })).toContain(`${ESCAPE}[31merror`);
  });

  test('is a SARIF 2.1.0 log with the properties its schema requires', async () => {
    const log = toSarif(await broken(), { declarationFile: 'src/schema.ts' });
    expect(JSON.parse(JSON.stringify(log))).toEqual({
      $schema: expect.stringMatching(/sarif-schema-2\.1\.0\.json$/),
      version: '2.1.0',
      runs: [
        {
          tool: { driver: { name: expect.any(String), rules: expect.any(Array) } },
          results: expect.any(Array),
        },
      ],
    });
    const [run] = log.runs as [
      { tool: { driver: { rules: { id: string }[] } }; results: Record<string, unknown>[] },
    ];
    expect(run.results).toHaveLength(4);
    for (const result of run.results) {
      expect(result).toMatchObject({
        message: { text: expect.stringMatching(/.+/) },
        level: expect.stringMatching(/^(error|warning|note)$/),
        locations: [
          {
            physicalLocation: { artifactLocation: { uri: 'src/schema.ts' } },
            logicalLocations: [{ fullyQualifiedName: expect.any(String) }],
          },
        ],
      });
      expect(run.tool.driver.rules[result['ruleIndex'] as number]?.id).toBe(result['ruleId']);
    }
  });

  test('cannot be steered by the name of an object', async () => {
    const name = `x\u001b[2J\n; drop table app.note; --`;
    const report = await changed(`create table app."${name}" (id int)`, `drop table app."${name}"`, () =>
      runDoctor({ db: g.owner, schema: g.schema }),
    );
    expect(report.findings[0]).toMatchObject({ name: 'relation-unclassified' });
    expect(JSON.stringify(report.findings)).not.toMatch(/\\u001b|\\n/);
  });

  test('quotes a name that tries to end its quotes', async () => {
    const report = await changed(
      `create table app."a""; drop table app.note; --" () inherits (app.note); grant select on app."a""; drop table app.note; --" to ${g.database.app}`,
      `drop table app."a""; drop table app.note; --"`,
      () => runDoctor({ db: g.owner, schema: g.schema }),
    );
    const remedy = report.findings.find(({ name }) => name === 'child-table-open')?.remedy;
    expect(remedy).toBe(`revoke all on "app"."a""; drop table app.note; --" from "${g.database.app}";`);
  });
});
