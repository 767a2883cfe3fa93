/**
 * Vectors of project Wycheproof against the primitives as this package uses them: AES-256-GCM with a latin1 string key,
 * one-shot HMAC-SHA-512, HKDF-SHA-512. The vectors are not ours: RINGFENCE_VECTORS names the folder that holds them.
 */
import { type CipherGCMOptions, createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hkdf } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { OneShotHmac } from '../src/one-shot-hmac.ts';

interface Group {
  readonly ivSize?: number;
  readonly keySize?: number;
  readonly tagSize?: number;
  readonly tests: readonly Record<string, string>[];
}

const folder = process.env['RINGFENCE_VECTORS'];
const has = (file: string) => folder !== undefined && existsSync(join(folder, file));
const groups = (file: string): readonly Group[] =>
  JSON.parse(readFileSync(join(folder ?? '', file), 'utf8')).testGroups;
const hex = (text: string | undefined) => Buffer.from(text ?? '', 'hex');
const GCM: CipherGCMOptions & { readonly encoding: 'latin1' } = { authTagLength: 16, encoding: 'latin1' };

function oneShot(key: Uint8Array, message: Uint8Array): Buffer {
  const mac = new OneShotHmac(key, 16);
  mac.reserve(message.length);
  mac.message.set(message);
  return Buffer.from(mac.digest(message.length), 'latin1');
}

describe.skipIf(!has('wycheproof_aes_gcm_test.json'))('Wycheproof AES-GCM (RINGFENCE_VECTORS)', () => {
  it('opens what is valid and refuses what is not', () => {
    let count = 0;
    for (const group of groups('wycheproof_aes_gcm_test.json')) {
      if (group.keySize !== 256 || group.ivSize !== 96 || group.tagSize !== 128) continue;
      for (const test of group.tests) {
        count += 1;
        const key = hex(test['key']).toString('latin1');
        const decipher = createDecipheriv('aes-256-gcm', key, hex(test['iv']), GCM);
        decipher.setAAD(hex(test['aad']));
        decipher.setAuthTag(hex(test['tag']));
        const body = decipher.update(hex(test['ct']));
        if (test['result'] === 'invalid') {
          expect(() => decipher.final(), test['comment']).toThrow();
          continue;
        }
        decipher.final();
        expect(body.toString('hex')).toBe(test['msg']);
        const cipher = createCipheriv('aes-256-gcm', key, hex(test['iv']), GCM);
        cipher.setAAD(hex(test['aad']));
        expect(cipher.update(hex(test['msg'])).toString('hex')).toBe(test['ct']);
        cipher.final();
        expect(cipher.getAuthTag().toString('hex')).toBe(test['tag']);
      }
    }
    expect(count).toBeGreaterThan(30);
  });
});

describe.skipIf(!has('wycheproof_hmac_sha512_test.json'))(
  'Wycheproof HMAC-SHA-512 (RINGFENCE_VECTORS)',
  () => {
    it('agrees with the one-shot HMAC', () => {
      let count = 0;
      for (const group of groups('wycheproof_hmac_sha512_test.json')) {
        for (const test of group.tests) {
          const key = hex(test['key']);
          if (key.length > 128) continue; // longer keys are hashed first, which this package never needs
          count += 1;
          const tag = oneShot(key, hex(test['msg']))
            .subarray(0, (group.tagSize ?? 0) / 8)
            .toString('hex');
          expect(tag === test['tag'], test['comment']).toBe(test['result'] === 'valid');
        }
      }
      expect(count).toBeGreaterThan(50);
    });
  },
);

describe.skipIf(!has('wycheproof_hkdf_sha512_test.json'))(
  'Wycheproof HKDF-SHA-512 (RINGFENCE_VECTORS)',
  () => {
    it('agrees with hkdfSync and, for one block, with extract and expand by one-shot HMAC', () => {
      let blocks = 0;
      for (const group of groups('wycheproof_hkdf_sha512_test.json')) {
        for (const test of group.tests) {
          const size = Number(test['size']);
          if (test['result'] !== 'valid') {
            expect(() =>
              hkdfSync('sha512', hex(test['ikm']), hex(test['salt']), hex(test['info']), size),
            ).toThrow();
            continue;
          }
          const okm = hkdfSync('sha512', hex(test['ikm']), hex(test['salt']), hex(test['info']), size);
          expect(Buffer.from(okm).toString('hex')).toBe(test['okm']);
          if (size > 64 || hex(test['salt']).length > 128) continue;
          blocks += 1;
          const prk = oneShot(hex(test['salt']), hex(test['ikm']));
          const block = oneShot(prk, Buffer.concat([hex(test['info']), Buffer.of(1)]));
          expect(block.subarray(0, size).toString('hex')).toBe(test['okm']);
        }
      }
      expect(blocks).toBeGreaterThan(20);
    });
  },
);

describe('a second implementation (@noble/hashes)', () => {
  it('agrees with the one-shot HMAC for any key up to a block and any message', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 128 }), fc.uint8Array({ maxLength: 400 }), (key, message) => {
        expect(oneShot(key, message).equals(hmac(sha512, key, message))).toBe(true);
      }),
    );
    for (let length = 0; length <= 300; length += 1) {
      const message = new Uint8Array(length).fill(length);
      expect(oneShot(new Uint8Array(32), message).equals(hmac(sha512, new Uint8Array(32), message))).toBe(
        true,
      );
    }
  });

  it('agrees with hkdfSync', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.uint8Array(), (ikm, info) => {
        const salt = new Uint8Array(16).fill(1);
        const ours = Buffer.from(hkdfSync('sha512', ikm, salt, info, 32));
        expect(ours.equals(hkdf(sha512, ikm, salt, info, 32))).toBe(true);
      }),
    );
  });

  it('the one-shot HMAC refuses a key longer than a block', () => {
    expect(() => new OneShotHmac(new Uint8Array(129), 1)).toThrow(TypeError);
  });
});
