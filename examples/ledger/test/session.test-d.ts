import { expectTypeOf, test } from 'vitest';
import type { LedgerAction } from '../src/policy.ts';
import type { Access, Session } from '../src/session.ts';

test('no object literal is a session, not even one with all its parts', () => {
  interface Parts extends Pick<Session, keyof Session> {}
  expectTypeOf<Parts>().not.toExtend<Session>();
  expectTypeOf<Session>().toExtend<Parts>();
});

test('an action that the policy does not have is none', () => {
  expectTypeOf<'entry.aprove'>().not.toExtend<LedgerAction>();
  expectTypeOf<'entry.approve'>().toExtend<Parameters<Access['require']>[0]>();
});
