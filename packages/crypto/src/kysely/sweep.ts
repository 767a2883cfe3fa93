/**
 * Sweeps over stored rows: seals what is still plaintext, writes blind indexes anew, counts what is left.
 * Invariant: a row is changed only if its value is still the one that was read, and only rows of the organisation of the
 * keys; a sweep that was stopped goes on where rows are left to do.
 */
import { type Kysely, type RawBuilder, type Sql, sql } from 'kysely';
import { FIELD_OVERHEAD_BYTES } from '../field-format.ts';
import type { OrgKeys } from '../org-keys.ts';
import { IndexValues, indexPrefix } from './blind-index.ts';
import { ColumnCipher } from './column-cipher.ts';
import type { DeclaredColumn, DeclaredTable, EncryptedColumns } from './declaration.ts';
import { canonicalRowId, rowIdText } from './row-identity.ts';

/** Options of a sweep. */
export interface SweepOptions {
  /** Rows per transaction, 1 to 10 000; 500 unless given. */
  readonly batch?: number;
  /**
   * True when the handle sees rows of one organisation only (row-level security, or a database of its own). Needed for
   * tables declared without `org`: the rows of another organisation would be sealed with the wrong keys.
   */
  readonly singleOrg?: boolean;
  /** Called after each batch with the rows changed so far in a column, as `table.column`. */
  readonly onProgress?: (column: string, changed: number) => void;
  /** Ends the sweep after the batch under way. */
  readonly signal?: AbortSignal;
}

/** What a sweep did to one column. */
export interface SweptColumn {
  /** `table.column`. */
  readonly column: string;
  /** Rows changed. */
  readonly changed: number;
  /** Rows still to do, counted afterwards: 0 unless the sweep was stopped or rows were written meanwhile. */
  readonly remaining: number;
}

/** Rows that carry one version of a blind index under one key. */
export interface BlindIndexCount {
  /** Sealed column, as `table.column`. */
  readonly column: string;
  /** What their index values begin with, `v<version>.<key tag>.`; null for sealed rows without an index value. */
  readonly prefix: string | null;
  /** Rows. */
  readonly rows: number;
}

type Row = Record<string, unknown>;
type Change = (row: string, value: unknown) => Readonly<Record<string, unknown>>;

/**
 * Seals the plaintext left in the declared columns, in batches by row id, with their blind indexes. Values that were
 * changed meanwhile are left alone; calling it again goes on.
 *
 * @throws TypeError when a table has no `org` and `singleOrg` is not set.
 * @throws RingfenceCryptoError as `OrgKeys.seal`.
 * @example
 * ```ts
 * const report = await sealExisting(kysely, await keyring.org(org), columns, { batch: 500 });
 * report.every(({ remaining }) => remaining === 0); // now go strict and add sealedColumnChecks(columns)
 * ```
 */
export async function sealExisting<DB>(
  db: Kysely<DB>,
  keys: OrgKeys,
  columns: EncryptedColumns<DB>,
  options: SweepOptions = {},
): Promise<readonly SweptColumn[]> {
  const cipher = new ColumnCipher(keys, undefined);
  return sweep(
    db,
    keys,
    columns,
    options,
    () => true,
    (column) => {
      const { index } = column;
      const todo = sql<boolean>`${sql.ref(column.name)} is not null and not ${sealedForm(column)}`;
      return {
        todo,
        change: (row, value) => ({
          [column.name]: cipher.seal(column, row, value),
          ...(index && {
            [index.column]: withIndex(keys, (values) => values.stored(column, index, value as string)),
          }),
        }),
      };
    },
  );
}

/**
 * Writes the current version of every blind index, under the active key, to sealed rows that have another one or none.
 *
 * @throws TypeError when a table has no `org` and `singleOrg` is not set.
 * @throws RingfenceCryptoError as `OrgKeys.open`, with table, column and row id.
 */
export async function reindexBlind<DB>(
  db: Kysely<DB>,
  keys: OrgKeys,
  columns: EncryptedColumns<DB>,
  options: SweepOptions = {},
): Promise<readonly SweptColumn[]> {
  const cipher = new ColumnCipher(keys, undefined);
  return sweep(
    db,
    keys,
    columns,
    options,
    ({ index }) => index !== undefined,
    (column) => {
      const index = column.index as NonNullable<DeclaredColumn['index']>;
      const prefix = indexPrefix(index.current.version, keys.activeKeyId);
      const indexed = sql.ref(index.column);
      return {
        todo: sql<boolean>`${sealedForm(column)} and (${indexed} is null or not ${indexed} ^@ ${prefix})`,
        change: (row, value) => {
          const text = cipher.open(column, row, value) as string;
          return { [index.column]: withIndex(keys, (values) => values.stored(column, index, text)) };
        },
      };
    },
  );
}

/**
 * Counts rows by version and key of their blind index. A former version is retired, that is taken out of `previous`, only
 * when no row is counted for it.
 *
 * @throws TypeError when a table has no `org` and `singleOrg` is not set.
 */
