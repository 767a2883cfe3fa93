/** `migrate --print`: what it prints makes the schema that the stores work on; what it does not take is refused. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { authzMigrations } from '../src/migrations.ts';
import { postgresApiKeyStore, settingContext } from '../src/postgres/index.ts';
import { keyStoreCases } from '../src/testing/index.ts';
import { CliStage } from './cli-stage.ts';
import { login } from './postgres-fixture.ts';

let stage: CliStage;
beforeAll(() => {
  stage = new CliStage();
});
afterAll(() => stage.close());

describe('the printed SQL', () => {
  test('run as it stands by the owner, makes the schema of the stores, and a second run changes nothing', async () => {
    const database = await createTestDatabase(inject('databaseUrl'), 'authz_printed');
    const owner = new pg.Client({ connectionString: database.ownerUrl });
    const [app, system] = [login(database.appUrl), login(database.keysUrl)];
    try {
      await owner.connect();
      const roles = ['--app-role', database.app, '--system-role', database.keys];
      const { code, stderr, stdout } = await stage.run(['migrate', '--print', ...roles]);
      expect([code, stderr]).toEqual([0, '']);
      await owner.query(stdout);
      const store = postgresApiKeyStore({ db: system, inOrg: settingContext(app) });
      for (const { run } of keyStoreCases()) await run(store);
      await expect(owner.query(stdout)).rejects.toMatchObject({ code: '42P06' });
      await owner.query('rollback');
      await expect(owner.query('select count(*) from authz.api_key')).resolves.toBeDefined();
    } finally {
      await Promise.all([owner.end(), app.destroy(), system.destroy()]);
      await database.drop();
    }
  });

  test('leaves nothing when it fails half way', async () => {
    const database = await createTestDatabase(inject('databaseUrl'), 'authz_half');
    const owner = new pg.Client({ connectionString: database.ownerUrl });
    try {
      await owner.connect();
      const { stdout } = await stage.run(['migrate', '--print', '--app-role', 'nobody_at_all']);
      const codes = new Set<string>();
      for (const statement of statementsOf(stdout))
        await owner.query(statement).catch(({ code }: { code: string }) => codes.add(code));
      expect([...codes]).toEqual(['42704', '25P02']); // no such role, and from there on nothing
      const { rows } = await owner.query("select 1 from pg_namespace where nspname = 'authz'");
      expect(rows).toEqual([]);
    } finally {
      await owner.end();
      await database.drop();
    }
  });

  test('is that of authzMigrations, with every role and the context given, also as JSON', async () => {
    const args = ['--app-role', 'ledger_app', '--system-role', 'ledger_keys', '--owner-role', 'authz_owner'];
    const all = ['migrate', '--print', ...args, '--org', 'tenancy.org_id()'];
    const expected = authzMigrations({
      appRole: 'ledger_app',
      systemRole: 'ledger_keys',
      ownerRole: 'authz_owner',
      org: 'tenancy.org_id()',
    });
    const { stdout } = await stage.run(all);
    for (const { name, up } of expected)
      expect(stdout).toContain(`-- ${name}\nbegin;\n${up.trim()}\ncommit;\n`);
    const json = await stage.run([...all, '--json']);
    expect(JSON.parse(json.stdout)).toEqual({ command: 'migrate', migrations: expected });
  });
});

/** The statements one by one, as psql sends them, which goes on after an error unless it is told not to. */
function statementsOf(script: string): readonly string[] {
  const parts = script.replace(/--.*$/gm, '').split('$$');
  let marked = '';
  for (const [n, part] of parts.entries()) marked += n % 2 === 0 ? part.replaceAll(';', '\0') : `$$${part}$$`;
  return marked.split('\0').filter((statement) => statement.trim() !== '');
}

test.each<[string, readonly string[], RegExp]>([
  ['no role', ['--print'], /^cli.usage: needs --app-role/],
  ['no --print', ['--app-role', 'app'], /^cli.usage: migrate only prints/],
  ['a role that is SQL', ['--print', '--app-role', 'app"; drop schema x; --'], /^cli.usage: a role name is/],
  ['a role with a line break', ['--print', '--app-role', 'app\nx'], /^cli.usage: a role name is/],
  ['an empty role', ['--print', '--app-role', 'app', '--owner-role', ''], /^cli.usage: a role name is/],
  ['a system role that is SQL', ['--print', '--app-role', 'a', '--system-role', 'b;'], /^cli.usage: a role/],
  ['an app that owns', ['--print', '--app-role', 'a', '--owner-role', 'a'], /^cli.usage: the roles of/],
  [
    'an app that finds keys',
    ['--print', '--app-role', 'a', '--system-role', 'a'],
    /^cli.usage: the roles of/,
  ],
  [
    'an owner that finds keys',
    ['--print', '--app-role', 'a', '--system-role', 'b', '--owner-role', 'b'],
    /^cli.usage: the roles of/,
  ],
  ['a context that is no call', ['--print', '--app-role', 'a', '--org', "x('y')"], /^cli.usage: the organ/],
  ['an argument', ['--print', '--app-role', 'a', 'x'], /^cli.usage: needs options only, got 1/],
  ['an unknown option', ['--print', '--app-role', 'a', '--run'], /^cli.usage: Unknown option/],
])('migrate with %s is 2, a code and one line, and prints no SQL', async (_, args, message) => {
  const { code, stderr, stdout } = await stage.run(['migrate', ...args]);
  expect([code, stdout, stderr.split('\n').length]).toEqual([2, '', 2]);
  expect(stderr).toMatch(message);
  const { error } = JSON.parse((await stage.run(['migrate', ...args, '--json'])).stdout);
  expect(`${error.code}: ${error.message}`).toMatch(message);
});
