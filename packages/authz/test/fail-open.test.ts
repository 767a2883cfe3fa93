/**
 * Ways in which decision engines have been made to allow what they should not. Each probe changes one thing about a
 * request that is allowed; none may end in an allow: a deny, a step-up or a typed error.
 */
import { afterEach, expect, test } from 'vitest';
import { RingfenceAuthzError } from '../src/index.ts';
import { unsafeSessionFacts } from '../src/testing/index.ts';
import { entry, NOW, ORG, OTHER_ORG, policy } from './model.ts';

type Ask = (context: unknown, action: unknown, resource: unknown) => { readonly effect: string };
const ask = policy.authorize.bind(policy) as unknown as Ask;

const session = unsafeSessionFacts({ mfa: true, authenticatedAt: NOW });
const principal = { id: 'user:ada', org: ORG, roles: ['controller'] };
const context = { principal, session, now: NOW };
const p = (part: object) => ({ ...context, principal: { ...principal, ...part } });
const without = (object: object, key: string) =>
  Object.fromEntries(Object.entries(object).filter(([name]) => name !== key));
const approve = (c: unknown, r: unknown = entry) => ask(c, 'entry.approve', r);
const resource = (part: object) => approve(context, { ...entry, ...part });

/** Answers with the first value once, with the second from then on. */
function changing(first: unknown, second: unknown) {
  let reads = 0;
  return {
    enumerable: true,
    get: () => {
      reads += 1;
      return reads === 1 ? first : second;
    },
  };
}

function pollute(key: string, value: unknown): void {
  Object.defineProperty(Object.prototype, key, {
    value,
    configurable: true,
    writable: true,
    enumerable: false,
  });
}

afterEach(() => {
  for (const key of [
    'org',
    'roles',
    'id',
    'principal',
    'session',
    'status',
    'createdBy',
    'amountCents',
    'now',
  ]) {
    Reflect.deleteProperty(Object.prototype, key);
  }
});

const huge = 'x'.repeat(1_000_000);