export async function countBlindIndexes<DB>(
  db: Kysely<DB>,
  keys: OrgKeys,
  columns: EncryptedColumns<DB>,
  options: Pick<SweepOptions, 'singleOrg'> = {},
): Promise<readonly BlindIndexCount[]> {
  const plain = db.withoutPlugins();
  const counts: BlindIndexCount[] = [];
  for (const table of columns.tables.values()) {
    const own = ownRows(table, keys, options);
    for (const column of table.indexes.values()) {
      const index = sql.ref((column.index as NonNullable<DeclaredColumn['index']>).column);
      const { rows } = await sql<{ prefix: string | null; rows: string }>`
        select substring(${index} from '^v[0-9]+[.][0-9a-f]+[.]') as prefix, count(*) as rows
        from ${sql.table(table.name)}
        where ${own} and ${sql.ref(column.name)} is not null
        group by 1 order by 1`.execute(plain);
      for (const { prefix, rows: count } of rows)
        counts.push({ column: `${table.name}.${column.name}`, prefix, rows: Number(count) });
    }
  }
  return counts;
}

interface ColumnWork {
  /** Rows to do. */
  readonly todo: RawBuilder<boolean>;
  /** New values for one row. */
  readonly change: Change;
}

async function sweep<DB>(
  db: Kysely<DB>,
  keys: OrgKeys,
  columns: EncryptedColumns<DB>,
  options: SweepOptions,
  concerns: (column: DeclaredColumn) => boolean,
  workOn: (column: DeclaredColumn) => ColumnWork,
): Promise<readonly SweptColumn[]> {
  const batch = options.batch ?? 500;
  if (!Number.isInteger(batch) || batch < 1 || batch > 10_000)
    throw new TypeError('batch is an integer from 1 to 10 000');
  const plain = db.withoutPlugins();
  const swept: SweptColumn[] = [];
  for (const table of columns.tables.values()) {
    const own = ownRows(table, keys, options);
    for (const column of table.sealed.values()) {
      if (!concerns(column)) continue;
      const name = `${table.name}.${column.name}`;
      const work = workOn(column);
      let changed = 0;
      let after: Row | undefined;
      while (options.signal?.aborted !== true) {
        const done = await sweepBatch(plain, table, column, own, work, batch, after);
        changed += done.changed;
        after = done.last;
        if (after === undefined) break;
        options.onProgress?.(name, changed);
      }
      const left = await sql<{ rows: string }>`
        select count(*) as rows from ${sql.table(table.name)} where ${own} and ${work.todo}`.execute(plain);
      swept.push({ column: name, changed, remaining: Number(left.rows[0]?.rows) });
    }
  }
  return swept;
}

async function sweepBatch<DB>(
  db: Kysely<DB>,
  table: DeclaredTable,
  column: DeclaredColumn,
  own: RawBuilder<boolean>,
  { todo, change }: ColumnWork,
  batch: number,
  after: Row | undefined,
): Promise<{ changed: number; last: Row | undefined }> {
  const ids = table.row.map(([name]) => sql.ref(name));
  const beyond =
    after === undefined
      ? sql<boolean>`true`
      : sql<boolean>`(${sql.join(ids)}) > (${sql.join(table.row.map(([name]) => sql.val(after[name])))})`;
  return db.transaction().execute(async (trx) => {
    const { rows } = await sql<Row>`
      select ${sql.join([...ids, sql.ref(column.name)])} from ${sql.table(table.name)}
      where ${own} and ${todo} and ${beyond} order by ${sql.join(ids)} limit ${sql.lit(batch)}`.execute(trx);
    let changed = 0;
    for (const row of rows) {
      const values = table.row.map(([name, type]) => canonicalRowId(table.name, name, type, row[name]));
      const set = Object.entries(change(rowIdText(values), row[column.name]));
      const same = [...table.row.map(([name]) => name), column.name].map(
        (name) => sql`${sql.ref(name)} = ${sql.val(row[name])}`,
      );
      const result = await sql`
        update ${sql.table(table.name)}
        set ${sql.join(set.map(([name, value]) => sql`${sql.ref(name)} = ${sql.val(value)}`))}
        where ${own} and ${sql.join(same, sql` and `)}`.execute(trx);
      changed += Number(result.numAffectedRows ?? 0);
    }
    return { changed, last: rows.at(-1) };
  });
}

/** Condition that keeps a sweep to rows of the keys' organisation. */
function ownRows(
  table: DeclaredTable,
  keys: OrgKeys,
  { singleOrg }: Pick<SweepOptions, 'singleOrg'>,
): RawBuilder<boolean> {
  if (table.org !== undefined) return sql<boolean>`${sql.ref(table.org)} = ${keys.org}`;
  if (singleOrg === true) return sql<boolean>`true`;
  throw new TypeError(
    `${table.name} is declared without org: declare it, or set singleOrg when the handle sees rows of one organisation only`,
  );
}

function sealedForm({ name, type }: DeclaredColumn): ReturnType<Sql> {
  const column = sql.ref(name);
  if (type === 'text') return sql`(${column} ^@ 'rf1.')`;
  return sql`(octet_length(${column}) >= ${sql.lit(FIELD_OVERHEAD_BYTES)} and substring(${column} from 1 for 2) = '\\x0101'::bytea)`;
}

function withIndex<T>(keys: OrgKeys, use: (values: IndexValues) => T): T {
  const values = new IndexValues(keys);
  try {
    return use(values);
  } finally {
    values.wipe();
  }
}
