/** A digest that is written in place is the one that is returned, and a SHA-256 of the caller's is taken as it is. */
import { expect, test } from 'vitest';
import { verifyExport } from '../src/index.ts';
import { nodeSha256 } from '../src/node-sha256.ts';
import { nobleSha256 } from '../src/verify/noble-sha256.ts';
import { attacksOn, exportOf, honest } from './export-corpus.ts';

test('both write what they return, to the place asked for and no other', () => {
  const bytes = new Uint8Array(300).map((_, index) => index * 7);
  const noble = nobleSha256();
  for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 300]) {
    const input = bytes.subarray(0, length);
    for (const sha256 of [nodeSha256, noble]) {
      const out = new Uint8Array(40).fill(9);
      sha256.into(input, out, 5);
      expect(out.subarray(5, 37)).toEqual(nodeSha256(input));
      expect(sha256(input)).toEqual(nodeSha256(input));
      expect([...out.subarray(0, 5), ...out.subarray(37)]).toEqual(new Array(8).fill(9));
    }
  }
});

test('with a SHA-256 of the caller the verdicts are the same', async () => {
  const attacked = [...attacksOn(honest(), 0)].filter((_, index) => index % 9 === 0);
  for (const { log } of [{ log: honest() }, ...attacked]) {
    const bytes = [exportOf(log)];
    const own = await verifyExport(bytes, { sha256: (input) => nodeSha256(input) });
    expect(own).toEqual(await verifyExport(bytes, { sha256: nodeSha256 }));
    expect(own).toEqual(await verifyExport(bytes));
  }
});

test('what does not return 32 bytes is no SHA-256', async () => {
  const bytes = [exportOf(honest())];
  await expect(verifyExport(bytes, { sha256: (input) => nodeSha256(input).subarray(1) })).rejects.toThrow(
    TypeError,
  );
});
