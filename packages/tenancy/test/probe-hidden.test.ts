/**
 * Schemas that are broken where the plain attacks see nothing: another command, another context, a right by column, a row that the
 * seeds do not hold, code that answers in place of the policy. The probe has to find each, and be clean again without it.
 */
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { SchemaDeclaration } from '../src/policies/declaration.ts';
import { formatProbeReport, type ProbeReport, probe } from '../src/probe/index.ts';
import { GOLDEN_ORG_TABLES, goldenDatabase, goldenSchema, type ProbeFixture } from './probe-fixture.ts';

let f: ProbeFixture;
beforeAll(async () => {
  f = await goldenDatabase(inject('databaseUrl'));
});
afterAll(() => f.close());

const ddl = async (statements: string) => {
  await sql.raw(statements.replaceAll('$app', f.database.app)).execute(f.superuser);
};

const OWN = 'org_id = (select tenancy.org_id())';
const UNSIGNED = `org_id = nullif(split_part(current_setting('ringfence.context', true), '|', 4), '')::uuid`;

interface Broken {
  readonly name: string;
  readonly mutate: string;
  readonly undo: string;
  readonly declared?: Partial<SchemaDeclaration>;
  /** `relation: attack (object): outcome`. */
  readonly found: readonly string[];
}

/** app.folder with a policy for each command; those left out are right. */
function byCommand(open: { using?: string; insert?: string; update?: string; delete?: string }) {
  const { insert = OWN, update = OWN, delete: remove = OWN } = open;
  return {
    mutate: `drop policy ringfence_org on app.folder; create policy s on app.folder for select using (${OWN});
      create policy i on app.folder for insert with check (${insert}); create policy u on app.folder for update using (${update});
      create policy d on app.folder for delete using (${remove});`,
    undo: `drop policy s on app.folder; drop policy i on app.folder; drop policy u on app.folder; drop policy d on app.folder;
      create policy ringfence_org on app.folder using (${OWN}) with check (${OWN});`,
  };
}

/** One more org-owned table, app.more, whose policy is `using` and `check`. */
function more(
  columns: string,
  { grants = 'select, insert, update, delete', using = OWN, check = '', privileges = ['select'] } = {},
) {
  return {
    mutate: `create table app.more (${columns}); alter table app.more enable row level security, force row level security;
      create policy p on app.more using (${using}) with check (${check === '' ? using : check}); grant ${grants} on app.more to $app;`,
    undo: 'drop table app.more cascade;',
    declared: {
      org: { ...GOLDEN_ORG_TABLES, 'app.more': { key: ['id'], privileges } },
    } as Partial<SchemaDeclaration>,
  };
}

/** One more view, app.more, which runs with the rights of its owner, a superuser. */
function view(query: string, grants: string) {
  const views = Object.fromEntries(goldenSchema('app').views);
  return {
    mutate: `create view app.more as ${query}; grant ${grants} on app.more to $app;`,
    undo: 'drop view app.more;',
    declared: { views: { ...views, 'app.more': { reads: ['app.note', 'app.member'] } } },
  };
}

const REFUSES =
  'begin if new.org_id <> old.org_id then raise insufficient_privilege; end if; return new; end';
const STALE_ORG = `create function app.stale_org() returns uuid immutable language plpgsql as 'begin return tenancy.org_id(); end';`;

