/**
 * Retention: takes the content of old events out of the database without breaking the chain. Each keeps its leaf, so links,
 * checkpoints and proofs verify as before, and an event `log.pruned` says what was taken out. Verifiers call it pruned; what is gone
 * without such an event, they call deleted.
 *
 * @packageDocumentation
 */
export { type PruneRequest, type Pruning, pruneLog } from './prune-log.ts';
