/**
 * Indexes for reading an organisation's log in pages, newest first: by time, and by actor, action or target in the order
 * of time. Events of one time, such as those of a batch, are put into the order of their ids by the statement, which sorts a few.
 *
 * The indexes of actor and target also hold what they may be combined with, and the id under which the event is then found: rows
 * that another filter leaves out are passed over in the index, without a look at the table. Vacuum tells which rows need no such
 * look, and PostgreSQL would not begin it before a fifth of a table is new.
 *
 * Actors and targets are long, so their indexes hold hashes: of 64 bits, computed by PostgreSQL, kept in columns because a call is
 * no index condition under row-level security. The statement compares the text as well. A hash does not sort as a text does, so
 * that no change of a collation by the operating system makes an index miss an event.
 */

/** DDL of the indexes. */
export const QUERY_INDEXES: string = `
create index event_time on audit.event (org_id, at);
create index event_actor on audit.event (org_id, actor_hash, at) include (id, action);
create index event_action on audit.event (org_id, action, at);
create index event_target on audit.event (org_id, target_hash, at) include (id, actor_hash, action) where target_hash is not null;
alter table audit.event set (autovacuum_vacuum_insert_scale_factor = 0.01);
`;
