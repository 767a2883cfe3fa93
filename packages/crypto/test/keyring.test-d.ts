import { describe, expectTypeOf, it } from 'vitest';
import type { Cell, Keyring, OrgId, OrgKeys, RowCell } from '../src/index.ts';

declare const keyring: Keyring;
declare const keys: OrgKeys;
declare const org: OrgId;
declare const cell: Cell;

describe('the keyring', () => {
  it('takes parsed organisation ids only', () => {
    expectTypeOf(keyring.org).parameter(0).toEqualTypeOf<OrgId>();
    // @ts-expect-error a plain string is no organisation id
    void keyring.org('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
    expectTypeOf(keyring.org(org)).resolves.toEqualTypeOf<OrgKeys>();
  });

  it('tells cells from rows and bytes from text', () => {
    // @ts-expect-error a field needs a column
    keys.seal({ table: 't', row: 'r' }, new Uint8Array(1));
    // @ts-expect-error text is sealed with sealText
    keys.seal(cell, 'text');
    // @ts-expect-error a sealed text is opened with openText
    keys.open(cell, keys.sealText(cell, 'text'));
    // @ts-expect-error a row holds strings
    keys.sealRow(cell, { amount: 1 });
    expectTypeOf<Cell>().toExtend<RowCell>();
    expectTypeOf(keys.seal(cell, new Uint8Array(1))).toEqualTypeOf<Uint8Array>();
  });

  it('gives out no key and leases nothing that can be assigned', () => {
    expectTypeOf<OrgKeys>().not.toHaveProperty('key');
    // @ts-expect-error the organisation of a lease is fixed
    keys.org = org;
  });
});
