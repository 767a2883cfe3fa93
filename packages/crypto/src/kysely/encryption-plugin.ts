/**
 * The Kysely plugin behind `withEncryption`.
 * Invariant: a result without a plan of this plugin (raw SQL, a query compiled elsewhere) is looked through, never trusted.
 */
import type {
  Kysely,
  KyselyPlugin,
  OperationNode,
  PluginTransformQueryArgs,
  PluginTransformResultArgs,
  QueryResult,
  RootOperationNode,
  UnknownRow,
} from 'kysely';
import type { OrgKeys } from '../org-keys.ts';
import { ColumnCipher } from './column-cipher.ts';
import type { ColumnMigration } from './column-migration.ts';
import type { EncryptedColumns } from './declaration.ts';
import { PlanStore } from './plan-store.ts';
import { QueryRewriter } from './query-rewriting.ts';
import type { DeclaredTables } from './query-scope.ts';
import { openRows } from './result-opening.ts';

/** Plaintext found in a sealed column is an error. */
export interface StrictMode {
  /** Strict. */
  readonly mode: 'strict';
}

/** Plaintext found in the columns of a migration is counted and read, until its date. */
export interface MigratingMode {
  /** Migrating. */
  readonly mode: 'migrating';
  /** The migration, made once per process by `columnMigration`. */
  readonly migration: ColumnMigration;
}

/** What happens to plaintext found in a sealed column. */
export type EncryptionMode = StrictMode | MigratingMode;

/**
 * A database handle whose sealed columns are written sealed and read opened, with the keys of one organisation. Make one
 * per request: it works as long as the lease of the keys.
 *
 * Its queries throw RingfenceCryptoError (`EncryptedColumnError` with table, column and row id where they concern a cell):
 * `crypto.query_refused` for a query in which the cell of a sealed column can't be told, `crypto.malformed_message` for
 * plaintext where a sealed value is due, and all codes of `OrgKeys`.
 *
 * @example
 * ```ts
 * const db = withEncryption(kysely, await keyring.org(org), columns, { mode: 'strict' });
 * await db.insertInto('ledger.entry').values({ id, memo: 'Paid by wire' }).execute();
 * const entry = await db.selectFrom('ledger.entry').select('memo').where('id', '=', id).executeTakeFirstOrThrow();
 * entry.memo; // 'Paid by wire'
 * ```
 */
export function withEncryption<DB>(
  db: Kysely<DB>,
  keys: OrgKeys,
  columns: EncryptedColumns<DB>,
  mode: EncryptionMode = { mode: 'strict' },
): Kysely<DB> {
  const migration = mode.mode === 'migrating' ? mode.migration : undefined;
  return db.withPlugin(new EncryptionPlugin(columns.tables, new ColumnCipher(keys, migration)));
}

class EncryptionPlugin implements KyselyPlugin {
  readonly #tables: DeclaredTables;
  readonly #cipher: ColumnCipher;
  readonly #plans = new PlanStore();
  /** Rewritten queries and what they were: a query builder used as a subquery arrives rewritten. */
  readonly #originals = new WeakMap<OperationNode, OperationNode>();

  constructor(tables: DeclaredTables, cipher: ColumnCipher) {
    this.#tables = tables;
    this.#cipher = cipher;
  }

  transformQuery({ node, queryId }: PluginTransformQueryArgs): RootOperationNode {
    const rewriter = new QueryRewriter(
      this.#tables,
      this.#cipher,
      (one) => this.#originals.get(one) ?? one,
      (plan) => this.#plans.keep(queryId, plan),
    );
    const rewritten = rewriter.rewrite(node);
    if (rewritten !== node) this.#originals.set(rewritten, node);
    return rewritten;
  }

  async transformResult({ result, queryId }: PluginTransformResultArgs): Promise<QueryResult<UnknownRow>> {
    const first = result.rows?.[0];
    if (first === undefined) return result;
    const plan = this.#plans.find(queryId, Object.keys(first as object));
    const rows = openRows(result.rows, plan, this.#cipher);
    this.#cipher.notify();
    return { ...result, rows };
  }
}
