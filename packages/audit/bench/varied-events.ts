/**
 * Events as an app records them one after the other: of one type, with other ids, times, amounts and words in each, numbers
 * that count, strings of many lengths, and now and then other fields. The same sequence for every subject of a case.
 */
import { z } from 'zod';
import { defineEvents, type EventInput } from '../src/index.ts';

/** The catalogue of the benches. */
export const events = defineEvents({
  'entry.approved': {
    target: 'entry',
    data: z.object({ amount: z.string(), currency: z.string(), positions: z.int() }),
  },
});

/** One event of the catalogue. */
export type Approval = EventInput<(typeof events)['entry.approved']>;

const REASONS = [
  'matches purchase order 4711 and the bank statement of 3 March',
  'agreed with the supplier by phone',
  'second reminder, the invoice was checked against the delivery note and the contract of 2024 before it was paid',
  'Müller & Söhne: amount as ordered – 2 % discount taken',
  'four eyes',
] as const;
const NOTES = [
  'second pair of eyes: supplier account verified by phone before release of the payment',
  'ok',
  'the amount differs by 0.02 from the order, which is within what the policy for this cost centre allows; see the ticket',
  'paid in two parts, this is the first of them',
] as const;

/** Event number `n` of the sequence. About 520 bytes as a body; one in four has other fields than usual, one in 16 an escape. */
function eventOf(n: number): Approval {
  const version = 1 + ((n * 7) % 1_200);
  const second = String(n % 60).padStart(2, '0');
  const unusual = n % 16;
  const usual = {
    target: idOf(n, 1),
    outcome: 'success',
    reason: at(REASONS, n),
    note: at(NOTES, n * 3),
    before: { status: 'draft', approved_by: null, approved_at: null, version, account: '4400' },
    after: {
      status: 'approved',
      approved_by: idOf(n % 40, 2),
      approved_at: `2026-03-03T10:11:${second}.${String((n * 7_919) % 1_000_000).padStart(6, '0')}Z`,
      version: version + 1,
      account: '4400',
    },
    data: {
      amount: `${(n * 104_729) % 10 ** (2 + (n % 6))}.${String((n * 37) % 100).padStart(2, '0')}`,
      currency: n % 5 === 0 ? 'CHF' : 'EUR',
      positions: 1 + ((n * 13) % 30),
    },
  } as const;
  if (unusual === 3 || unusual === 11) {
    const { note: _, ...withoutNote } = usual;
    return withoutNote;
  }
  if (unusual === 9) return { ...usual, reason: 'said "pay at once" in the meeting of the board' };
  if (unusual === 7)
    return { ...usual, after: { ...usual.after, account: '4930', due: `2026-04-${second}` } };
  if (unusual === 14) {
    const { before: _, after: __, ...refused } = usual;
    return { ...refused, outcome: 'denied' };
  }
  return usual;
}

function idOf(n: number, kind: number): string {
  const digits = ((n * 2_654_435_761) % 2 ** 32).toString(16).padStart(8, '0');
  return `0190f5d2-7b1c-7d34-9a5${kind}-${digits}${String(n % 10_000).padStart(4, '0')}`;
}

function at<T>(values: readonly [T, ...T[]], n: number): T {
  return values[n % values.length] ?? values[0];
}

const SEQUENCE = Array.from({ length: 1_024 }, (_, n) => eventOf(n));

/** An endless walk over the sequence, from its beginning. */
export function varied(): () => Approval {
  let n = 0;
  return () => SEQUENCE[n++ % SEQUENCE.length] as Approval;
}
