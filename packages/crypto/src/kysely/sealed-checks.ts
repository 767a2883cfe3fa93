/**
 * CHECK constraints that keep plaintext out of sealed columns at the database itself: raw SQL, other programs and psql
 * don't pass the plugin.
 * Invariant: the constraint tells sealed form from other content, not genuine from forged; opening does that.
 */
import { FIELD_OVERHEAD_BYTES } from '../field-format.ts';
import type { EncryptedColumns } from './declaration.ts';

/**
 * SQL statements, one per sealed column, that add a CHECK constraint `<column>_sealed`. Add them when the sweep of
 * existing plaintext counts none left, or with `NOT VALID` before.
 *
 * @example
 * ```ts
 * sealedColumnChecks(columns);
 * // alter table "ledger"."entry" add constraint "memo_sealed" check ("memo" ^@ 'rf1.');
 * ```
 */
export function sealedColumnChecks<DB>(columns: EncryptedColumns<DB>): readonly string[] {
  return [...columns.tables.values()].flatMap((table) =>
    [...table.sealed.values()].map(({ name, type }) => {
      const column = quoted(name);
      const check =
        type === 'text'
          ? `${column} ^@ 'rf1.'`
          : `octet_length(${column}) >= ${FIELD_OVERHEAD_BYTES} and substring(${column} from 1 for 2) = '\\x0101'::bytea`;
      const target = table.name.split('.').map(quoted).join('.');
      return `alter table ${target} add constraint ${quoted(`${name}_sealed`)} check (${check});`;
    }),
  );
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}
