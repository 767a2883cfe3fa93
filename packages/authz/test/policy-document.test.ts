import { describe, expect, test } from 'vitest';
import {
  all,
  any,
  definePolicy,
  equals,
  mfa,
  type PolicyDocument,
  policyFromJSON,
  RingfenceAuthzError,
  resource,
} from '../src/index.ts';
import { as, entry, ORG, policy } from './model.ts';

const plain = (): Record<string, unknown> => JSON.parse(JSON.stringify(policy)) as Record<string, unknown>;
const minimal = {
  resources: {
    entry: {
      actions: ['read', 'post'],
      attributes: { status: ['draft', 'posted'], n: 'integer', s: 'string' },
    },
  },
  roles: ['user', 'boss'],
  acrLevels: ['urn:one'],
  grants: [{ id: 'g', roles: ['user'], actions: ['entry.read'] }],
  forbids: [{ id: 'f', actions: ['entry.post'], reason: 'no' }],
} as const;
const grantWhen = (when: unknown) => ({ ...minimal, grants: [{ ...minimal.grants[0], when }] });
const grant = (part: object) => ({ ...minimal, grants: [{ ...minimal.grants[0], ...part }] });
const forbid = (part: object) => ({ ...minimal, forbids: [{ ...minimal.forbids[0], ...part }] });
const left = (attribute: string) => ({ ref: 'resource', attribute });

function refusal(document: unknown): string {
  try {
    policyFromJSON(document);
  } catch (error) {
    expect(error).toBeInstanceOf(RingfenceAuthzError);
    expect(error).toMatchObject({ code: 'authz.invalid_policy' });
    return (error as Error).message;
  }
  throw new Error('the document was accepted');
}

const deep = (levels: number): unknown =>
  levels === 0 ? { op: 'mfa' } : { op: 'all', of: [deep(levels - 1)] };

