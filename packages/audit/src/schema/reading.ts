/**
 * Refuses to verify what the caller cannot see: row-level security would answer with no rows, and an empty log verifies.
 */
import type { SchemaNames } from './names.ts';

/** DDL of the check; it runs as its caller. */
export function readerCheck({ org, auditor, copier }: SchemaNames): string {
  const readsAll = [auditor, copier]
    .filter((role) => role !== undefined)
    .map((role) => ` or pg_has_role(current_user, '${role.replaceAll('"', '')}', 'USAGE')`)
    .join('');
  return `
create function audit.assert_reads(log uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if not row_security_active('audit.event')${readsAll} then
    return;
  end if;
  if ${org} is distinct from log then
    raise exception 'the log belongs to another organisation than the context'
      using errcode = '42501', schema = 'audit', constraint = 'audit.other_org';
  end if;
end $$;
`;
}
