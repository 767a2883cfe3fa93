import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { runDoctor } from '../src/doctor/index.ts';
import { differences, readCatalog, type TenancySchema } from '../src/policies/index.ts';
import { type BreakGlassFixture, breakGlassFixture } from './break-glass-fixture.ts';

let f: BreakGlassFixture;
let schema: TenancySchema;
beforeAll(async () => {
  f = await breakGlassFixture(inject('databaseUrl'));
  schema = { ...f.golden.schema, breakGlassRole: f.role };
});
afterAll(() => f.close());

const found = async (of: TenancySchema) => {
  const kinds = differences(of, await readCatalog(f.owner)).map(({ kind }) => kind);
  const { findings } = await runDoctor({ db: f.owner, schema: of });
  const rules = findings.filter(({ level }) => level !== 'note').map(({ name }) => name);
  return { kinds: [...new Set(kinds)], rules: [...new Set(rules)] };
};

test('generated break-glass policies of the declared role are no finding, and leave the coverage proof whole', async () => {
  const { kinds, rules } = await found(schema);
  expect(kinds.filter((kind) => kind === 'policy')).toEqual([]);
  expect(rules.filter((rule) => /policy|tenancy-function/.test(rule))).toEqual([]);
});

test('they are findings when the declaration names no such role', async () => {
  const { kinds, rules } = await found({ ...schema, breakGlassRole: undefined });
  expect(kinds).toContain('policy');
  expect(rules).toContain('policy-for-other-roles');
});

test.each([
  ['wider', `using (true)`],
  ['for the app role too', `to {role}, {app}`],
])('a break-glass policy that was made %s is a finding', async (_, change) => {
  const to = change.replace('{role}', f.role).replace('{app}', f.golden.database.app);
  await sql.raw(`begin; alter policy ringfence_break_glass on app.note ${to}; commit`).execute(f.owner);
  try {
    const { kinds, rules } = await found(schema);
    expect(kinds).toContain('policy');
    expect(rules).toContain('policy-for-other-roles');
  } finally {
    await sql
      .raw(`alter policy ringfence_break_glass on app.note to ${f.role}
        using (org_id = (select tenancy.break_glass_org('read')))`)
      .execute(f.owner);
  }
});

test('the break-glass functions are compared with those of the migrations', async () => {
  await sql
    .raw(`create or replace function tenancy.close_break_glass() returns void language sql as ''`)
    .execute(f.owner);
  const { rules } = await found(schema);
  expect(rules).toContain('tenancy-function-altered');
});
