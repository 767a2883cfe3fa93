import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Keyring } from '../src/index.ts';
import { CELL, ORG_A, ORG_B, world } from './keyring-setup.ts';

let keyring: Keyring;
beforeAll(async () => {
  ({ keyring } = await world());
});
afterAll(() => keyring.close());

describe('taking the memory of one message away leaves those of others, of other organisations too', () => {
  it.each<[string, (message: Uint8Array<ArrayBuffer>) => unknown]>([
    [
      'by a byte stream',
      (message) => new ReadableStream({ type: 'bytes', start: (controller) => controller.enqueue(message) }),
    ],
    ['by a message to a worker', (message) => structuredClone(message, { transfer: [message.buffer] })],
    ['by transfer()', (message) => (message.buffer as ArrayBuffer & { transfer(): ArrayBuffer }).transfer()],
  ])('%s', async (_what, take) => {
    const [ours, theirs] = [await keyring.org(ORG_A), await keyring.org(ORG_B)];
    const plaintext = new TextEncoder().encode('not written to the database yet');
    const kept = theirs.seal(CELL, plaintext);
    const taken = ours.seal(CELL, plaintext);
    try {
      await take(taken as Uint8Array<ArrayBuffer>);
    } catch {
      // Refused, which is as good.
    }
    expect(theirs.open(CELL, kept)).toEqual(plaintext);
    expect(ours.open(CELL, ours.seal(CELL, plaintext))).toEqual(plaintext);
  });
});
