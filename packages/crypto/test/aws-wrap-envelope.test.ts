/** The wrap envelope of the three clouds: its bytes, its binding, and what its parser makes of hostile input. */
import { createCipheriv, createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { encodeWrapContext, openWrap, parseWrap, sealWrap } from '../src/cloud-kms/wrap-envelope.ts';
import { CONTEXT, OTHER_ORG } from './servers/kms-expectations.ts';
import { altered } from './servers/wrap-surgery.ts';

const key = Uint8Array.from({ length: 32 }, (_, index) => index);
const transportKey = new Uint8Array(32).fill(0x42);
const header = { kekVersion: 'main/7', kmsCiphertext: Uint8Array.of(1, 2, 3) };
const context = encodeWrapContext('aws-kms', CONTEXT);
const wrap = sealWrap(key, transportKey, header, context);

describe('the wrap envelope', () => {
  it('has exactly the bytes of its description', () => {
    const part = (text: string | Uint8Array): Buffer => {
      const bytes = Buffer.from(text as string);
      return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
    };
    const aad = Buffer.concat(
      [
        ...['ringfence/crypto/cloud-wrap/v1', 'aws-kms', CONTEXT.app, CONTEXT.org, CONTEXT.keyId],
        Uint8Array.of(0, 0, 0, 3),
        ...['dek', 'main/7', Uint8Array.of(1, 2, 3)],
      ].map(part),
    );
    const cipher = createCipheriv('aes-256-gcm', transportKey, new Uint8Array(12)).setAAD(aad);
    const sealed = [cipher.update(key), cipher.final(), cipher.getAuthTag()];
    const body = Buffer.concat([Buffer.of(1), part('main/7'), part(Uint8Array.of(1, 2, 3)), ...sealed]);
    const digest = createHash('sha256').update(body).digest().subarray(0, 8);
    expect(Buffer.from(wrap)).toEqual(Buffer.concat([body, digest]));
  });

  it('opens under its own transport key and context, and under no other', () => {
    const parsed = parseWrap(wrap);
    if (parsed === undefined) throw new Error('not parsed');
    expect(openWrap(parsed, transportKey, context)).toEqual(key);
    expect(openWrap(parsed, new Uint8Array(32), context)).toBeUndefined();
    expect(openWrap(parsed, transportKey, encodeWrapContext('gcp-kms', CONTEXT))).toBeUndefined();
    for (const other of [
      OTHER_ORG,
      { ...CONTEXT, app: 'ledger2' },
      { ...CONTEXT, keyId: `f${CONTEXT.keyId.slice(1)}` },
      { ...CONTEXT, version: 4 },
      { ...CONTEXT, purpose: 'subject' as const },
    ]) {
      expect(openWrap(parsed, transportKey, encodeWrapContext('aws-kms', other))).toBeUndefined();
    }
  });

  it('is refused by the digest alone when any byte is flipped, or it is cut or extended', () => {
    for (let at = 0; at < wrap.length; at += 1) {
      const flipped = wrap.slice();
      flipped[at] = (flipped[at] as number) ^ 0x80;
      expect(parseWrap(flipped)).toBeUndefined();
      expect(parseWrap(wrap.slice(0, at))).toBeUndefined();
    }
    expect(parseWrap(Uint8Array.of(...wrap, 0))).toBeUndefined();
  });

  it('does not open when any byte before the digest is flipped and the digest made right again', () => {
    for (let at = 0; at < wrap.length - 8; at += 1) {
      const forged = altered(wrap, (body) => {
        body[at] = (body[at] as number) ^ 0x01;
        return body;
      });
      const parsed = parseWrap(forged);
      expect(parsed === undefined || openWrap(parsed, transportKey, context) === undefined).toBe(true);
    }
  });

  it('parses hostile bytes with a right digest without throwing, and reads no part beyond the end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (tail) => {
        const forged = altered(wrap, () => Uint8Array.of(1, ...tail));
        const parsed = parseWrap(forged);
        if (parsed === undefined) return;
        const length = parsed.kekVersion.length + parsed.kmsCiphertext.length + parsed.sealed.length;
        expect(length).toBe(forged.length - 1 - 2 - 2 - 8);
      }),
    );
  });

  it('encodes two contexts alike only when they are the same', () => {
    const name = fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom('a', 'b', '\0', '/') });
    fc.assert(
      fc.property(name, name, name, name, (app1, keyId1, app2, keyId2) => {
        const one = encodeWrapContext('aws-kms', { ...CONTEXT, app: app1, keyId: keyId1 });
        const two = encodeWrapContext('aws-kms', { ...CONTEXT, app: app2, keyId: keyId2 });
        expect(Buffer.from(one).equals(two)).toBe(app1 === app2 && keyId1 === keyId2);
      }),
    );
  });
});
