/** One fault in the golden schema, and the rules of the doctor that have to see it, and no others. */
import type { SchemaMutation } from '../../src/testing/mutations/mutation.ts';

/** A fault. */
export interface Mutation extends SchemaMutation {
  /** Names of the rules that fire, in the order of the report. */
  readonly rules: readonly string[];
  /** Oldest major version of PostgreSQL that knows the statement. Default: the oldest supported. */
  readonly since?: number;
  /** Newest one that does. Default: the newest there is. */
  readonly until?: number;
}
