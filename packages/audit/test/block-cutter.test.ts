/** Blocks are whole lines, every byte is in one of them once, and the memory of a chunk is free to be used again. */

import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { BlockCutter } from '../src/parallel/block-cutter.ts';

test('blocks and the rest are what was pushed, in order, each block of whole lines', () => {
  const chunks = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '\n'), maxLength: 30 }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(chunks, fc.integer({ min: 1, max: 25 }), (texts, size) => {
      const cutter = new BlockCutter(size);
      const memory = new Uint8Array(30);
      let out = '';
      for (const text of texts) {
        memory.set(Buffer.from(text));
        let rest = memory.subarray(0, text.length);
        while (rest.length > 0) {
          rest = rest.subarray(cutter.take(rest));
          if (!cutter.isFull) continue;
          const block = cutter.cut();
          if (block === undefined) {
            out += Buffer.from(cutter.rest()).toString();
            continue;
          }
          expect(block.at(-1)).toBe(0x0a);
          expect(block.length).toBeLessThanOrEqual(size);
          out += Buffer.from(block).toString();
          cutter.reuse(block);
        }
        memory.fill(0);
      }
      expect(out + Buffer.from(cutter.rest()).toString()).toBe(texts.join(''));
    }),
    { numRuns: 500 },
  );
});
