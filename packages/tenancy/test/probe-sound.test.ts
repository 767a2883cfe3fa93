/** Schemas that are isolated and unusual: the probe has to seed them, and to find nothing. */
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { SchemaDeclaration } from '../src/policies/declaration.ts';
import { orgTablePolicy } from '../src/policies/index.ts';
import { formatProbeReport, probe } from '../src/probe/index.ts';
import { GOLDEN_ORG_TABLES, goldenDatabase, goldenSchema, type ProbeFixture } from './probe-fixture.ts';

let f: ProbeFixture;
beforeAll(async () => {
  f = await goldenDatabase(inject('databaseUrl'));
});
afterAll(() => f.close());

const OWN = 'org_id = (select tenancy.org_id())';
const KEY = 'org_id uuid, id uuid, primary key (org_id, id)';

interface Sound {
  readonly name: string;
  readonly ddl: string;
  /** Org-owned tables it makes, which get policy and grants. */
  readonly tables?: readonly string[];
  readonly declared?: Partial<SchemaDeclaration>;
  readonly undo?: string;
}

/** A function for a trigger on app.x; `body` is PL/pgSQL. */
function trigger(when: string, body: string): string {
  return `create function app.f() returns trigger language plpgsql as $$ begin ${body} end $$;
    create trigger f ${when} execute function app.f()`;
}

const LISTING = 'create table app.organisation (id uuid primary key, name text not null unique);';

