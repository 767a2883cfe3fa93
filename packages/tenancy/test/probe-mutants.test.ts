/** For each kind of attack a schema that it crosses: the probe has to find it, and the golden schema has to be clean again. */
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import {
  type AttackName,
  formatProbeReport,
  type Outcome,
  type ProbeReport,
  probe,
} from '../src/probe/index.ts';
import { goldenDatabase, goldenSchema, type ProbeFixture } from './probe-fixture.ts';

let f: ProbeFixture;
beforeAll(async () => {
  f = await goldenDatabase(inject('databaseUrl'));
});
afterAll(() => f.close());

const asSuperuser = async (statements: string) => {
  await sql
    .raw(statements.replaceAll('$app', f.database.app).replaceAll('$owner', f.database.owner))
    .execute(f.superuser);
};

const OWN = 'org_id = (select tenancy.org_id())';
const UNSIGNED = `org_id = nullif(split_part(current_setting('ringfence.context', true), '|', 4), '')::uuid`;

type Finding = `${string}: ${AttackName}`;

interface Mutant {
  readonly name: string;
  readonly mutate: string;
  readonly undo: string;
  readonly found: readonly Finding[];
  /** What stays without proof either way, which fails the report too. */
  readonly inconclusive?: readonly Finding[];
}

const MUTANTS: readonly Mutant[] = [
  {
    name: 'the app role is a member of the owner',
    mutate: 'grant $owner to $app',
    undo: 'revoke $owner from $app',
    found: ['app.note: become owner', 'app.event: become owner'],
  },
  {
    name: 'the app role has BYPASSRLS',
    mutate: 'alter role $app bypassrls',
    undo: 'alter role $app nobypassrls',
    found: ['app.note: read by organisation', 'app.folder: no context'],
  },
  {
    name: 'row-level security is off',
    mutate: 'alter table app.folder disable row level security',
    undo: 'alter table app.folder enable row level security',
    found: (
      [
        'read by organisation',
        'read by key',
        'read all',
        'lock',
        'insert',
        'move',
        'update',
        'delete',
        'upsert',
        'insert or ignore',
        'no context',
        'forged context',
        'expired context',
        'stale plan',
      ] as const
    ).map((attack) => `app.folder: ${attack}` as const),
  },
  {
    name: 'a second policy lets everyone through',
    mutate: 'create policy open on app.note using (true)',
    undo: 'drop policy open on app.note',
    found: ['app.note: read by organisation', 'app.note: insert', 'app.note: delete'],
  },
  {
    name: 'a policy lets everyone read',
    mutate: 'create policy open on app.note for select using (true)',
    undo: 'drop policy open on app.note',
    found: ['app.note: read by organisation', 'app.note: read by key', 'app.note: read all'],
  },
  {
    name: 'a policy lets everyone insert',
    mutate: 'create policy open on app.note for insert with check (true)',
    undo: 'drop policy open on app.note',
    found: ['app.note: insert', 'app.note: insert or ignore'],
  },
  {
    name: 'a policy lets everyone update, though not read',
    mutate: `create policy open on app.note for update using (true) with check (${OWN})`,
    undo: 'drop policy open on app.note',
    found: ['app.note: update'],
  },
  {
    name: 'a policy lets everyone delete, though not read',
    mutate: 'create policy open on app.note for delete using (true)',
    undo: 'drop policy open on app.note',
    found: ['app.note: delete'],
  },
  {
    name: 'rows may be moved out',
    mutate: 'alter policy ringfence_org on app.folder with check (true)',
    undo: `alter policy ringfence_org on app.folder with check (${OWN})`,
    found: ['app.folder: move', 'app.folder: insert'],
  },
  {
    name: 'the policy does not verify the context',
    mutate: `alter policy ringfence_org on app.invoice using (${UNSIGNED}) with check (${UNSIGNED})`,
    undo: `alter policy ringfence_org on app.invoice using (${OWN}) with check (${OWN})`,
    found: ['app.invoice: forged context', 'app.invoice: expired context'],
    inconclusive: ['app.invoice: no context'],
  },
  {
    name: 'the policy calls a function that is declared IMMUTABLE',
    mutate: `create function app.current_org() returns uuid immutable language plpgsql as 'begin return tenancy.org_id(); end';
      alter policy ringfence_org on app.note using (org_id = app.current_org())`,
    undo: `alter policy ringfence_org on app.note using (${OWN}); drop function app.current_org()`,
    found: ['app.note: stale plan'],
  },
  {
    name: 'the partition with the rows may be read and emptied directly',
    mutate: 'grant all on app.event_2026 to $app',
    undo: 'revoke all on app.event_2026 from $app',
    found: [
      'app.event_2026: read by organisation',
      'app.event_2026: read all',
      'app.event_2026: delete',
      'app.event_2026: truncate',
      'app.event_2026: insert',
    ],
  },
  {
    name: 'the primary key has no org_id',
    mutate:
      'alter table app.member drop constraint member_pkey, add constraint member_pkey primary key (note_id)',
    undo: 'alter table app.member drop constraint member_pkey, add constraint member_pkey primary key (org_id, note_id)',
    found: ['app.member: unique value'],
  },
  {
    name: 'a unique constraint has no org_id',
    mutate: 'alter table app.note add constraint email_once unique (email)',
    undo: 'alter table app.note drop constraint email_once',
    found: ['app.note: unique value'],
  },
  {
    name: 'a unique index over an expression has no org_id',
    mutate: 'create unique index email_lower on app.note (lower(email))',
    undo: 'drop index app.email_lower',
    found: ['app.note: unique value'],
  },
  {
    name: 'a foreign key has no org_id',
    mutate: `alter table app.folder add constraint folder_id unique (id); alter table app.note drop constraint note_folder,
      add constraint note_folder foreign key (folder_id) references app.folder (id) on delete cascade`,
    undo: `alter table app.note drop constraint note_folder, add constraint note_folder foreign key (org_id, folder_id)
      references app.folder (org_id, id) on delete cascade; alter table app.folder drop constraint folder_id`,
    found: ['app.note: foreign key', 'app.note: cascade', 'app.folder: unique value'],
  },
  {
    name: 'TRUNCATE is granted',
    mutate: 'grant truncate on app.invoice to $app',
    undo: 'revoke truncate on app.invoice from $app',
    found: ['app.invoice: truncate'],
  },
  {
    name: 'TRUNCATE is granted on a table that others refer to',
    mutate: 'grant truncate on app.folder to $app',
    undo: 'revoke truncate on app.folder from $app',
    found: ['app.folder: truncate'],
  },
  {
    name: 'a sequence may be read',
    mutate: 'grant select on sequence app.invoice_number_seq to $app',
    undo: 'revoke select on sequence app.invoice_number_seq from $app',
    found: ['app.invoice_number_seq: sequence'],
  },
  {
    name: 'a view runs with the rights of a superuser',
    mutate: 'alter view app.open_note reset (security_invoker); alter view app.open_note owner to postgres',
    undo: 'alter view app.open_note set (security_invoker = true); alter view app.open_note owner to $owner',
    found: ['app.open_note: view'],
  },
  {
    name: 'a view that only counts runs with the rights of a superuser',
    mutate: 'alter view app.note_count reset (security_invoker); alter view app.note_count owner to postgres',
    undo: 'alter view app.note_count set (security_invoker = true); alter view app.note_count owner to $owner',
    found: ['app.note_count: view'],
  },
  {
    name: 'a function runs with the rights of a superuser',
    mutate: `create function app.all_notes() returns setof app.note stable security definer language sql as 'select * from app.note'; grant execute on function app.all_notes to $app`,
    undo: 'drop function app.all_notes',
    found: ['app.all_notes(): function'],
  },
  {
    name: 'a function answers about any organisation',
    mutate: `create function app.notes_of(org uuid, text) returns bigint stable security definer language sql as 'select count(*) from app.note where org_id = org'`,
    undo: 'drop function app.notes_of',
    found: ['app.notes_of(uuid, text): function'],
  },
  {
    name: 'a function that runs with the rights of its owner is not declared',
    mutate: `create function app.one() returns int stable security definer language sql as 'select 1'`,
    undo: 'drop function app.one',
    found: [],
    inconclusive: ['app.one(): function'],
  },
  {
    name: 'a materialized view may be read',
    mutate:
      'create materialized view app.digest as select count(*) from app.currency; grant select on app.digest to $app',
    undo: 'drop materialized view app.digest',
    found: ['app.digest: reach'],
  },
  {
    name: 'a global table may be written',
    mutate: 'grant insert on app.currency to $app',
    undo: 'revoke insert on app.currency from $app',
    found: ['app.currency: write'],
  },
  {
    name: 'a system table may be read',
    mutate: 'grant select on app.setting to $app',
    undo: 'revoke select on app.setting from $app',
    found: ['app.setting: reach'],
  },
  {
    name: 'a column of a system table may be updated',
    mutate: 'grant update (value) on app.setting to $app',
    undo: 'revoke update (value) on app.setting from $app',
    found: ['app.setting: reach'],
  },
  {
    name: 'a table that is not declared may be read',
    mutate: 'create table app.new_table (org_id uuid, body text); grant select on app.new_table to $app',
    undo: 'drop table app.new_table',
    found: ['app.new_table: reach'],
  },
  {
    name: 'the context key may be read',
    mutate: 'grant select on tenancy.context_key to $app',
    undo: 'revoke select on tenancy.context_key from $app',
    found: ['tenancy.context_key: reach'],
  },
  {
    name: 'an organisation does not see its own rows, so that seeing no others proves nothing',
    mutate: 'create policy closed on app.note as restrictive using (false) with check (true)',
    undo: 'drop policy closed on app.note',
    found: [],
    inconclusive: ['app.note: own rows'],
  },
];

describe('the probe finds that', () => {
  test.each(MUTANTS)('$name', async ({ mutate, undo, found, inconclusive = [] }) => {
    const schema = goldenSchema(f.database.app);
    await asSuperuser(mutate);
    let report: ProbeReport;
    try {
      report = await probe({ owner: f.superuser, schema });
    } finally {
      await asSuperuser(undo);
    }
    const findings = (outcome: Outcome) =>
      report.attacks
        .filter((result) => result.outcome === outcome)
        .map(({ relation, attack }) => `${relation}: ${attack}`);
    expect(report.clean).toBe(false);
    expect(findings('crossed')).toEqual(expect.arrayContaining([...found]));
    expect(findings('inconclusive')).toEqual(expect.arrayContaining([...inconclusive]));
  });

  test('nothing is left of any of them', async () => {
    const report = await probe({ owner: f.superuser, schema: goldenSchema(f.database.app) });
    expect(formatProbeReport(report)).toMatch(/^clean: /m);
    expect(report.clean).toBe(true);
  });
});
