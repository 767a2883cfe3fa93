import { expect, inject, test } from 'vitest';
import { checked, policyKyselyMigration, policySql, type SchemaDeclaration } from '../src/policies/index.ts';
import { databaseWith, FRESH_DDL, goldenSchema, VIEWS_DDL } from './policies-setup.ts';

const NOTE = { 'app.note': { key: ['id'] } };

test.each<[string, Partial<SchemaDeclaration>]>([
  ['a table declared twice', { org: NOTE, global: { 'app.note': { key: ['id'] } } }],
  ['a table in a system schema', { org: NOTE, systemSchemas: { app: { reason: 'ops' } } }],
  ['org_id written out', { org: { 'app.note': { key: ['org_id', 'id'] } } }],
  [
    'a reference to a table nobody declared',
    { org: { 'app.note': { key: ['id'], references: [{ columns: ['a'], table: 'app.folder' }] } } },
  ],
  [
    'a reference with another number of columns',
    { org: { 'app.note': { key: ['id'], references: [{ columns: ['a', 'b'], table: 'app.note' }] } } },
  ],
  [
    'a view that reads what nobody declared',
    { org: NOTE, views: { 'app.recent': { reads: ['app.folder'] } } },
  ],
  ['a global table without a key', { org: NOTE, global: { 'app.currency': { key: [] } } }],
])('refuses %s', (_, declaration) => {
  expect(() => checked({ appRole: 'app', org: {}, ...declaration })).toThrow(TypeError);
});

test.each(['note', 'App.note', 'app.note"; drop table x; --', 'app.a.b'])('refuses the name %s', (name) => {
  expect(() => checked({ appRole: 'app', org: { [name]: { key: ['id'] } } })).toThrow(
    expect.objectContaining({ code: 'tenancy.invalid_identifier' }),
  );
});

test('a reason stays in the comment it stands in', () => {
  const schema = checked({
    appRole: 'app',
    org: {},
    system: { 'app.x': { reason: 'ours\ndrop table y;\u2028z' } },
  });
  expect(policySql(schema)).toContain('-- app.x: ours drop table y; z\n');
});

test('a backfill expression for a table that is not org-owned is refused', async () => {
  const { differences } = await import('../src/policies/index.ts');
  const catalog = { relations: [], policies: [], constraints: [], indexes: [], triggers: [], rules: [] };
  expect(() =>
    differences(goldenSchema('app'), catalog as never, { backfill: { 'app.currency': 'code' } }),
  ).toThrow(TypeError);
});

test("a table of the package's own migrations is not isolated a second time", () => {
  const org = { ...NOTE, 'tenancy.job_mark': { key: ['job_id', 'mark'] } };
  const printed = policySql(checked({ appRole: 'app', org }));
  expect(printed).toContain('on "app"."note"');
  expect(printed).not.toContain('job_mark');
});

test('a function is declared with or without spaces between its argument types', () => {
  const reason = 'reads nothing';
  const { definerFunctions } = checked({
    appRole: 'app',
    org: {},
    definerFunctions: { 'app.a(uuid,text)': { reason }, 'app.b(uuid, text)': { reason } },
  });
  expect([...definerFunctions.keys()]).toEqual(['app.a(uuid, text)', 'app.b(uuid, text)']);
});

test('the Kysely migration does what the SQL does', async () => {
  const stage = await databaseWith(
    inject('databaseUrl'),
    () => `${FRESH_DDL}alter table app.note add column org_id uuid;${VIEWS_DDL}`,
  );
  await stage.owner.transaction().execute((trx) => policyKyselyMigration(stage.schema).up(trx));
  expect(await stage.found()).toEqual([]);
  await stage.close();
});

test('tables that state org_id and keys themselves need no generated ones', async () => {
  const keyless = (app: string) => policySql(goldenSchema(app), { keys: false });
  const whole = (app: string) => policySql(goldenSchema(app));
  const stage = await databaseWith(
    inject('databaseUrl'),
    () => `${FRESH_DDL}alter table app.note add column org_id uuid;${VIEWS_DDL}`,
    (app) => {
      const [keys = ''] = whole(app).split('\n\n-- ');
      return keys;
    },
    keyless,
  );
  expect(await stage.found()).toEqual([]);
  await stage.close();
});
