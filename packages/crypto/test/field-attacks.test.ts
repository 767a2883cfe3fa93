import { describe, expect, it } from 'vitest';
import {
  FIELD_MAX_PLAINTEXT_BYTES,
  FIELD_OVERHEAD_BYTES,
  isSealedText,
  keyIdOfMessage,
} from '../src/index.ts';
import { KmsGateway } from '../src/key-wrapping.ts';
import { systemRandom } from '../src/salt-source.ts';
import { CELL, codeOf, ORG_A, ORG_B, world } from './keyring-setup.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

describe('a sealed field', () => {
  it('opens in its own cell and is 90 bytes longer than its content', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    for (const length of [0, 1, 15, 16, 17, 32, 4096, 9000]) {
      const plaintext = new Uint8Array(length).fill(7);
      const message = keys.seal(CELL, plaintext);
      expect(message.length).toBe(length + 90);
      expect(FIELD_OVERHEAD_BYTES).toBe(90);
      expect([...keys.open(CELL, message)]).toEqual([...plaintext]);
    }
  });

  it('does not open in another table, column, row or purpose', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const message = keys.seal(CELL, bytes('secret'));
    const others = [
      { ...CELL, table: 'payment' },
      { ...CELL, column: 'note' },
      { ...CELL, row: 'row-2' },
      { ...CELL, purpose: 'export' },
      { table: CELL.column, column: CELL.table, row: CELL.row },
    ];
    for (const cell of others) expect(codeOf(() => keys.open(cell, message))).toBe('crypto.decrypt_failed');
    expect(codeOf(() => keys.openRow(CELL, message))).toBe('crypto.decrypt_failed');
    expect([...keys.open({ ...CELL, purpose: 'field' }, message)]).toEqual([...bytes('secret')]);
  });

  it('does not open for another organisation, even when its key id is put into the header', async () => {
    const { keyring } = await world();
    const a = await keyring.org(ORG_A);
    const b = await keyring.org(ORG_B);
    const message = a.seal(CELL, bytes('secret'));
    expect(codeOf(() => b.open(CELL, message))).toBe('crypto.unknown_key_version');
    const forged = message.slice();
    forged.set(Buffer.from(b.activeKeyId, 'hex'), 2);
    expect(codeOf(() => b.open(CELL, forged))).toBe('crypto.decrypt_failed');
  });

  it('does not open under another version of the same organisation when the key id is exchanged', async () => {
    const { keyring, store, options } = await world();
    const first = await keyring.org(ORG_A);
    const old = first.seal(CELL, bytes('old'));
    const gateway = new KmsGateway('test', options.kms, 1000);
    await store.insertVersion(await gateway.makeVersion(ORG_A, 2, 'local:a', systemRandom, 0));
    keyring.revoke(ORG_A);
    const keys = await keyring.org(ORG_A);
    expect(keys.activeKeyId).not.toBe(keyIdOfMessage(old));
    expect(keys.keyIds).toEqual([keys.activeKeyId, keyIdOfMessage(old)]);
    expect([...keys.open(CELL, old)]).toEqual([...bytes('old')]);
    const renamed = old.slice();
    renamed.set(Buffer.from(keys.activeKeyId, 'hex'), 2);
    expect(codeOf(() => keys.open(CELL, renamed))).toBe('crypto.decrypt_failed');
  });

  it('tells ("ab","c") from ("a","bc") in every pair of neighbouring coordinates', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const pairs = [
      [
        { table: 'ab', column: 'c', row: 'r' },
        { table: 'a', column: 'bc', row: 'r' },
      ],
      [
        { table: 't', column: 'ab', row: 'c' },
        { table: 't', column: 'a', row: 'bc' },
      ],
      [
        { table: 't', column: 'c', row: 'ab', purpose: 'c' },
        { table: 't', column: 'c', row: 'a', purpose: 'bc' },
      ],
      [
        { table: 't', column: 'c', row: 'r\u0000' },
        { table: 't', column: 'c', row: 'r' },
      ],
    ] as const;
    for (const [one, other] of pairs) {
      const message = keys.seal(one, bytes('x'));
      expect(codeOf(() => keys.open(other, message))).toBe('crypto.decrypt_failed');
    }
  });

  it('does not open when any bit of any byte is flipped, and says nothing about which', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const message = keys.seal(CELL, bytes('sixteen bytes ok'));
    const texts = new Set<string>();
    for (let at = 0; at < message.length; at += 1) {
      for (const mask of [0x01, 0x80]) {
        const flipped = message.slice();
        flipped[at] = (flipped[at] as number) ^ mask;
        const code = codeOf(() => keys.open(CELL, flipped));
        if (at < 2) expect(code).toBe('crypto.unsupported_version');
        else if (at < 18) expect(code).toBe('crypto.unknown_key_version');
        else {
          expect(code).toBe('crypto.decrypt_failed');
          try {
            keys.open(CELL, flipped);
          } catch (error) {
            texts.add((error as Error).message);
          }
        }
      }
    }
    expect(texts.size).toBe(1);
  });

  it('does not open when it is truncated or extended by any number of bytes', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const message = keys.seal(CELL, bytes('sixteen bytes ok'));
    for (let length = 0; length < message.length; length += 1) {
      const expected = length < 90 ? 'crypto.malformed_message' : 'crypto.decrypt_failed';
      expect(codeOf(() => keys.open(CELL, message.slice(0, length)))).toBe(expected);
    }
    for (const extra of [1, 16, 90]) {
      expect(codeOf(() => keys.open(CELL, Buffer.concat([message, Buffer.alloc(extra)])))).toBe(
        'crypto.decrypt_failed',
      );
    }
  });

  it('does not open with the ciphertext of another message, or parts of it, spliced in', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const one = keys.seal(CELL, bytes('aaaaaaaa'));
    const two = keys.seal(CELL, bytes('bbbbbbbb'));
    for (const [from, to] of [
      [18, 42],
      [42, 74],
      [74, 82],
      [82, 98],
      [42, 98],
      [18, 74],
    ] as const) {
      const spliced = one.slice();
      spliced.set(two.subarray(from, to), from);
      expect(codeOf(() => keys.open(CELL, spliced))).toBe('crypto.decrypt_failed');
    }
  });

  it('never repeats a salt, nor a message for the same content', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const salts = new Set<string>();
    for (let i = 0; i < 2000; i += 1) {
      salts.add(Buffer.from(keys.seal(CELL, bytes('same')).subarray(18, 42)).toString('hex'));
    }
    expect(salts.size).toBe(2000);
  });

  it('holds up to 1 MiB and refuses more before any key is used', async () => {
    const { keyring } = await world();
    const keys = await keyring.org(ORG_A);
    const most = new Uint8Array(FIELD_MAX_PLAINTEXT_BYTES).fill(1);
    expect(keys.open(CELL, keys.seal(CELL, most)).length).toBe(1_048_576);
    const over = new Uint8Array(FIELD_MAX_PLAINTEXT_BYTES + 1);
    expect(codeOf(() => keys.seal(CELL, over))).toBe('crypto.message_too_large');
    expect(codeOf(() => keys.sealText(CELL, 'é'.repeat(524_289)))).toBe('crypto.message_too_large');
    expect(codeOf(() => keys.sealRow(CELL, { a: 'x'.repeat(1_048_570) }))).toBe('crypto.message_too_large');
    expect(codeOf(() => keys.open(CELL, new Uint8Array(over.length + 90)))).toBe('crypto.malformed_message');
  });

  it('gives memory of its own: changing a message or plaintext changes no other', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const one = keys.seal(CELL, bytes('one'));
    const two = keys.seal(CELL, bytes('two'));
    one.fill(0);
    const opened = keys.open(CELL, two);
    keys.open(CELL, two).fill(0);
    expect([...opened]).toEqual([...bytes('two')]);
    expect(Object.getPrototypeOf(one)).toBe(Uint8Array.prototype);
    expect(Object.getPrototypeOf(opened)).toBe(Uint8Array.prototype);
  });
});

