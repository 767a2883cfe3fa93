import { expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
  type Audit,
  createAudit,
  defineEvents,
  type EventName,
  type OrgId,
  type PersonalEventName,
  type QueryExecutor,
} from '../src/index.ts';
import type { PersonalAudit, PersonalFieldName } from '../src/personal/index.ts';

const events = defineEvents({
  'member.invited': {
    target: 'member',
    data: z.object({ email: z.string(), role: z.string() }),
    personal: ['data.email', 'changes.iban', 'note'],
  },
  'entry.posted': { target: 'entry', data: z.object({ amount: z.string() }) },
});
declare const audit: Audit<typeof events>;
declare const personal: PersonalAudit<typeof events>;
declare const db: QueryExecutor;
declare const org: OrgId;
const schema = z.object({ email: z.string() });

test('knows which events and fields are personal', () => {
  expectTypeOf<EventName<typeof events>>().toEqualTypeOf<'entry.posted'>();
  expectTypeOf<PersonalEventName<typeof events>>().toEqualTypeOf<'member.invited'>();
  expectTypeOf<PersonalFieldName<typeof events>>().toEqualTypeOf<'data.email' | 'changes.iban' | 'note'>();
  createAudit({ events, db });
  const invited = { target: 'm', outcome: 'success', data: { email: 'a', role: 'b' } } as const;
  void personal.prepare(org, 'member.invited', { ...invited, subject: 'u-1' });
  // @ts-expect-error whose data it is must be said
  void personal.prepare(org, 'member.invited', invited);
  // @ts-expect-error an event with personal parts does not enter the chain in clear
  audit.prepare('member.invited', invited);
  // @ts-expect-error an event without personal parts
  void personal.prepare(org, 'entry.posted', {
    subject: 'u-1',
    target: 'e',
    outcome: 'success',
    data: { amount: '1' },
  });
  // @ts-expect-error a field that is not marked
  void personal.reveal(db, org, 'id', 'data.role');
});

test('does not compile a mark that names nothing', () => {
  // @ts-expect-error no such member of data
  defineEvents({ 'a.b': { data: schema, personal: ['data.phone'] } });
  // @ts-expect-error no such part of an event
  defineEvents({ 'a.b': { data: schema, personal: ['email'] } });
  // @ts-expect-error an event without data
  defineEvents({ 'a.b': { personal: ['data.email'] } });
  // @ts-expect-error nothing marked
  defineEvents({ 'a.b': { data: schema, personal: [] } });
  // @ts-expect-error the target is an id
  defineEvents({ 'a.b': { target: 'x', personal: ['target'] } });
});
