/**
 * Tables of signed checkpoints: what one process, the checkpointer, adds and nobody changes.
 *
 * The checkpointer's role reads places, links and leaves, never what an event says, and may only insert here. A tile is
 * stored as the slices it grew by; two slices of a tile that begin at one place collide, so of two processes that go on
 * from the same checkpoint the second waits for the first and is refused, before it signs.
 */
import type { SchemaNames } from './names.ts';

const TABLES_OF_CHECKPOINTS = ['checkpoint', 'tile', 'cosignature', 'deployment_entry'];

/** DDL of the tables and their guards; it needs `audit.refuse_change`. */
export const CHECKPOINTS: string = `
-- The signed heads of each organisation's tree; of the deployment's own tree under the nil UUID. link is the chain's
-- hash at that place (32 zero bytes for the deployment): it tells cheaply that the chain up to there was replaced.
create table audit.checkpoint (
  org_id uuid not null,
  size bigint not null,
  root bytea not null,
  link bytea not null,
  note text not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint checkpoint_pkey primary key (org_id, size),
  constraint checkpoint_size check (size > 0),
  constraint checkpoint_hashes check (octet_length(root) = 32 and octet_length(link) = 32)
);

-- Tiles of height 8 as the slices they grew by: "start" is the place of the first hash in its tile.
create table audit.tile (
  org_id uuid not null,
  level int not null,
  index bigint not null,
  start int not null,
  data bytea not null,
  constraint tile_pkey primary key (org_id, level, index, start),
  constraint tile_place check (level >= 0 and level <= 6 and index >= 0 and start >= 0 and start <= 255),
  constraint tile_data check (octet_length(data) > 0 and octet_length(data) % 32 = 0
    and start + octet_length(data) / 32 <= 256)
);

-- Signature lines of witnesses.
create table audit.cosignature (
  org_id uuid not null,
  size bigint not null,
  witness text not null,
  line text not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint cosignature_pkey primary key (org_id, size, witness)
);

-- What each leaf of the deployment's tree stands for. salt blinds it: the leaf alone tells nothing of the organisation.
create table audit.deployment_entry (
  org_id uuid not null,
  size bigint not null,
  root bytea not null,
  salt bytea not null,
  place bigint not null,
  constraint deployment_entry_pkey primary key (org_id, size),
  constraint deployment_entry_place unique (place),
  constraint deployment_entry_bytes check (octet_length(root) = 32 and octet_length(salt) = 32 and place >= 0)
);
${TABLES_OF_CHECKPOINTS.map(
  (table) => `
create trigger refuse_row_change before update or delete on audit.${table}
  for each row execute function audit.refuse_change();
create trigger refuse_change before update or delete or truncate on audit.${table}
  for each statement execute function audit.refuse_change();
alter table audit.${table} enable always trigger refuse_row_change;
alter table audit.${table} enable always trigger refuse_change;`,
).join('\n')}
`;

/** Row-level security and grants. */
export function checkpointAccess({ app, auditor, checkpointer, org }: SchemaNames): string {
  const tables = TABLES_OF_CHECKPOINTS.map(
    (table) => `
alter table audit.${table} enable row level security;
alter table audit.${table} force row level security;
revoke all on audit.${table} from public, ${app};
create policy read_own_org on audit.${table} for select to ${app} using (org_id = (select ${org}));
grant select on audit.${table} to ${app};${
      auditor === undefined
        ? ''
        : `
create policy read_every_org on audit.${table} for select to ${auditor} using (true);
grant select on audit.${table} to ${auditor};`
    }${
      checkpointer === undefined
        ? ''
        : `
create policy checkpointer_reads on audit.${table} for select to ${checkpointer} using (true);
create policy checkpointer_adds on audit.${table} for insert to ${checkpointer} with check (true);
grant select, insert on audit.${table} to ${checkpointer};`
    }`,
  );
  if (checkpointer === undefined) return tables.join('\n');
  return `${tables.join('\n')}
grant usage on schema audit to ${checkpointer};
create policy checkpointer_reads on audit.head for select to ${checkpointer} using (true);
create policy checkpointer_reads on audit.seal for select to ${checkpointer} using (true);
create policy checkpointer_reads on audit.event for select to ${checkpointer} using (true);
grant select (org_id, seq) on audit.head to ${checkpointer};
grant select on audit.seal to ${checkpointer};
grant select (org_id, id, leaf) on audit.event to ${checkpointer};
`;
}
