import { beforeAll, describe, expect, it } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { keyIdOfMessage, type OrgKeys, RingfenceCryptoError } from '../src/index.ts';
import { decodeRow, encodeRow } from '../src/row-encoding.ts';
import { CELL, ORG_A, world } from './keyring-setup.ts';

let keys: OrgKeys;
beforeAll(async () => {
  keys = await (await world()).keyring.org(ORG_A);
});

/** Any JavaScript string, lone surrogates included. */
const anyString = fc.string({ unit: 'binary' });
const part = fc.string({ unit: 'binary', minLength: 1, maxLength: 200 });
const cell = fc.record(
  { table: part, column: part, row: part },
  { requiredKeys: ['table', 'column', 'row'] },
);
const wellFormed = (text: string) => (text as string & { isWellFormed(): boolean }).isWellFormed();

describe('for any input', () => {
  it('bytes come back from their cell and from no other', () => {
    fc.assert(
      fc.property(cell, cell, fc.uint8Array({ maxLength: 300 }), (one, other, plaintext) => {
        const message = keys.seal(one, plaintext);
        expect([...keys.open(one, message)]).toEqual([...plaintext]);
        const same = one.table === other.table && one.column === other.column && one.row === other.row;
        if (!same) expect(() => keys.open(other, message)).toThrow(RingfenceCryptoError);
      }),
    );
  });

  it('a text comes back unchanged or is refused, never changed', () => {
    const units = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 50 });
    fc.assert(
      fc.property(
        fc.oneof(
          anyString,
          units.map((codes) => String.fromCharCode(...codes)),
        ),
        (text) => {
          if (wellFormed(text)) expect(keys.openText(CELL, keys.sealText(CELL, text))).toBe(text);
          else expect(() => keys.sealText(CELL, text)).toThrow(TypeError);
        },
      ),
    );
  });

  it('a row comes back field by field', () => {
    fc.assert(
      fc.property(fc.dictionary(anyString, anyString, { maxKeys: 12 }), (fields) => {
        const opened = keys.openRow(CELL, keys.sealRow(CELL, fields));
        expect(Object.entries(opened)).toEqual(Object.entries(fields));
      }),
    );
  });

  it('foreign bytes are refused with a code, and nothing else happens', () => {
    const headed = fc
      .tuple(fc.uint8Array({ maxLength: 200 }), fc.boolean())
      .map(([bytes, own]) =>
        own ? Buffer.concat([Buffer.of(1, 1), Buffer.from(keys.activeKeyId, 'hex'), bytes]) : bytes,
      );
    fc.assert(
      fc.property(headed, (message) => {
        expect(() => keys.open(CELL, message)).toThrow(RingfenceCryptoError);
        expect(() => keys.openRow(CELL, message)).toThrow(RingfenceCryptoError);
      }),
    );
  });

  it('foreign text is refused with a code', () => {
    fc.assert(
      fc.property(anyString, (text) => {
        expect(() => keys.openText(CELL, text)).toThrow(RingfenceCryptoError);
        expect(() => keys.openText(CELL, `rf1.${text}`)).toThrow(RingfenceCryptoError);
      }),
    );
  });

  it('a row encoding has one reading: what decodes also encodes to the same bytes', () => {
    const near = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.dictionary(anyString, anyString, { maxKeys: 4 }).map((fields) => Uint8Array.from(encodeRow(fields))),
    );
    fc.assert(
      fc.property(near, fc.nat(), fc.nat(255), (bytes, at, value) => {
        const changed = bytes.slice();
        if (changed.length > 0) changed[at % changed.length] = value;
        let fields: Record<string, string>;
        try {
          fields = decodeRow(changed);
        } catch (error) {
          expect((error as RingfenceCryptoError).code).toBe('crypto.malformed_message');
          return;
        }
        // Integer-like names move to the front of a JavaScript object; every other order is kept.
        const ordered = !Object.keys(fields).some((name) => /^(0|[1-9]\d*)$/.test(name));
        if (ordered) expect([...encodeRow(fields)]).toEqual([...changed]);
      }),
    );
  });

  it('the key id of a message is the one that sealed it', () => {
    fc.assert(
      fc.property(cell, (where) => {
        expect(keyIdOfMessage(keys.seal(where, new Uint8Array(1)))).toBe(keys.activeKeyId);
      }),
    );
  });
});