const REFUSED: Readonly<Record<string, readonly [unknown, RegExp]>> = {
  'nothing at all': [undefined, /undefined is not JSON/],
  'a list': [[], /object/],
  'another version': [{ ...minimal, version: 2 }, /version/],
  'an unknown property': [{ ...minimal, admins: ['root'] }, /admins/],
  'an unknown property of a grant': [grant({ unless: { op: 'mfa' } }), /unless/],
  'an unknown property of a condition': [grantWhen({ op: 'mfa', strength: 2 }), /strength/],
  'a wildcard action': [grant({ actions: ['entry.*'] }), /no wildcards/],
  'a lone star as action': [grant({ actions: ['*'] }), /no wildcards/],
  'a wildcard role': [grant({ roles: ['*'] }), /no wildcards/],
  'a wildcard among the declared roles': [{ ...minimal, roles: ['user', '*'] }, /no wildcards/],
  'a wildcard among the declared actions': [
    { ...minimal, resources: { ...minimal.resources, x: { actions: ['*'] } } },
    /no wildcards/,
  ],
  'an unknown role': [grant({ roles: ['root'] }), /unknown role "root"/],
  'an unknown role of a forbid': [forbid({ roles: ['root'] }), /unknown role "root"/],
  'an unknown action': [grant({ actions: ['entry.purge'] }), /unknown action "entry.purge"/],
  'an unknown resource': [forbid({ actions: ['invoice.read'] }), /unknown action "invoice.read"/],
  'an action named by a prototype property': [grant({ actions: ['entry.constructor'] }), /unknown action/],
  'an unknown operator': [grantWhen({ op: 'matches', left: left('s'), right: '.*' }), /op/],
  'a negation': [grantWhen({ op: 'not', of: [{ op: 'mfa' }] }), /op/],
  'an unknown attribute': [
    grantWhen({ op: 'equals', left: left('owner'), right: 'x' }),
    /no attribute "owner"/,
  ],
  'an unknown attribute on the other side': [
    grantWhen({ op: 'equals', left: left('s'), right: left('owner') }),
    /no attribute "owner"/,
  ],
  'an attribute deep in a condition': [
    grantWhen({ op: 'all', of: [{ op: 'any', of: [{ op: 'lessThan', left: left('m'), right: 1 }] }] }),
    /no attribute "m"/,
  ],
  'another principal attribute than the id': [
    grantWhen({ op: 'equals', left: left('s'), right: { ref: 'principal', attribute: 'org' } }),
    /grants\[0\]\.when/,
  ],
  'a value outside an enumeration': [
    grantWhen({ op: 'equals', left: left('status'), right: 'lost' }),
    /never "lost"/,
  ],
  'a string for an integer': [grantWhen({ op: 'equals', left: left('n'), right: '1' }), /is a integer/],
  'a string for an order': [grantWhen({ op: 'lessThan', left: left('n'), right: '1' }), /right/],
  'an order on a string': [grantWhen({ op: 'lessThan', left: left('s'), right: 1 }), /is a string/],
  'a fraction': [grantWhen({ op: 'lessThan', left: left('n'), right: 0.5 }), /safe integer/],
  NaN: [grantWhen({ op: 'lessThan', left: left('n'), right: Number.NaN }), /safe integer/],
  'an integer beyond 2^53': [grantWhen({ op: 'lessThan', left: left('n'), right: 2 ** 53 }), /safe integer/],
  'an enumeration against the principal': [
    grantWhen({ op: 'equals', left: left('status'), right: { ref: 'principal', attribute: 'id' } }),
    /only string attributes/,
  ],
  'an empty all': [grantWhen({ op: 'all', of: [] }), /of/],
  'an empty set': [grantWhen({ op: 'oneOf', left: left('status'), values: [] }), /values/],
  'a window without a bound': [grantWhen({ op: 'timeWindow' }), /no bound/],
  'an empty window': [grantWhen({ op: 'timeWindow', from: 5, until: 5 }), /is empty/],
  'an acr level that is not declared': [grantWhen({ op: 'acrAtLeast', acr: 'urn:two' }), /acrLevels/],
  'a challenge acr that is not declared': [{ ...minimal, mfaAcr: 'urn:two' }, /acrLevels/],
  'an acr that would break a header': [{ ...minimal, acrLevels: ['a"b'] }, /acr/],
  'an approver role that is not declared': [
    grantWhen({ op: 'approvedBy', n: 1, from: 'root' }),
    /unknown role/,
  ],
  'no approval': [grantWhen({ op: 'approvedBy', n: 0, from: 'boss' }), /n:/],
  'a forbid that multi-factor authentication makes apply': [
    forbid({ when: { op: 'mfa' } }),
    /never take access away/,
  ],
  'the same deep in a condition': [
    forbid({ when: { op: 'any', of: [{ op: 'approvedBy', n: 1, from: 'boss' }] } }),
    /never take access away/,
  ],
  'a forbid without a reason': [forbid({ reason: '' }), /reason/],
  'two grants of one id': [{ ...minimal, grants: [minimal.grants[0], minimal.grants[0]] }, /twice/],
  'a grant and a forbid of one id': [forbid({ id: 'g' }), /twice/],
  'a role twice': [{ ...minimal, roles: ['user', 'boss', 'user'] }, /twice/],
  'a grant for nobody': [grant({ roles: [] }), /roles/],
  'a grant of nothing': [grant({ actions: [] }), /actions/],
  'an attribute named org': [
    { ...minimal, resources: { entry: { actions: ['read', 'post'], attributes: { org: 'string' } } } },
    /always there/,
  ],
  'an attribute named constructor': [
    {
      ...minimal,
      resources: { entry: { actions: ['read', 'post'], attributes: { constructor: 'string' } } },
    },
    /inherits/,
  ],
  'a resource named __proto__': [
    JSON.parse('{"resources":{"__proto__":{"actions":["read"]}},"roles":["a"],"grants":[]}'),
    /inherits/,
  ],
  'a role named __proto__': [{ ...minimal, roles: ['user', 'boss', '__proto__'] }, /plain name/],
  'an id with a line break': [grant({ id: 'g\nallow' }), /plain name/],
  null: [grantWhen(null), /null/],
  'a function': [grantWhen(() => true), /function/],
  'a class instance': [grantWhen(new Date()), /plain object/],
  'a symbol key': [{ ...minimal, [Symbol('x')]: 1 }, /symbol/],
  'a lone surrogate': [grantWhen({ op: 'equals', left: left('s'), right: '\ud800' }), /surrogate/],
  'a NUL': [grantWhen({ op: 'equals', left: left('s'), right: 'a\u0000' }), /NUL/],
  'a condition a thousand levels deep': [grantWhen(deep(1_000)), /nested deeper/],
  'a text of a megabyte': [forbid({ reason: 'x'.repeat(1_000_000) }), /longer than/],
};

test.each(Object.entries(REFUSED))('refuses %s', (_, [document, message]) => {
  expect(refusal(document)).toMatch(message);
});

test('accepts what the refused documents were changed from', () => {
  expect(policyFromJSON(minimal).actions).toEqual(['entry.post', 'entry.read']);
});

test('names every issue with its place', () => {
  const document = { ...grant({ roles: ['root'], actions: ['entry.fly'] }), mfaAcr: 'urn:two' };
  try {
    policyFromJSON(document);
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({
      issues: [
        { path: 'mfaAcr' },
        { path: 'grants[0].roles', message: 'unknown role "root"' },
        { path: 'grants[0].actions', message: 'unknown action "entry.fly"' },
      ],
    });
  }
});

