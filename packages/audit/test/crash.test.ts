/** The server crashes while events are recorded in every way. Fifty rounds of it are among the integration tests. */
import { expect, test } from 'vitest';
import { crashRounds } from './crash-rounds.ts';

test('nothing acknowledged is lost in three crashes, and the control without a flush does lose', async () => {
  const { acknowledged, lost, lostByControl } = await crashRounds(3);
  expect(acknowledged).toBeGreaterThanOrEqual(450);
  expect(lost).toBe(0);
  expect(lostByControl).toBeGreaterThan(0);
}, 120_000);
