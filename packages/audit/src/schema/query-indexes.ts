/**
 * Indexes for reading an organisation's log in pages, newest first: by time, and by actor, action or target in the order
 * of time. Events of one time, such as those of a batch, are put into the order of their ids by the statement: the id of each event in each
 * index would cost more than sorting a few.
 *
 * Actors and targets are long, so their indexes hold hashes: of 64 bits, computed by PostgreSQL, kept in columns because a call is
 * no index condition under row-level security. The statement compares the text as well. A hash does not sort as a text does, so
 * that no change of a collation by the operating system makes an index miss an event.
 */

/** DDL of the indexes. */
export const QUERY_INDEXES: string = `
create index event_time on audit.event (org_id, at);
create index event_actor on audit.event (org_id, actor_hash, at);
create index event_action on audit.event (org_id, action, at);
create index event_target on audit.event (org_id, target_hash, at) where target_hash is not null;
`;
