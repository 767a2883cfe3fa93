/**
 * Ways around the guards, as SQL, with the outcome each role must meet. Every way tries to change history: the amount of
 * event 4 of 8 from 4.00 to 9.00, or what comes nearest by that way.
 */

/** Who tries. */
export type Role = 'app' | 'owner' | 'superuser';

/**
 * What a role meets.
 *
 * - `refused`: PostgreSQL answers with an error;
 * - `no effect`: no error, and the log is what it was;
 * - a finding class: not refused, and verification alone finds it;
 * - `kept head: …`: found by whoever kept an old head, by nobody else;
 * - `verification fails`: there is no log left to verify;
 * - `future only`: history is untouched, but what is recorded from now on can be false.
 */
export type Met = string;

/** One way. */
export interface Bypass {
  /** Name in the table of docs/audit-guards.md. */
  readonly name: string;
  /** Statements, in order. `{org}`, `{owner}` and `{app}` are filled in. */
  readonly sql: readonly string[];
  /** Data for a COPY … FROM STDIN among them. */
  readonly copy?: string;
  /** What each role meets. */
  readonly meets: Readonly<Record<Role, Met>>;
}

const LEAF = (canon: string) => `sha256(decode('00', 'hex') || convert_to(${canon}, 'UTF8'))`;
const FALSE_CANON = `replace(canon, '"4.00"', '"9.00"')`;
const EDIT = `update audit.event set canon = ${FALSE_CANON}, leaf = ${LEAF(FALSE_CANON)}`;
const FORGED_CANON = `'{"actor":"user:ceo"}'`;
const FORGED = `insert into audit.event (org_id, id, at, canon, leaf, actor, action)
  values ('{org}', gen_random_uuid(), now(), ${FORGED_CANON}, ${LEAF(FORGED_CANON)}, 'user:ceo', 'entry.approved')`;
const OPEN = ['event', 'seal', 'head', 'queue'].map(
  (table) => `alter table audit.${table} no force row level security`,
);
const OFF = ['event', 'seal', 'head'].map((table) => `alter table audit.${table} disable trigger all`);
const USER_OFF = ['event', 'seal', 'head'].map((table) => `alter table audit.${table} disable trigger user`);
const RECHAIN = `do $$ declare r record; h bytea := decode(repeat('00', 32), 'hex'); begin
  for r in select s.seq, e.leaf from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
            where s.org_id = '{org}' order by s.seq loop
    h := sha256(decode('02', 'hex') || uuid_send('{org}') || int8send(r.seq) || h || r.leaf);
    update audit.seal set hash = h where org_id = '{org}' and seq = r.seq;
  end loop;
  update audit.head set hash = h where org_id = '{org}'; end $$`;
const APPEND = `select * from audit.append(gen_random_uuid(), '{"outcome":"success","type":"login.succeeded"}', true)`;
const REFUSED = { app: 'refused', owner: 'refused', superuser: 'refused' } as const;

/** Refused for the app role; the same for the other two. */
const found = (met: Met) => ({ app: 'refused', owner: met, superuser: met });