const SOUND: readonly Sound[] = [
  {
    name: 'a policy for each command',
    ddl: `drop policy ringfence_org on app.folder; create policy s on app.folder for select using (${OWN});
      create policy i on app.folder for insert with check (${OWN}); create policy u on app.folder for update using (${OWN});
      create policy d on app.folder for delete using (${OWN})`,
    undo: `drop policy s on app.folder; drop policy i on app.folder; drop policy u on app.folder; drop policy d on app.folder;
      create policy ringfence_org on app.folder using (${OWN}) with check (${OWN})`,
  },
  {
    name: 'a table that may be written and not read',
    ddl: `create table app.x (${KEY}); alter table app.x enable row level security, force row level security;
      create policy p on app.x using (${OWN}) with check (${OWN}); grant insert on app.x to $app`,
    declared: { org: { ...GOLDEN_ORG_TABLES, 'app.x': { key: ['id'], privileges: ['insert'] } } },
  },
  {
    name: 'a column org_id that may be null',
    ddl: 'create table app.x (org_id uuid, id uuid not null)',
    tables: ['x'],
  },
  {
    name: 'a unique index over an expression of org_id',
    ddl: "create unique index fine on app.folder (md5(org_id::text || name)) where name <> 'x'",
    undo: 'drop index app.fine',
  },
  {
    name: 'an exclusion constraint that compares org_id',
    ddl: 'create table app.x (org_id uuid, id uuid, primary key (org_id, id), exclude using btree (org_id with =, id with =))',
    tables: ['x'],
  },
  {
    name: 'a trigger that writes a row of another table',
    ddl: trigger(
      'after insert on app.profile for each row',
      "insert into app.folder (org_id, name) values (new.org_id, 'Inbox'); return new;",
    ),
  },
  {
    name: 'a trigger that makes the one row of an organisation',
    ddl: `create table app.x (org_id uuid primary key, title text not null default 'x'); create table app.y (${KEY});
      ${trigger('after insert on app.y for each row', 'insert into app.x values (new.org_id) on conflict do nothing; return new;')}`,
    tables: ['x', 'y'],
  },
  {
    name: 'a trigger that keeps an audit trail under row-level security',
    ddl: `create table app.x (org_id uuid, id bigint generated always as identity, what text, primary key (org_id, id));
      create table app.y (${KEY}); ${trigger(
        'before insert or update on app.y for each row',
        'insert into app.x (org_id, what) values (new.org_id, tg_op); return new;',
      )}`,
    tables: ['x', 'y'],
  },
  {
    name: 'a trigger that puts every row into the own organisation',
    ddl: `create table app.x (${KEY}); ${trigger('before insert on app.x for each row', 'new.org_id := tenancy.org_id(); return new;')}`,
    tables: ['x'],
  },
  {
    name: 'a trigger that refuses a row of another organisation',
    ddl: `create table app.x (${KEY}); ${trigger(
      'before insert on app.x for each row',
      'if new.org_id <> tenancy.org_id() then raise insufficient_privilege; end if; return new;',
    )}`,
    tables: ['x'],
  },
  {
    name: 'a trigger that refuses another organisation for a row',
    ddl: `create table app.x (${KEY}); ${trigger(
      'before update on app.x for each row',
      "if new.org_id <> old.org_id then raise exception 'rows stay'; end if; return new;",
    )}`,
    tables: ['x'],
  },
  {
    name: 'a trigger that refuses every change',
    ddl: `create table app.x (${KEY}); ${trigger('before update or delete on app.x for each statement', "raise exception 'append only';")}`,
    tables: ['x'],
  },
  {
    name: 'a role whose rights the app role inherits',
    ddl: 'create role $app_other; grant $app_other to $app',
    undo: 'drop role $app_other',
  },
  ...(['system', 'global'] as const).map((kind) => ({
    name: `a ${kind} table that lists the organisations`,
    ddl: `${LISTING} ${kind === 'global' ? 'grant select on app.organisation to $app;' : ''} insert into app.organisation values (gen_random_uuid(), 'Real');
      create table app.x (org_id uuid references app.organisation (id), id uuid, primary key (org_id, id))`,
    tables: ['x'],
    declared:
      kind === 'global'
        ? { global: { 'app.currency': { key: ['code'] }, 'app.organisation': { key: ['id'] } } }
        : {
            system: {
              'app.setting': { reason: 'settings' },
              'app.gate': { reason: 'a lock' },
              'app.organisation': { reason: 'made at sign-up' },
            },
          },
    undo: 'drop table app.organisation cascade',
  })),
  {
    name: 'names that have to be quoted',
    ddl: `create domain app.d as text check (value ~ '^[a-z]{3}$'); create schema "a.b"; create table "a.b".t (id int); create sequence "a.b".s;
      create table app.x (org_id uuid, id uuid, "a""b" int not null check ("a""b" > 3), "$&" app.d not null, y uuid not null, primary key (org_id, id));
      create table app.y (org_id uuid, id uuid, x uuid not null, primary key (org_id, id),
        constraint "e""v.il" foreign key (org_id, x) references app.x (org_id, id) deferrable);
      alter table app.x add constraint "o""dd" foreign key (org_id, y) references app.y (org_id, id) deferrable`,
    tables: ['x', 'y'],
    undo: 'drop schema "a.b" cascade; drop domain app.d cascade',
  },
  {
    name: 'numbers at the edge of their type',
    ddl: `create table app.x (org_id uuid, id uuid, a smallint not null check (a > 508), b int not null check (b > 2147483000), primary key (org_id, id))`,
    tables: ['x'],
  },
  {
    name: 'a check that wants one of two columns',
    ddl: 'create table app.x (org_id uuid, id uuid, a text, b text, primary key (org_id, id), check (num_nonnulls(a, b) = 1))',
    tables: ['x'],
  },
  {
    name: 'as many columns as a table can have',
    ddl: `create table app.x (org_id uuid, id uuid, ${Array.from({ length: 1598 }, (_, i) => `c${i} boolean not null`).join(', ')}, primary key (org_id, id))`,
    tables: ['x'],
  },
];

describe('is clean:', () => {
  test.each(SOUND)('$name', async ({ ddl, tables = [], declared = {}, undo = '' }) => {
    const run = (text: string) =>
      sql.raw(text.replaceAll('$app', f.database.app) || 'select 1').execute(f.superuser);
    const policies = tables.map((table) =>
      orgTablePolicy({ table: `app.${table}`, appRole: f.database.app }),
    );
    const org = {
      ...GOLDEN_ORG_TABLES,
      ...Object.fromEntries(tables.map((table) => [`app.${table}`, { key: ['id'] }])),
    };
    await run(`${ddl}; ${policies.join(' ')}`);
    const report = await probe({
      owner: f.superuser,
      schema: goldenSchema(f.database.app, { org, ...declared }),
    });
    await run(`drop table if exists app.x, app.y cascade; ${undo}; drop function if exists app.f cascade`);
    expect(formatProbeReport(report)).toMatch(/^clean: /m);
    expect(report.tables).toBe(Object.keys(declared.org ?? org).length);
  });
});