describe('coordinates of a cell', () => {
  it('are refused when empty, too long, not a string, or holding a lone surrogate', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const wrong: unknown[] = ['', 'x'.repeat(1025), 'é'.repeat(513), '\ud800', 'a\udc00b', 7, null];
    for (const value of wrong) {
      for (const part of ['table', 'column', 'row', 'purpose'] as const) {
        const cell = { ...CELL, [part]: value } as typeof CELL;
        expect(() => keys.seal(cell, bytes('x')), `${part} ${String(value)}`).toThrow(TypeError);
      }
    }
    expect(() => keys.seal({ table: 't', column: 'c' } as never, bytes('x'))).toThrow(TypeError);
  });

  it('work up to 1024 bytes each, and a long row leaves later ones right', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const long = {
      table: 't'.repeat(1024),
      column: 'é'.repeat(512),
      row: '\u{1f600}'.repeat(256),
      purpose: 'p',
    };
    const before = keys.seal(CELL, bytes('before'));
    const message = keys.seal(long, bytes('long'));
    expect([...keys.open(long, message)]).toEqual([...bytes('long')]);
    expect([...keys.open(CELL, before)]).toEqual([...bytes('before')]);
  });

  it('keep apart more columns than the cache of encoded columns holds', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const cells = Array.from({ length: 1500 }, (_, i) => ({ ...CELL, column: `c${i}` }));
    const messages = cells.map((cell) => keys.seal(cell, bytes(cell.column)));
    cells.forEach((cell, i) => {
      expect(keys.open(cell, messages[i] as Uint8Array)).toEqual(bytes(cell.column));
    });
  });
});

