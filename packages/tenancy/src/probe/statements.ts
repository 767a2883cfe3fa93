/** Names and rows as the statements of the probe write them. */

/** A row as SQL expressions by column. */
export type Row = ReadonlyMap<string, string>;

/** Quotes `schema.name` as it stands in the catalog, where the schema is known although it has a dot in it. */
export function quotedName(name: string, schema?: string): string {
  const dot = schema === undefined ? name.indexOf('.') : schema.length;
  return `${column(name.slice(0, dot))}.${column(name.slice(dot + 1))}`;
}

/** Quotes a column name. */
export function column(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** An INSERT of no row, for the right and the triggers of the statement alone. */
export function insertOfNone(name: string, row: Row): string {
  return `insert into ${quotedName(name)} (${[...row.keys()].map(column).join(', ')}) overriding system value select ${[...row.values()].join(', ')} where false`;
}

/** An INSERT of rows, identity columns included. */
export function insertOf(name: string, ...rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap((row) => [...row.keys()]))];
  const values = rows.map((row) => `(${columns.map((key) => row.get(key) ?? 'default').join(', ')})`);
  return `insert into ${quotedName(name)} (${columns.map(column).join(', ')}) overriding system value values ${values.join(', ')}`;
}