test('definePolicy makes the same checks for callers the compiler did not see', () => {
  const untyped = definePolicy as (definition: object) => unknown;
  expect(() => untyped(grant({ roles: ['root'] }))).toThrow(/unknown role "root"/);
});

describe('the document', () => {
  test('survives JSON with the same hash and the same decisions', () => {
    const loaded = policyFromJSON(plain());
    expect(loaded.hash).toBe(policy.hash);
    expect(loaded.toJSON()).toEqual(policy.toJSON());
    expect(loaded.hash).toMatch(/^[0-9a-f]{64}$/);
  });

  test('has one hash, whatever order it was written in, and another for any change', () => {
    const condition = [equals(resource('status'), 'draft'), any(mfa(), equals(resource('s'), 'x'))] as const;
    const one = {
      id: 'a',
      roles: ['user', 'boss'],
      actions: ['entry.read', 'entry.post'],
      when: all(...condition),
    };
    const two = {
      ...one,
      roles: ['boss', 'user'],
      actions: ['entry.post', 'entry.read'],
      when: all(condition[1], condition[0]),
    };
    const other = { id: 'b', roles: ['boss'], actions: ['entry.read'] };
    const hash = (...grants: object[]) => policyFromJSON({ ...minimal, grants }).hash;
    expect(hash(one, other)).toBe(hash(other, two));
    expect(hash(one)).not.toBe(hash(one, other));
    expect(hash(one)).not.toBe(hash({ ...one, id: 'c' }));
  });

  test('keeps the order of acr levels, which has a meaning', () => {
    const hash = (...acrLevels: string[]) => policyFromJSON({ ...minimal, acrLevels }).hash;
    expect(hash('urn:one', 'urn:two')).not.toBe(hash('urn:two', 'urn:one'));
  });

  test('minus zero is zero', () => {
    const hash = (right: number) =>
      policyFromJSON(grantWhen({ op: 'lessThan', left: left('n'), right })).hash;
    expect(hash(-0)).toBe(hash(0));
  });
});

describe('a policy in force', () => {
  test('does not change with the data it was made from', () => {
    const document = plain() as unknown as {
      roles: string[];
      forbids: unknown[];
      grants: { roles: string[] }[];
    };
    const loaded = policyFromJSON(document);
    document.forbids.length = 0;
    document.roles.push('root');
    for (const { roles } of document.grants) roles.push('auditor');
    expect(loaded.hash).toBe(policy.hash);
    expect(loaded.toJSON()).toEqual(policy.toJSON());
    const ask = loaded.authorize(as('auditor') as never, 'entry.post', {
      ...entry,
      status: 'draft',
    } as never);
    expect(ask.effect).toBe('deny');
  });

  test('reads its data once: a getter cannot show the check one thing and the engine another', () => {
    let reads = 0;
    const document = {
      ...minimal,
      grants: [
        {
          id: 'g',
          roles: ['user'],
          get actions() {
            reads += 1;
            return [reads === 1 ? 'entry.read' : 'entry.fly'];
          },
        },
      ],
    };
    expect(policyFromJSON(document).toJSON().grants[0]?.actions).toEqual(['entry.read']);
    expect(reads).toBe(1);
  });

  test('is frozen all the way down', () => {
    const walk = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      expect(Object.isFrozen(value)).toBe(true);
      Object.values(value).forEach(walk);
    };
    walk(policy.toJSON());
    walk(policy.roles);
    walk(policy.actions);
    const document = policy.toJSON() as unknown as { roles: string[] };
    expect(() => document.roles.push('root')).toThrow(TypeError);
    expect(() => Object.assign(policy, { authorize: () => ({ effect: 'allow' }) })).toThrow(TypeError);
    expect(() => Object.assign(Object.getPrototypeOf(policy) as object, { authorize: () => 1 })).toThrow(
      TypeError,
    );
  });

  test('a condition that was changed after it was built is built no more', () => {
    const condition = mfa() as unknown as Record<string, unknown>;
    expect(() => {
      condition['op'] = 'sso';
    }).toThrow(TypeError);
  });
});

test('a document may be of any size a policy has', () => {
  const grants: PolicyDocument['grants'] = Array.from({ length: 2_000 }, (_, k) => ({
    id: `g${k}`,
    roles: ['user'],
    actions: ['entry.read'],
  }));
  const large = policyFromJSON({ ...minimal, grants });
  const context = { principal: { id: 'u', org: ORG, roles: ['user'] } };
  expect(large.authorize(context, 'entry.read', { org: ORG }).grant).toBe('g0');
});
