import type { QueryResult, Transaction } from 'kysely';
import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { type Audit, defineEvents, type OrgId, type QueryExecutor, type SealedEvent } from '../src/index.ts';

const events = defineEvents({
  'entry.posted': { target: 'entry', data: z.object({ amount: z.string(), lines: z.number().optional() }) },
  'entry.approved': { target: 'entry' },
  'login.succeeded': {},
});
declare const audit: Audit<typeof events>;
declare const trx: Transaction<{ 'app.entry': { id: string } }>;
declare const result: QueryResult<unknown>;
declare const org: OrgId;

test('accepts what the catalogue defines', () => {
  const receipt = audit.prepare('entry.posted', {
    target: 'e1',
    outcome: 'success',
    data: { amount: '1.00' },
  });
  audit.prepare('entry.approved', {
    target: 'e1',
    outcome: 'denied',
    reason: 'limit',
    before: { a: 1 },
    after: {},
  });
  audit.prepare('login.succeeded', { outcome: 'failure' });
  expectTypeOf(trx).toExtend<QueryExecutor>();
  expectTypeOf(audit.sealed(receipt, result)).toEqualTypeOf<Promise<SealedEvent>>();
  expectTypeOf<SealedEvent['orgSeq']>().toEqualTypeOf<number>();
});

test('does not compile what it does not define', () => {
  // @ts-expect-error an unknown event
  audit.prepare('entry.erased', { outcome: 'success' });
  // @ts-expect-error wrong data
  audit.prepare('entry.posted', { target: 'e1', outcome: 'success', data: { amount: 1 } });
  // @ts-expect-error data is missing
  audit.prepare('entry.posted', { target: 'e1', outcome: 'success' });
  // @ts-expect-error data of an event without data
  audit.prepare('entry.approved', { target: 'e1', outcome: 'success', data: {} });
  // @ts-expect-error the target is missing
  audit.prepare('entry.approved', { outcome: 'success' });
  // @ts-expect-error the target of an event without one
  audit.prepare('login.succeeded', { outcome: 'success', target: 'u1' });
  // @ts-expect-error the outcome is missing
  audit.prepare('login.succeeded', {});
  // @ts-expect-error an unknown outcome
  audit.prepare('login.succeeded', { outcome: 'ok' });
  // @ts-expect-error the actor comes from the database
  audit.prepare('login.succeeded', { outcome: 'success', actor: 'user:ceo' });
  // @ts-expect-error so does the organisation
  audit.prepare('login.succeeded', { outcome: 'success', org });
  // @ts-expect-error an organisation id has been parsed
  void audit.verify(trx, '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
});
