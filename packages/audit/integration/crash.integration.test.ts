import { expect, test } from 'vitest';
import { crashRounds } from '../test/crash-rounds.ts';

test('nothing acknowledged is lost in fifty crashes, and the control without a flush does lose', async () => {
  const { acknowledged, lost, lostByControl } = await crashRounds(50);
  expect(acknowledged).toBeGreaterThanOrEqual(7_500);
  expect(lost).toBe(0);
  expect(lostByControl).toBeGreaterThan(0);
}, 600_000);
