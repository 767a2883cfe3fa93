import { expect, test } from 'vitest';
import { type Numbers, watchLag } from '../src/lag-watch.ts';

/** What is reported when the numbers are these, one after the other. */
async function reported(...reads: readonly (Numbers | Error)[]): Promise<string[]> {
  const end = new AbortController();
  const lines: string[] = [];
  let at = 0;
  await watchLag({
    read: async () => {
      const numbers = reads[at++];
      if (at === reads.length) end.abort();
      if (numbers === undefined || numbers instanceof Error) throw numbers;
      return numbers;
    },
    limits: { oldestMs: 100 },
    everyMs: 1,
    report: (line, values) => {
      if (line !== 'lag') lines.push(`${line} ${Object.values(values).join(' ')}`);
    },
    signal: end.signal,
  });
  return lines;
}

test('an alarm lasts as long as its cause, and its end is told once', async () => {
  expect(
    await reported({ oldestMs: 100 }, { oldestMs: 101 }, { oldestMs: 200 }, { oldestMs: 0 }, { oldestMs: 0 }),
  ).toEqual(['alarm oldestMs 101 100', 'alarm oldestMs 200 100', 'clear oldestMs 0 100']);
});

test('what cannot be read, or is not there, or is no number, is an alarm', async () => {
  expect(await reported(new Error('no answer'), { oldestMs: 0 })).toEqual([
    'alarm unreadable',
    'clear unreadable',
  ]);
  expect(await reported({})).toEqual(['alarm oldestMs 100']);
  expect(await reported({ oldestMs: Number.NaN })).toEqual(['alarm oldestMs NaN 100']);
});
