/**
 * The functions this version generates in schema `tenancy`, out of its own migrations, so that the live ones can be
 * compared with them. Each exists in two variants at most: with the signature of the context verified and without.
 */
import { breakGlassMigrations } from '../break-glass/migrations.ts';
import type { Trigger } from '../catalog/catalog.ts';
import { jobMigrations } from '../jobs/migrations.ts';
import { tenancyMigrations } from '../migrations/tenancy-migrations.ts';
import type { InstalledFunction } from './facts.ts';

const DEFINITION =
  /create (?:or replace )?function tenancy\.(\w+)\(([^)]*)\)([\s\S]*?)(?:as \$(\w*)\$([\s\S]*?)\$\4\$|(return [\s\S]*?));/g;

/** Identity of a function: name and number of input arguments. */
export function identityOf(of: Pick<InstalledFunction, 'name' | 'inputs'>): string {
  return `${of.name}/${of.inputs}`;
}

/** The functions of the migrations, by identity; with those of the job record and of break-glass access where installed. */
export function expectedFunctions(
  signedContext: boolean,
  installed: { readonly jobs: boolean; readonly breakGlass: boolean } = { jobs: false, breakGlass: false },
): ReadonlyMap<string, InstalledFunction> {
  const expected = new Map<string, InstalledFunction>();
  const migrations = [
    ...tenancyMigrations({ appRole: 'app', signedContext }),
    ...(installed.jobs ? jobMigrations({ appRole: 'app' }) : []),
    ...(installed.breakGlass ? breakGlassMigrations({ role: 'app' }) : []),
  ];
  for (const { up } of migrations) {
    for (const [, name = '', parameters = '', options = '', , block, expression] of up.matchAll(DEFINITION)) {
      const inputs = parameters.split(',').filter((each) => !/^\s*(out\s|$)/.test(each)).length;
      const path = /set search_path = ([\w, ]+?)(?= as|$)/.exec(options.trim())?.[1];
      const one: InstalledFunction = {
        name,
        inputs,
        body: block ?? expression ?? '',
        securityDefiner: /\bsecurity definer\b/.test(options),
        volatility: /\b(immutable|stable)\b/.exec(options)?.[1] ?? 'volatile',
        settings: path === undefined ? [] : [`search_path=${path}`],
      };
      expected.set(identityOf(one), one);
    }
  }
  return expected;
}

const TRIGGER = /create trigger (\w+) [^;]*? on (tenancy\.\w+) [^;]*?execute function (tenancy\.\w+\(\))/g;

/** The triggers of the migrations of the job record, the only ones there are. */
export function expectedTriggers(): readonly Pick<Trigger, 'name' | 'relation' | 'function'>[] {
  return jobMigrations({ appRole: 'app' }).flatMap(({ up }) =>
    [...up.matchAll(TRIGGER)].map(([, name = '', relation = '', called = '']) => ({
      name,
      relation,
      function: called,
    })),
  );
}

/** Whether a live function is the expected one. */
export function sameFunction(live: InstalledFunction, expected: InstalledFunction | undefined): boolean {
  return (
    expected !== undefined &&
    comparable(live.body) === comparable(expected.body) &&
    live.securityDefiner === expected.securityDefiner &&
    live.volatility === expected.volatility &&
    live.settings.join() === expected.settings.join()
  );
}

/** PostgreSQL prints a standard SQL body back with casts and parentheses of its own, and without the visible schema. */
function comparable(body: string): string {
  const text = body.trim();
  if (!/^return\b/i.test(text)) return text;
  return text.replaceAll(/pg_catalog\.|::text|[\s()]/g, '').toLowerCase();
}
