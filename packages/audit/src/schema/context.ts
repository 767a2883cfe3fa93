/**
 * The default transaction context: three settings the app makes local to its transaction. Injected SQL can set them too;
 * hand in the function of a package that signs its context where that matters.
 */

/** DDL of the default context function: organisation and actor are required, the request is not. */
export const DEFAULT_CONTEXT: string = `
create function audit.context(out org_id uuid, out actor text, out request_id text)
language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
  org constant text := current_setting('ringfence.org_id', true);
begin
  if org is null or org !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    raise exception 'ringfence.org_id is not set to a lower-case UUID'
      using errcode = '42501', schema = 'audit', constraint = 'audit.no_context';
  end if;
  actor := current_setting('ringfence.actor', true);
  if actor is null or actor = '' then
    raise exception 'ringfence.actor is not set'
      using errcode = '42501', schema = 'audit', constraint = 'audit.no_context';
  end if;
  org_id := org::uuid;
  request_id := nullif(current_setting('ringfence.request_id', true), '');
end $$;
`;
