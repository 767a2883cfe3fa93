/** The state that is used again gives what a new one gives, whatever was hashed before. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { nobleSha256 } from '../src/verify/noble-sha256.ts';

const expected = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test('hashes every length about a block as another implementation does, in any order', () => {
  const sha256 = nobleSha256();
  const bytes = new Uint8Array(300).map((_, index) => index * 7);
  for (let length = 0; length <= 300; length++) {
    const input = bytes.subarray(0, length);
    expect(Buffer.from(sha256(input)).toString('hex')).toBe(expected(input));
  }
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: 1, maxLength: 4 }), (inputs) => {
      // Digests are kept while others are made.
      const digests = inputs.map(sha256);
      expect(digests.map((digest) => Buffer.from(digest).toString('hex'))).toEqual(inputs.map(expected));
    }),
  );
});
