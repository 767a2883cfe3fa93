/**
 * Opens a stored value and seals it again for the same cell, under the active version.
 * Invariant: the plaintext lives for one call and is wiped where it is bytes.
 */
import type { Cell } from '../field-context.ts';
import type { OrgKeys } from '../org-keys.ts';

/** Re-seals values of one column. */
export class Resealer {
  readonly #keys: OrgKeys;
  readonly #kind: 'field' | 'row';

  constructor(keys: OrgKeys, kind: 'field' | 'row') {
    this.#keys = keys;
    this.#kind = kind;
  }

  /** The same content, sealed anew. */
  reseal(cell: Cell, sealed: string | Uint8Array): string | Uint8Array {
    if (typeof sealed === 'string') {
      if (this.#kind === 'row') throw new TypeError('rows are sealed into bytea columns');
      return this.#keys.sealText(cell, this.#keys.openText(cell, sealed));
    }
    if (this.#kind === 'row') {
      const { column: _, ...row } = cell;
      return this.#keys.sealRow(row, this.#keys.openRow(row, sealed));
    }
    const plaintext = this.#keys.open(cell, sealed);
    try {
      return this.#keys.seal(cell, plaintext);
    } finally {
      plaintext.fill(0);
    }
  }
}
