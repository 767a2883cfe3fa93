import { expectTypeOf, test } from 'vitest';
import { declareSchema, type TenancySchema } from '../src/policies/index.ts';

interface Database {
  'app.note': object;
  'app.currency': object;
}

test('a declaration names every table of the database type', () => {
  const note = { 'app.note': { key: ['id'] } } as const;
  const currency = { 'app.currency': { key: ['code'] } } as const;
  expectTypeOf(
    declareSchema<Database>()({ appRole: 'app', org: note, global: currency }),
  ).toEqualTypeOf<TenancySchema>();
  // @ts-expect-error app.currency is not classified
  declareSchema<Database>()({ appRole: 'app', org: note });
});