/** Every way. */
export const BYPASSES: readonly Bypass[] = [
  { name: 'UPDATE', sql: [EDIT], meets: REFUSED },
  { name: 'UPDATE of a search column', sql: [`update audit.event set actor = 'user:ceo'`], meets: REFUSED },
  { name: 'UPDATE of a link', sql: [`update audit.seal set hash = sha256('x')`], meets: REFUSED },
  { name: 'UPDATE of the head, backwards', sql: [`update audit.head set seq = seq - 1`], meets: REFUSED },
  {
    name: 'UPDATE of what waits to be sealed',
    sql: [`update audit.queue set leaf = sha256('x')`],
    meets: REFUSED,
  },
  { name: 'DELETE', sql: ['delete from audit.event'], meets: REFUSED },
  { name: 'DELETE of links', sql: ['delete from audit.seal'], meets: REFUSED },
  { name: 'TRUNCATE', sql: ['truncate audit.event'], meets: REFUSED },
  { name: 'TRUNCATE of what waits', sql: ['truncate audit.queue'], meets: REFUSED },
  {
    name: 'TRUNCATE … CASCADE through a table the log refers to',
    sql: [
      'create table app.org (id uuid primary key)',
      `insert into app.org values ('{org}')`,
      'alter table audit.event add foreign key (org_id) references app.org (id) not valid',
      'truncate app.org cascade',
    ],
    meets: REFUSED,
  },
  {
    name: 'INSERT … ON CONFLICT DO UPDATE',
    sql: [
      `insert into audit.seal (org_id, seq, event_id, hash) values ('{org}', 4, gen_random_uuid(), sha256('x'))
        on conflict (org_id, seq) do update set hash = excluded.hash`,
    ],
    meets: REFUSED,
  },
  {
    name: 'MERGE … WHEN MATCHED THEN UPDATE',
    sql: [
      `merge into audit.event e using (select '{org}'::uuid as org) o on e.org_id = o.org
        when matched then update set actor = 'user:ceo'`,
    ],
    meets: REFUSED,
  },
  {
    name: 'session_replication_role = replica, then UPDATE',
    sql: ['set local session_replication_role = replica', EDIT],
    meets: REFUSED,
  },
  {
    name: 'row-level security off, then UPDATE',
    sql: ['alter table audit.event disable row level security', EDIT],
    meets: REFUSED,
  },
  { name: 'SET ROLE to the owner, then UPDATE', sql: ['set local role {owner}', EDIT], meets: REFUSED },
  {
    name: 'own SECURITY DEFINER function',
    sql: [
      `create function app.edit() returns void language sql security definer as $$ ${EDIT} $$`,
      'select app.edit()',
    ],
    meets: REFUSED,
  },
  {
    name: 'UPDATE through an updatable view',
    sql: ['create view app.log as select * from audit.event', `update app.log set actor = 'user:ceo'`],
    meets: REFUSED,
  },
  {
    name: 'FOREIGN KEY … ON DELETE CASCADE, then DELETE of the organisation',
    sql: [
      'create table app.org (id uuid primary key)',
      `insert into app.org values ('{org}')`,
      'alter table audit.event add foreign key (org_id) references app.org (id) on delete cascade not valid',
      'delete from app.org',
    ],
    meets: REFUSED,
  },
  {
    name: 'a body that ends the record and begins another',
    sql: [
      `select * from audit.append(gen_random_uuid(), '{"type":"a.b"},"actor":"user:ceo","event":{}', true)`,
    ],
    meets: REFUSED,
  },
  {
    name: 'ALTER TABLE … DISABLE TRIGGER ALL, then UPDATE',
    sql: [...OPEN, ...OFF, EDIT],
    meets: found('edited'),
  },
  {
    name: 'ALTER TABLE … DISABLE TRIGGER USER, UPDATE, and all put back',
    sql: [
      'alter table audit.event no force row level security',
      'alter table audit.event disable trigger user',
      EDIT,
      'alter table audit.event force row level security',
      'alter table audit.event enable always trigger refuse_change',
      'alter table audit.event enable always trigger refuse_row_change',
    ],
    meets: found('edited'),
  },
  {
    name: 'DROP TRIGGER, then DELETE',
    sql: [
      ...OPEN,
      'drop trigger refuse_change on audit.event',
      'drop trigger refuse_row_change on audit.event',
      `delete from audit.event where canon like '%"4.00"%'`,
    ],
    meets: found('deleted'),
  },
  {
    name: 'CREATE OR REPLACE of the trigger function, then UPDATE',
    sql: [
      ...OPEN,
      `create or replace function audit.refuse_change() returns trigger language plpgsql as 'begin return new; end'`,
      EDIT,
    ],
    meets: found('edited'),
  },
  {
    name: 'ALTER COLUMN … TYPE … USING (fires no trigger)',
    sql: [
      `alter table audit.event alter column canon type text using ${FALSE_CANON},
        alter column leaf type bytea using ${LEAF(FALSE_CANON)}`,
    ],
    meets: found('edited'),
  },
  {
    name: 'a generated column in the place of the record',
    sql: [
      'alter table audit.event rename column canon to true_canon',
      `alter table audit.event add column canon text generated always as
        (replace(true_canon, '"4.00"', '"9.00"')) stored`,
    ],
    meets: found('edited'),
  },
  {
    name: 'DROP TABLE and a false one in its place',
    sql: [
      ...OPEN,
      `create table app.double as select org_id, id, at, ${FALSE_CANON} as canon, leaf, actor, action, target from audit.event`,
      'drop table audit.event',
      'alter table app.double set schema audit',
      'alter table audit.double rename to event',
    ],
    meets: found('edited'),
  },
  {
    name: 'rename, and a view in the place of the table',
    sql: [
      ...OPEN,
      'alter table audit.event rename to true_event',
      `create view audit.event as select org_id, id, at, ${FALSE_CANON} as canon, leaf, actor, action, target
        from audit.true_event`,
    ],
    meets: found('edited'),
  },
  {
    name: 'a child table (INHERITS) with a false double',
    sql: [
      ...OPEN,
      'create table app.double () inherits (audit.event)',
      `insert into app.double select org_id, id, at, ${FALSE_CANON}, ${LEAF(FALSE_CANON)}, actor, action, target
        from only audit.event where canon like '%"4.00"%'`,
    ],
    meets: found('forked'),
  },
  {
    name: 'the table becomes a partition of another, and is detached',
    sql: [
      ...OPEN,
      `create table app.whole (like audit.event including all) partition by list (org_id)`,
      `alter table app.whole attach partition audit.event default`,
      `update app.whole set actor = 'user:ceo'`,
    ],
    meets: REFUSED,
  },
  { name: 'INSERT of a forged event', sql: [FORGED], meets: found('inserted') },
  {
    name: 'INSERT of a forged event and its link',
    sql: [
      FORGED,
      `insert into audit.seal (org_id, seq, event_id, hash)
        select org_id, 9, id, sha256('x') from audit.event where actor = 'user:ceo'`,
    ],
    meets: found('inserted'),
  },
  {
    name: 'COPY of a forged event',
    sql: [...OPEN, 'copy audit.event (org_id, id, at, canon, leaf, actor, action) from stdin'],
    copy: '{org}\t0190f5d2-7b1c-7d34-9a51-3f2e8c1bffff\t2026-01-01\t{}\t\\\\x{leaf of empty}\tuser:ceo\tentry.approved\n',
    meets: found('inserted'),
  },
  {
    name: 'INSERT as the apply worker of logical replication does it',
    sql: ['set local session_replication_role = replica', FORGED],
    meets: { app: 'refused', owner: 'refused', superuser: 'inserted' },
  },
  {
    name: 'a forged row in the queue, sealed by the next sealing',
    sql: [
      `insert into audit.queue (org_id, event_id, queued_at, leaf) values ('{org}', gen_random_uuid(), now(), sha256('x'))`,
      `select audit.seal_orgs(array['{org}'::uuid])`,
    ],
    meets: found('deleted'),
  },
  {
    name: 'DELETE of what waits, before it is sealed',
    sql: [
      `select * from audit.append(gen_random_uuid(), '{"outcome":"success","type":"login.succeeded"}', false)`,
      'delete from audit.queue',
    ],
    meets: found('inserted'),
  },
  {
    name: 'CREATE RULE … DO INSTEAD NOTHING, then append',
    sql: ['create rule mute as on insert to audit.event do instead nothing', APPEND],
    meets: found('deleted'),
  },
  {
    name: 'own BEFORE INSERT trigger that changes what append stores',
    sql: [
      `create function app.falsify() returns trigger language plpgsql as $$ begin
        new.canon := replace(new.canon, 'login.succeeded', 'login.failed');
        new.leaf := ${LEAF('new.canon')}; return new; end $$`,
      'create trigger falsify before insert on audit.event for each row execute function app.falsify()',
      APPEND,
    ],
    meets: found('edited'),
  },
  {
    name: 'the catalog itself: pg_class.relhastriggers = false',
    sql: [`update pg_class set relhastriggers = false where oid = 'audit.event'::regclass`, EDIT],
    meets: { app: 'refused', owner: 'refused', superuser: 'edited' },
  },
  { name: 'DROP SCHEMA … CASCADE', sql: ['drop schema audit cascade'], meets: found('verification fails') },
  {
    name: 'the end cut off, and the head set back',
    sql: [
      ...OPEN,
      ...USER_OFF,
      `delete from audit.event e using audit.seal s
        where s.org_id = '{org}' and s.seq > 6 and e.org_id = s.org_id and e.id = s.event_id`,
      `delete from audit.seal where org_id = '{org}' and seq > 6`,
      `update audit.head h set seq = 6, hash = s.hash from audit.seal s
        where h.org_id = '{org}' and s.org_id = '{org}' and s.seq = 6`,
    ],
    meets: found('kept head: cut'),
  },
  {
    name: 'the whole log of an organisation removed',
    sql: [
      ...OPEN,
      ...USER_OFF,
      ...['event', 'seal', 'head'].map((table) => `delete from audit.${table} where org_id = '{org}'`),
    ],
    meets: found('kept head: cut'),
  },
  {
    name: 'an event edited and the whole chain computed anew',
    sql: [...OPEN, ...USER_OFF, EDIT, RECHAIN],
    meets: found('kept head: rewritten'),
  },
  {
    name: 'CREATE OR REPLACE of audit.context(), to record another actor from now on',
    sql: [
      `create or replace function audit.context(out org_id uuid, out actor text, out request_id text) language sql
        as $$ select '{org}'::uuid, 'user:ceo', null $$`,
      APPEND,
    ],
    meets: found('future only'),
  },
  {
    name: 'GRANT to the app role, for later',
    sql: [
      'grant all on all tables in schema audit to {app}',
      'grant all on all functions in schema audit to {app}',
    ],
    meets: found('no effect'),
  },
];
