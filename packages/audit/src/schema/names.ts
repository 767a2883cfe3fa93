/** The quoted names and expressions that the DDL of schema `audit` is built from. */

/** Quoted names: nothing in here comes from outside unchecked. */
export interface SchemaNames {
  /** The application's login role. */
  readonly app: string;
  /** A role that reads the log of every organisation, when there is one. */
  readonly auditor: string | undefined;
  /** The role of the process that signs checkpoints, when there is one. */
  readonly checkpointer: string | undefined;
  /** A role that copies every log to a write-once store, when there is one. */
  readonly copier: string | undefined;
  /** Who prunes, and after how many days at the earliest, when somebody does. */
  readonly retention: { readonly role: string; readonly afterDays: number } | undefined;
  /** Expression of type uuid: the organisation of the transaction. */
  readonly org: string;
  /** Call that returns org_id, actor and request_id of the transaction. */
  readonly context: string;
}

/**
 * Settings of the functions that run for every event. The path is pinned against objects of the caller. Plans are made
 * once, by index and not by size: queue is empty most of the time, so its statistics tell nothing of its dead rows.
 */
export const FUNCTION_SETTINGS = `set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off`;

/** Expression of the link of `leaf` at `seq` behind `previous`, docs/formats/audit-chain-v1.md §4. */
export function linkExpression(org: string, seq: string, previous: string, leaf: string): string {
  return `sha256(decode('02', 'hex') || uuid_send(${org}) || int8send(${seq}) || ${previous} || ${leaf})`;
}
