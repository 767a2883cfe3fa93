/**
 * Triggers that refuse change. ENABLE ALWAYS: they fire under session_replication_role = replica too. The row triggers
 * bind logical replication, the statement triggers bind TRUNCATE and statements that row-level security leaves no row.
 *
 * They bind the app role and honest mistakes. The owner and a superuser can take them away: what that leads to, and what
 * finds it, is docs/audit-guards.md.
 */

/** DDL of the refusal triggers. */
export const GUARDS: string = `
create function audit.refuse_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- A record goes away only when its leaf is kept (src/schema/retention.ts). The setting is no guard: it lets the row be looked at.
  if tg_op = 'DELETE' and tg_table_name = 'event' and current_setting('ringfence.pruning', true) = 'on' then
    if tg_level = 'STATEMENT' then
      return null;
    end if;
    if exists (select from audit.pruned p where p.org_id = old.org_id and p.event_id = old.id and p.leaf = old.leaf) then
      return old;
    end if;
  end if;
  raise exception '% on %.% refused: the audit log is append-only', tg_op, tg_table_schema, tg_table_name
    using errcode = '42501', schema = 'audit', table = tg_table_name, constraint = 'audit.append_only';
end $$;
${['event', 'seal']
  .map(
    (table) => `
create trigger refuse_row_change before update or delete on audit.${table}
  for each row execute function audit.refuse_change();
create trigger refuse_change before update or delete or truncate on audit.${table}
  for each statement execute function audit.refuse_change();
alter table audit.${table} enable always trigger refuse_row_change;
alter table audit.${table} enable always trigger refuse_change;`,
  )
  .join('\n')}

-- A head moves forward only.
create trigger refuse_backward before update on audit.head
  for each row when (new.org_id <> old.org_id or new.seq <= old.seq) execute function audit.refuse_change();
create trigger refuse_removal before delete or truncate on audit.head
  for each statement execute function audit.refuse_change();
alter table audit.head enable always trigger refuse_backward;
alter table audit.head enable always trigger refuse_removal;

-- What waits is taken by sealing, never changed; TRUNCATE would drop it from every chain at once.
create trigger refuse_change before update or truncate on audit.queue
  for each statement execute function audit.refuse_change();
alter table audit.queue enable always trigger refuse_change;
`;