const BROKEN: readonly Broken[] = [
  {
    name: 'the policy for INSERT does not verify the context',
    ...byCommand({ insert: UNSIGNED }),
    found: ['app.folder: forged context (insert): crossed', 'app.folder: expired context (insert): crossed'],
  },
  {
    name: 'the policies for UPDATE and DELETE do not verify the context',
    ...byCommand({ update: UNSIGNED, delete: UNSIGNED }),
    found: ['app.folder: forged context (update): crossed', 'app.folder: forged context (delete): crossed'],
  },
  {
    name: 'all rows may be deleted without a context',
    ...byCommand({ delete: `coalesce(current_setting('ringfence.context', true), '') = '' or ${OWN}` }),
    found: ['app.folder: no context (delete): crossed'],
  },
  {
    name: 'WITH CHECK alone does not verify the context',
    mutate: `alter policy ringfence_org on app.folder with check (${UNSIGNED})`,
    undo: `alter policy ringfence_org on app.folder with check (${OWN})`,
    found: ['app.folder: forged context (insert): crossed'],
  },
  {
    name: 'a table that may be written and not read does not verify the context',
    ...more('org_id uuid, id uuid, primary key (org_id, id)', {
      grants: 'insert',
      using: UNSIGNED,
      privileges: ['insert'],
    }),
    found: ['app.more: forged context (insert): crossed'],
  },
  {
    name: 'WITH CHECK calls a function that is declared IMMUTABLE',
    mutate: `${STALE_ORG} alter policy ringfence_org on app.folder with check (org_id = app.stale_org())`,
    undo: `alter policy ringfence_org on app.folder with check (${OWN}); drop function app.stale_org`,
    found: ['app.folder: stale plan (insert): crossed'],
  },
  {
    name: 'the policies for UPDATE and DELETE call a function that is declared IMMUTABLE',
    mutate: `${STALE_ORG} ${byCommand({ update: 'org_id = app.stale_org()', delete: 'org_id = app.stale_org()' }).mutate}`,
    undo: `${byCommand({}).undo} drop function app.stale_org`,
    found: ['app.folder: stale plan (update): crossed', 'app.folder: stale plan (delete): crossed'],
  },
  {
    name: 'a unique index without org_id holds for rows that are not deleted',
    mutate: `alter table app.folder add gone timestamptz; create unique index slip on app.folder (name) where gone is null`,
    undo: 'alter table app.folder drop gone',
    found: ['app.folder: unique value (slip): crossed'],
  },
  {
    name: 'a unique constraint without org_id is checked at the end',
    mutate: 'alter table app.folder add constraint slip unique (name) deferrable initially deferred',
    undo: 'alter table app.folder drop constraint slip',
    found: ['app.folder: unique value (slip): crossed'],
  },
  {
    name: 'a unique index without org_id is on a column that is null in the seeds',
    mutate: 'create unique index slip on app.note (reply_to)',
    undo: 'drop index app.slip',
    found: ['app.note: unique value (slip): crossed'],
  },
  {
    name: 'an exclusion constraint without org_id holds for rows that are not deleted',
    ...more(`org_id uuid, id uuid, during tstzrange not null, gone timestamptz, primary key (org_id, id),
      constraint slip exclude using gist (during with &&) where (gone is null)`),
    found: ['app.more: unique value (slip): crossed'],
  },
  {
    name: 'a unique index is on one partition alone',
    mutate: 'create unique index slip on app.event_2027 (id)',
    undo: 'drop index app.slip',
    found: ['app.event_2027: unique value (slip): crossed'],
  },
  {
    name: 'a foreign key is on one partition alone',
    mutate: `alter table app.event add of uuid, add folder uuid;
      alter table app.event_2027 add constraint slip foreign key (of, folder) references app.folder (org_id, id)`,
    undo: 'alter table app.event drop of, drop folder',
    found: ['app.event_2027: foreign key (slip): inconclusive'],
  },
  {
    name: 'the policy of a partition that may be used directly does not verify the context',
    mutate: `alter table app.event_2026 enable row level security; create policy p on app.event_2026 using (${UNSIGNED});
      grant select, insert on app.event_2026 to $app`,
    undo: `revoke select, insert on app.event_2026 from $app; drop policy p on app.event_2026;
      alter table app.event_2026 disable row level security`,
    found: [
      'app.event_2026: forged context: crossed',
      'app.event_2026: expired context: crossed',
      'app.event_2026: forged context (insert): crossed',
    ],
  },
  {
    name: 'a foreign key refers to one partition',
    mutate: `alter table app.member add partner uuid, add event uuid, add at timestamptz,
      add constraint slip foreign key (partner, event, at) references app.event_2026 (org_id, id, at)`,
    undo: 'alter table app.member drop partner, drop event, drop at',
    found: ['app.member: foreign key (slip): inconclusive'],
  },
  {
    name: 'a partition without rows may be read directly',
    mutate: 'grant select on app.event_2027 to $app',
    undo: 'revoke select on app.event_2027 from $app',
    found: ['app.event_2027: read all: inconclusive'],
  },
  {
    name: 'one column may be read, and all rows',
    ...more('org_id uuid, id uuid, body text, primary key (org_id, id)', {
      grants: 'insert, select (body)',
      using: 'true',
      check: OWN,
      privileges: ['insert'],
    }),
    found: ['app.more: read all: crossed'],
  },
  {
    name: 'a row may be of no organisation',
    ...more('org_id uuid, id uuid not null', { using: `${OWN} or org_id is null` }),
    found: ['app.more: insert (null): crossed', 'app.more: move (null): crossed'],
  },
  {
    name: 'a table inherits from one that all may read',
    mutate: `create table app.base (id uuid not null); grant select on app.base to $app; create table app.kid (org_id uuid, primary key (org_id, id))
      inherits (app.base); alter table app.kid enable row level security, force row level security;
      create policy p on app.kid using (${OWN}); grant select, insert, update, delete on app.kid to $app`,
    undo: 'drop table app.base cascade',
    declared: {
      org: { ...GOLDEN_ORG_TABLES, 'app.kid': { key: ['id'] } },
      global: { 'app.currency': { key: ['code'] }, 'app.base': { key: ['id'] } },
    },
    found: ['app.base: read all (app.kid): crossed'],
  },
  {
    name: 'a view of a superuser shows no row of the seeds',
    ...view("select * from app.note where status = 'closed'", 'select'),
    found: ['app.more: view: inconclusive'],
  },
  {
    name: 'a view of a superuser may be read by column',
    ...view('select * from app.note', 'select (email)'),
    found: ['app.more: view: crossed'],
  },
  {
    name: 'a view of a superuser may be written and not read',
    ...view('select * from app.member', 'insert, update, delete'),
    found: [
      'app.more: write (insert): crossed',
      'app.more: write (update): crossed',
      'app.more: write (delete): crossed',
    ],
  },
  {
    name: 'a function of a superuser refuses the arguments it is asked with',
    mutate: `create function app.mail(n bigint) returns text security definer language plpgsql as $$ begin
      if n is null then raise insufficient_privilege; end if; return (select email from app.note limit 1); end $$`,
    undo: 'drop function app.mail',
    found: ['app.mail(bigint): function: inconclusive'],
  },
  {
    name: 'a function of a superuser lies in a system schema',
    mutate: `create schema sys; grant usage on schema sys to $app;
      create function sys.notes() returns setof app.note security definer language sql as 'select * from app.note'`,
    undo: 'drop schema sys cascade',
    declared: { systemSchemas: { tenancy: { reason: 'keys' }, sys: { reason: 'of the operator' } } },
    found: ['sys.notes(): function: crossed'],
  },
  {
    name: 'a trigger refuses what the policy let through',
    mutate: `create function app.stays() returns trigger language plpgsql as $$ ${REFUSES} $$;
      create trigger stays before update on app.folder for each row execute function app.stays(); ${byCommand({ update: 'true' }).mutate}`,
    undo: `drop trigger stays on app.folder; drop function app.stays; ${byCommand({}).undo}`,
    found: ['app.folder: update: inconclusive'],
  },
  {
    name: 'a trigger writes with the rights of a superuser',
    mutate: `create function app.spread() returns trigger language plpgsql security definer as $$ begin
      update app.folder set name = name || 'x'; return new; end $$;
      create trigger spread after insert on app.member for each row execute function app.spread()`,
    undo: 'drop trigger spread on app.member; drop function app.spread',
    found: ['app.member: function (spread): inconclusive'],
  },
  {
    name: 'a rule adds a statement',
    mutate: 'create rule slip as on update to app.folder do also delete from app.invoice',
    undo: 'drop rule slip on app.folder',
    found: ['app.folder: function (slip): inconclusive'],
  },
  ...['trigger', 'references', 'maintain'].map((privilege) => ({
    name: `${privilege} is granted on an org-owned and on a system table`,
    mutate: `grant ${privilege} on app.folder, app.setting to $app`,
    undo: `revoke ${privilege} on app.folder, app.setting from $app`,
    found: [`app.folder: reach (${privilege}): crossed`, `app.setting: reach (${privilege}): crossed`],
  })),
  {
    name: 'a sequence may be set',
    mutate: 'grant update on sequence app.invoice_number_seq to $app',
    undo: 'revoke update on sequence app.invoice_number_seq from $app',
    found: ['app.invoice_number_seq: sequence (update): crossed'],
  },
  {
    name: 'the app role may take a role with BYPASSRLS',
    mutate: 'create role $app_other bypassrls; grant $app_other to $app',
    undo: 'drop role $app_other',
    found: ['$app_other: become role: crossed'],
  },
  {
    name: 'the app role may take a role whose rights it does not inherit',
    mutate: 'create role $app_other; grant $app_other to $app with inherit false, set true',
    undo: 'drop role $app_other',
    found: ['$app_other: become role: crossed'],
  },
];