describe('the text form', () => {
  it('is told from plaintext by its prefix and gives back the text', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    for (const text of ['', 'Zürich', '\ufeffwith byte order mark', '\u0000', '😀']) {
      const sealed = keys.sealText(CELL, text);
      expect(isSealedText(sealed)).toBe(true);
      expect(sealed).toMatch(/^rf1\.[A-Za-z0-9_-]+$/);
      expect(keys.openText(CELL, sealed)).toBe(text);
    }
    expect(isSealedText('Paid by wire')).toBe(false);
  });

  it('refuses a lone surrogate, which UTF-8 would silently replace', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    expect(() => keys.sealText(CELL, 'a\ud800')).toThrow(TypeError);
    expect(() => keys.sealRow(CELL, { a: '\udfff' })).toThrow(TypeError);
    expect(() => keys.sealRow(CELL, { '\udfff': 'a' })).toThrow(TypeError);
  });

  it('has one spelling: padding, other alphabets, white space and loose bits are refused', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const sealed = keys.sealText(CELL, 'x'); // 91 bytes: the last character carries four loose bits
    const body = sealed.slice(4);
    const loose =
      body.slice(0, -1) +
      (body.endsWith('A') ? 'B' : String.fromCharCode(body.charCodeAt(body.length - 1) + 1));
    for (const wrong of [
      `${sealed}=`,
      `${sealed}\n`,
      ` ${sealed}`,
      `rf1.${loose}`,
      `rf1.${body}+`,
      `RF1.${body}`,
      body,
      'rf1.',
      '',
    ]) {
      expect(
        codeOf(() => keys.openText(CELL, wrong)),
        wrong,
      ).toBe('crypto.malformed_message');
    }
  });

  it('refuses plaintext where ciphertext is due, without repeating it', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    expect(codeOf(() => keys.openText(CELL, 'IBAN DE00 1234'))).toBe('crypto.malformed_message');
    try {
      keys.openText(CELL, 'IBAN DE00 1234');
    } catch (error) {
      expect(JSON.stringify([(error as Error).message, (error as Error).stack])).not.toContain('IBAN');
    }
    const binary = keys.seal(CELL, Uint8Array.of(0xff, 0xfe));
    const text = `rf1.${Buffer.from(binary).toString('base64url')}`;
    expect(codeOf(() => keys.openText(CELL, text))).toBe('crypto.malformed_message');
  });
});

describe('a sealed row', () => {
  const fields = { memo: 'Paid', reference: 'RF18 5390', empty: '', ['__proto__']: 'a field like any other' };

  it('gives back its fields, however they are named', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const row = { table: 'invoice', row: 'row-1' };
    const opened = keys.openRow(row, keys.sealRow(row, fields));
    expect(Object.entries(opened)).toEqual(Object.entries(fields));
    expect(Object.getPrototypeOf(opened)).toBe(Object.prototype);
    expect(keys.openRow(row, keys.sealRow(row, {}))).toEqual({});
  });

  it('does not open in another row or table, nor as a field', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    const message = keys.sealRow({ table: 'invoice', row: '1' }, fields);
    expect(codeOf(() => keys.openRow({ table: 'invoice', row: '2' }, message))).toBe('crypto.decrypt_failed');
    expect(codeOf(() => keys.openRow({ table: 'payment', row: '1' }, message))).toBe('crypto.decrypt_failed');
    for (const column of ['memo', '*', 'row', '\u0000']) {
      expect(codeOf(() => keys.open({ table: 'invoice', column, row: '1' }, message))).toBe(
        'crypto.decrypt_failed',
      );
    }
    expect(() => keys.open({ table: 'invoice', column: '', row: '1' }, message)).toThrow(TypeError);
  });

  it('refuses values that are no strings', async () => {
    const keys = await (await world()).keyring.org(ORG_A);
    expect(() => keys.sealRow(CELL, { a: 1 } as never)).toThrow(TypeError);
    expect(() => keys.sealRow(CELL, { a: null } as never)).toThrow(TypeError);
  });
});
