import { expectTypeOf, test } from 'vitest';
import type { RequestContext, SessionFacts } from '../src/index.ts';
import type { IssuerConfig, SessionGuard, VerifiedSession } from '../src/session/index.ts';

test('neither facts nor a verified session can be written as a literal', () => {
  expectTypeOf<{
    mfa: true;
    acr: undefined;
    authenticatedAt: 1;
    ssoConnection: 'a';
  }>().not.toExtend<SessionFacts>();
  expectTypeOf<{
    door: 'bearer';
    issuer: string;
    subject: string;
    expiresAt: number;
    ssoConnection: undefined;
  }>().not.toExtend<VerifiedSession>();
  expectTypeOf<VerifiedSession>().not.toExtend<SessionFacts>();
  expectTypeOf<Awaited<ReturnType<SessionGuard<'owner'>['admit']>>>().toExtend<RequestContext<'owner'>>();
});

test('a symmetric algorithm does not compile', () => {
  expectTypeOf<'HS256' | 'none'>().not.toExtend<IssuerConfig['algorithms'][number]>();
});