const PROBES: Readonly<Record<string, () => { readonly effect: string }>> = {
  // organisation
  'org missing on both sides': () =>
    approve({ ...context, principal: without(principal, 'org') }, without(entry, 'org')),
  'org undefined on both sides': () => approve(p({ org: undefined }), { ...entry, org: undefined }),
  'org null on both sides': () => approve(p({ org: null }), { ...entry, org: null }),
  'org empty on both sides': () => approve(p({ org: '' }), { ...entry, org: '' }),
  'org NaN on both sides': () => approve(p({ org: Number.NaN }), { ...entry, org: Number.NaN }),
  'org the same number on both sides': () => approve(p({ org: 1 }), { ...entry, org: 1 }),
  'org the same array on both sides': () => {
    const org = [ORG];
    return approve(p({ org }), { ...entry, org });
  },
  'org a String object': () => approve(p({ org: new String(ORG) }), entry),
  'org in upper case on one side': () => resource({ org: ORG.toUpperCase() }),
  'org with a space after it': () => resource({ org: `${ORG} ` }),
  'org a wildcard on both sides': () => approve(p({ org: '*' }), { ...entry, org: '*' }),
  'resource of another organisation': () => resource({ org: OTHER_ORG }),
  'org from a polluted prototype on both sides': () => {
    pollute('org', ORG);
    return approve({ ...context, principal: without(principal, 'org') }, without(entry, 'org'));
  },
  'org of the resource alone from a polluted prototype': () => {
    pollute('org', ORG);
    return approve(context, without(entry, 'org'));
  },
  'org from the prototype of the resource': () =>
    approve(context, Object.assign(Object.create({ org: ORG }), without(entry, 'org'))),
  'org that changes after the first read': () =>
    approve(context, Object.defineProperty({ ...entry }, 'org', changing(OTHER_ORG, ORG))),
  // principal
  'principal missing': () => approve({ now: NOW }),
  'principal null': () => approve({ ...context, principal: null }),
  'principal a string': () => approve({ ...context, principal: 'user:ada' }),
  'principal from a polluted prototype': () => {
    pollute('principal', principal);
    return approve({ now: NOW, session });
  },
  'id, org and roles from the prototype of the principal': () =>
    approve({ ...context, principal: Object.create(principal) }),
  'principal and session from the prototype of the context': () => approve(Object.create(context)),
  'principal id missing, creator missing': () =>
    approve({ ...context, principal: without(principal, 'id') }, without(entry, 'createdBy')),
  'principal id empty': () => approve(p({ id: '' })),
  'principal id an array that prints like another id': () =>
    approve(p({ id: ['user:ada'] }), { ...entry, createdBy: 'user:ada' }),
  'context undefined': () => approve(undefined),
  'context a string': () => approve('controller'),
  // roles
  'roles missing': () => approve({ ...context, principal: without(principal, 'roles') }),
  'roles a string': () => approve(p({ roles: 'controller' })),
  'roles an object with a length': () => approve(p({ roles: { 0: 'controller', length: 1 } })),
  'roles a Set': () => approve(p({ roles: new Set(['controller']) })),
  'roles empty': () => approve(p({ roles: [] })),
  'role an empty string beside a real one': () => approve(p({ roles: ['controller', ''] })),
  'role unknown beside a real one': () => approve(p({ roles: ['controller', 'root'] })),
  'role in another case': () => approve(p({ roles: ['Controller'] })),
  'role with a space after it': () => approve(p({ roles: ['controller '] })),
  'role a wildcard': () => approve(p({ roles: ['*'] })),
  'role __proto__': () => approve(p({ roles: ['__proto__'] })),
  'role constructor': () => approve(p({ roles: ['constructor'] })),
  'role a nested array': () => approve(p({ roles: [['controller']] })),
  'role an object that prints like a role': () => approve(p({ roles: [{ toString: () => 'controller' }] })),
  'roles with a hole': () =>
    approve(p({ roles: Object.assign(new Array(3), { 0: 'controller', 2: 'owner' }) })),
  'role duplicated, of another action': () => approve(p({ roles: ['bookkeeper', 'bookkeeper'] })),
  'roles from a polluted prototype': () => {
    pollute('roles', ['controller']);
    return approve({ ...context, principal: without(principal, 'roles') });
  },
  'roles that change after the first read': () =>
    approve({
      ...context,
      principal: Object.defineProperty({ ...principal }, 'roles', changing(['auditor'], ['controller'])),
    }),
  'roles a million long': () => approve(p({ roles: new Array(1_000_000).fill('controller') })),
  // action
  'action unknown': () => ask(context, 'entry.destroy', entry),
  'action a wildcard': () => ask(context, 'entry.*', entry),
  'action a lone star': () => ask(context, '*', entry),
  'action empty': () => ask(context, '', entry),
  'action __proto__': () => ask(context, '__proto__', entry),
  'action constructor': () => ask(context, 'constructor', entry),
  'action in another case': () => ask(context, 'entry.Read', entry),
  'action an array': () => ask(context, ['entry.approve'], entry),
  'action a String object': () => ask(context, new String('entry.approve'), entry),
  'action a symbol': () => ask(context, Symbol('entry.approve'), entry),
  'action a megabyte long': () => ask(context, huge, entry),
  // resource
  'resource missing': () => ask(context, 'entry.approve', undefined),
  'resource null': () => approve(context, null),
  'resource the name of its kind': () => approve(context, 'entry'),
  'resource an array of resources': () => approve(context, [entry]),
  'resource empty': () => approve(context, {}),
  'resource id a number': () => resource({ id: 7 }),
  'resource id empty': () => resource({ id: '' }),
  // attributes
  'grant attribute missing': () => approve(context, without(entry, 'status')),
  'grant attribute undefined': () => resource({ status: undefined }),
  'grant attribute null': () => resource({ status: null }),
  'grant attribute an array that prints like the value': () => resource({ status: ['posted'] }),
  'grant attribute a String object': () => resource({ status: new String('posted') }),
  'grant attribute outside its enumeration': () => resource({ status: 'POSTED' }),
  'grant attribute from a polluted prototype': () => {
    pollute('status', 'posted');
    return approve(context, without(entry, 'status'));
  },
  'grant attribute from an assigned __proto__': () =>
    approve(
      context,
      Object.assign({}, without(entry, 'status'), JSON.parse('{"__proto__":{"status":"posted"}}')),
    ),
  'amount NaN': () => resource({ amountCents: Number.NaN }),
  'amount -Infinity': () => resource({ amountCents: -Infinity }),
  'amount a fraction': () => resource({ amountCents: 0.5 }),
  'amount beyond the safe integers': () => resource({ amountCents: -(2 ** 53) }),
  'amount a numeric string': () => resource({ amountCents: '12' }),
  'amount a bigint': () => resource({ amountCents: 12n }),
  'amount true': () => resource({ amountCents: true }),
  'amount a Date': () => resource({ amountCents: new Date(0) }),
  'amount an object with valueOf': () => resource({ amountCents: { valueOf: () => 1 } }),
  'forbid attribute missing': () => approve(context, without(entry, 'createdBy')),
  'forbid attribute null': () => resource({ createdBy: null }),
  'forbid attribute an array': () => resource({ createdBy: ['user:bob'] }),
  'forbid attribute from a polluted prototype': () => {
    pollute('createdBy', 'user:bob');
    return approve(context, without(entry, 'createdBy'));
  },
  'forbid attribute that changes after the first read': () =>
    approve(context, Object.defineProperty({ ...entry }, 'createdBy', changing('user:ada', 'user:bob'))),
  'forbid attribute the principal itself, in a proxy that answers differently later': () => {
    let reads = 0;
    const proxy = new Proxy({ ...entry } as Record<string, unknown>, {
      get: (target, key) => {
        if (key !== 'createdBy') return Reflect.get(target, key);
        reads += 1;
        return reads === 1 ? 'user:ada' : 'user:bob';
      },
    });
    return approve(context, proxy);
  },
  'a getter that throws': () =>
    approve(context, {
      ...entry,
      get status(): string {
        throw new Error('lazy column not loaded');
      },
    }),
  'a revoked proxy': () => {
    const { proxy, revoke } = Proxy.revocable({ ...entry }, {});
    revoke();
    return approve(context, proxy);
  },
  // session
  'session absent': () => approve(without(context, 'session')),
  'session null': () => approve({ ...context, session: null }),
  'session an object literal': () => approve({ ...context, session: { mfa: true } }),
  'session an object with the prototype of a minted one': () =>
    approve({ ...context, session: Object.create(Object.getPrototypeOf(session)) }),
  'session a proxy of a minted one': () =>
    approve({ ...context, session: new Proxy(unsafeSessionFacts(), { get: () => true }) }),
  'session a JSON copy of a minted one': () => approve({ ...context, session: { ...session, mfa: true } }),
  'session from a polluted prototype': () => {
    pollute('session', session);
    return approve(without(context, 'session'));
  },
  'session without a second factor': () =>
    approve({ ...context, session: unsafeSessionFacts({ acr: 'urn:ledger:mfa' }) }),
  'approvals an object literal': () =>
    approve({ ...context, approvals: [{ by: 'a', roles: ['owner'] }] }, { ...entry, amountCents: 100_001 }),
  'approvals not an array': () => approve({ ...context, approvals: 2 }, { ...entry, amountCents: 100_001 }),
  // time
  'now NaN': () => approve({ ...context, now: Number.NaN }),
  'now a string': () => approve({ ...context, now: String(NOW) }),
  'now null': () => approve({ ...context, now: null }),
  'now Infinity': () => approve({ ...context, now: Infinity }),
  'now a Date': () => approve({ ...context, now: new Date(NOW) }),
};

test('the request that the probes change is allowed', () => {
  expect(approve(context).effect).toBe('allow');
});

test('an amount of minus zero is zero', () => {
  expect(resource({ amountCents: -0 }).effect).toBe('allow');
});

test('there are at least forty probes', () => {
  expect(Object.keys(PROBES).length).toBeGreaterThanOrEqual(40);
});

test.each(Object.entries(PROBES))('does not allow: %s', (_, probe) => {
  let outcome: string;
  try {
    outcome = probe().effect;
  } catch (error) {
    expect(error).toBeInstanceOf(RingfenceAuthzError);
    expect(error).toMatchObject({ code: 'authz.invalid_request' });
    outcome = 'error';
  }
  expect(['deny', 'step_up', 'error']).toContain(outcome);
});

test('session facts of a wrong type cannot be minted', () => {
  const mint = unsafeSessionFacts as (facts: object) => unknown;
  for (const facts of [
    { mfa: 'true' },
    { mfa: 1 },
    { acr: '' },
    { authenticatedAt: Number.NaN },
    { ssoConnection: 1 },
  ]) {
    expect(() => mint(facts)).toThrow(TypeError);
  }
});