function lines(report: ProbeReport): string[] {
  return report.attacks.map(
    ({ relation, attack, object, outcome }) =>
      `${relation}: ${attack}${object === undefined ? '' : ` (${object})`}: ${outcome}`,
  );
}

describe('the probe finds that', () => {
  test.each(BROKEN)('$name', async ({ mutate, undo, declared = {}, found }) => {
    await ddl(mutate);
    let report: ProbeReport;
    try {
      report = await probe({ owner: f.superuser, schema: goldenSchema(f.database.app, declared) });
    } finally {
      await ddl(undo);
    }
    expect(report.clean).toBe(false);
    const expected = found.map((line) => line.replaceAll('$app', f.database.app));
    expect(
      lines(report)
        .filter((line) => expected.includes(line))
        .sort(),
    ).toEqual([...expected].sort());
  });

  test('a partition is declared whose table is not', async () => {
    await ddl(`create table app.whole (org_id uuid, id uuid, primary key (org_id, id)) partition by hash (org_id);
      create table app.part partition of app.whole for values with (modulus 1, remainder 0); grant select on app.whole to $app`);
    const org = { ...GOLDEN_ORG_TABLES, 'app.part': { key: ['id'] } };
    const global = { 'app.currency': { key: ['code'] }, 'app.whole': { key: ['id'] } };
    const report = await probe({ owner: f.superuser, schema: goldenSchema(f.database.app, { org, global }) });
    await ddl('drop table app.whole');
    expect(report.unprobed.map(({ relation }) => relation)).toEqual(['app.part']);
  });
});

test('nothing is left of any of them', async () => {
  const report = await probe({ owner: f.superuser, schema: goldenSchema(f.database.app) });
  expect(formatProbeReport(report)).toMatch(/^clean: /m);
});
