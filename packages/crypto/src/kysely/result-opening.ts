/**
 * Opens the rows of a result by its plan, synchronously.
 * Invariant: nothing in sealed form leaves as a value; a row that can't be opened fails the query.
 */
import type { ColumnCipher } from './column-cipher.ts';
import { refused } from './column-errors.ts';
import { HIDDEN_PREFIX, type OpenedOutput, type ResultPlan } from './result-plan.ts';
import { canonicalRowId, rowIdText } from './row-identity.ts';
import { holdsSealed, namesKey } from './sealed-form.ts';

type Row = Record<string, unknown>;

/** Opens all rows; rows whose blind index hit was false are left out. */
export function openRows(rows: readonly Row[], plan: ResultPlan, cipher: ColumnCipher): Row[] {
  const keyIds = cipher.keys.keyIds;
  const opened: Row[] = [];
  for (const row of rows) {
    const one = openRow(row, plan, cipher, keyIds);
    if (one !== undefined) opened.push(one);
  }
  return opened;
}

function openRow(
  row: Row,
  plan: ResultPlan,
  cipher: ColumnCipher,
  keyIds: readonly string[],
): Row | undefined {
  const values = new Map<string, unknown>();
  for (const one of plan.opened) values.set(one.output, openOutput(row, one, plan, cipher));
  for (const { output, normalise, wanted } of plan.checks) {
    const value = values.get(output);
    if (typeof value !== 'string' || normalise(value) !== wanted) return undefined;
  }
  const out: Row = {};
  for (const name of Object.keys(row)) {
    if (name.startsWith(HIDDEN_PREFIX)) continue;
    const value = values.has(name) ? values.get(name) : row[name];
    if (!values.has(name)) refuseSealed(name, value, plan, keyIds);
    out[name] = value;
  }
  return out;
}

function openOutput(
  row: Row,
  { output, table, column, rowOutputs }: OpenedOutput,
  plan: ResultPlan,
  cipher: ColumnCipher,
): unknown {
  const value = row[plan.sqlName(output)];
  const rowValues = rowOutputs.map((name) => row[plan.sqlName(name)]);
  if (value === undefined || rowValues.includes(undefined)) {
    throw refused(
      `${table.name}.${column.name}: the result lacks a column that was asked for: no other plugin may rename columns`,
      { table: table.name, column: column.name },
    );
  }
  if (value === null) return null;
  const ids = table.row.map(([name, type], at) => canonicalRowId(table.name, name, type, rowValues[at]));
  return cipher.open(column, rowIdText(ids), value);
}

function refuseSealed(name: string, value: unknown, plan: ResultPlan, keyIds: readonly string[]): void {
  if (value === null || (typeof value !== 'string' && typeof value !== 'object')) return;
  // What users typed into plain columns may look sealed; there, only the id of a living key makes it so.
  const sealed = plan.originOf(name) === 'stored' ? namesKey(value, keyIds) : holdsSealed(value, keyIds);
  if (sealed) {
    throw refused(
      `the output "${name}" holds a sealed value whose cell is not known: select the column itself from its table, not through an expression, view or raw SQL`,
      { column: name },
    );
  }
}
