/**
 * The rules of the evaluator, each against the sentence of the IAM User Guide it follows.
 */
import { describe, expect, test } from 'vitest';
import {
  type AccessPolicies,
  type AccessRequest,
  accessEvaluator,
  type PolicyConditions,
  type PolicyDocument,
  type PolicyStatement,
} from '../src/storage/index.ts';

const ROLE = 'arn:aws:iam::111122223333:role/app';
const SESSION = 'arn:aws:sts::111122223333:assumed-role/app/one';
const OBJECT = 'arn:aws:s3:::bucket/org/a/1';
// biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a policy variable
const VARIABLE = '${aws:PrincipalTag/org_id}';

function policy(...Statement: PolicyStatement[]): PolicyDocument {
  return { Version: '2012-10-17', Statement };
}
const allow = (rest: Partial<PolicyStatement> = {}): PolicyStatement => ({
  Effect: 'Allow',
  ...('NotAction' in rest ? {} : { Action: 's3:*' }),
  ...('NotResource' in rest ? {} : { Resource: '*' }),
  ...rest,
});
const deny = (rest: Partial<PolicyStatement> = {}): PolicyStatement => ({ ...allow(rest), Effect: 'Deny' });

function decide(policies: AccessPolicies, request: Partial<AccessRequest> = {}): string {
  const asked = {
    action: 's3:GetObject',
    resource: OBJECT,
    principal: ROLE,
    session: SESSION,
    context: {},
    ...request,
  };
  const { allowed, because } = accessEvaluator(policies)(asked);
  return allowed ? 'allow' : because;
}

describe('the order of policies', () => {
  test('denies without an allow, and an explicit deny in any policy wins', () => {
    const yes = policy(allow());
    const no = policy(deny({ Resource: OBJECT }));
    const forAll = policy(allow({ Principal: '*' }));
    expect(decide({ identity: [] })).toBe('no allow');
    expect(decide({ identity: [policy()] })).toBe('no allow');
    expect(decide({ identity: [yes] })).toBe('allow');
    expect(decide({ identity: [yes, no] })).toBe('explicit deny');
    expect(decide({ identity: [yes], session: [yes, no] })).toBe('explicit deny');
    expect(decide({ identity: [yes], resource: policy(deny({ Principal: '*' })) })).toBe('explicit deny');
    expect(decide({ identity: [no], resource: forAll })).toBe('explicit deny');
  });

  test('intersects the role with its session policy', () => {
    const read = policy(allow({ Action: 's3:Get*' }));
    const write = policy(allow({ Action: 's3:Put*' }));
    expect(decide({ identity: [read], session: [read] })).toBe('allow');
    expect(decide({ identity: [read], session: [write] })).toBe('session policy');
    expect(decide({ identity: [write], session: [read] })).toBe('no allow');
    expect(decide({ identity: [read], session: [policy()] })).toBe('session policy');
  });

  test('lets a resource policy add to the role below the session policy, and to the session past it', () => {
    const toRole = policy(allow({ Principal: { AWS: ROLE } }));
    const toAccount = policy(allow({ Principal: { AWS: 'arn:aws:iam::111122223333:root' } }));
    const toSession = policy(allow({ Principal: { AWS: SESSION } }));
    for (const resource of [toRole, toAccount]) {
      expect(decide({ identity: [], resource })).toBe('allow');
      expect(decide({ identity: [], resource, session: [policy()] })).toBe('session policy');
    }
    for (const resource of [
      toSession,
      policy(allow({ Principal: '*' })),
      policy(allow({ Principal: { AWS: '*' } })),
    ]) {
      expect(decide({ identity: [], resource, session: [policy()] })).toBe('allow');
    }
    const stranger = policy(allow({ Principal: { AWS: [`${ROLE}-2`, '444455556666', `${SESSION}2`] } }));
    expect(decide({ identity: [], resource: stranger })).toBe('no allow');
  });
});

describe('statements', () => {
  test('match actions without regard to case and resources with it', () => {
    expect(decide({ identity: [policy(allow({ Action: 'S3:getOBJECT' }))] })).toBe('allow');
    expect(decide({ identity: [policy(allow({ Resource: OBJECT.replace('org', 'ORG') }))] })).toBe(
      'no allow',
    );
    expect(decide({ identity: [policy(allow({ NotAction: ['s3:Put*'] }))] })).toBe('allow');
    expect(decide({ identity: [policy(allow({ NotAction: ['s3:Get*'] }))] })).toBe('no allow');
    expect(decide({ identity: [policy(allow({ NotResource: `${OBJECT}*` }))] })).toBe('no allow');
  });

  test.each([
    ['*', true],
    ['arn:aws:s3:::bucket/*', true],
    ['arn:aws:s3:::bucket/org/?/1', true],
    ['arn:aws:s3:::*/1', true],
    ['*a*a*1', true],
    ['arn:aws:s3:::bucket/org/a/1?', false],
    ['arn:aws:s3:::bucket/org/a/', false],
    ['arn:aws:s3:::bucket/org/a', false],
    ['*2', false],
    ['*1*1', false],
    ['', false],
  ])('pattern %j matches: %j', (Resource, matches) => {
    expect(decide({ identity: [policy(allow({ Resource }))] })).toBe(matches ? 'allow' : 'no allow');
  });

  test('match patterns in time that does not explode', () => {
    const Resource = `${'*a'.repeat(200)}b`;
    expect(decide({ identity: [policy(allow({ Resource }))] }, { resource: 'a'.repeat(5_000) })).toBe(
      'no allow',
    );
  });

  test('take the value of a variable literally', () => {
    const identity = [policy(allow({ Resource: `arn:aws:s3:::bucket/org/${VARIABLE}/*` }))];
    const tagged = (tag: string) => decide({ identity }, { context: { 'aws:principaltag/ORG_ID': tag } });
    expect(tagged('a')).toBe('allow');
    for (const tag of ['*', '?', '', 'A', 'b', VARIABLE]) expect(tagged(tag)).toBe('no allow');
    expect(decide({ identity })).toBe('no allow');
  });

  test('a deny on NotResource fails open when its variable has no value, and a deny on Null closes it', () => {
    const open = deny({ Principal: '*', NotResource: `arn:aws:s3:::bucket/org/${VARIABLE}/*` });
    const closed = deny({ Principal: '*', Condition: { Null: { 'aws:PrincipalTag/org_id': 'true' } } });
    const identity = [policy(allow())];
    expect(decide({ identity, resource: policy(open) })).toBe('allow');
    expect(decide({ identity, resource: policy(open, closed) })).toBe('explicit deny');
    expect(
      decide({ identity, resource: policy(open) }, { context: { 'aws:PrincipalTag/org_id': 'b' } }),
    ).toBe('explicit deny');
    // An allow on NotResource must not be read as safe for the same reason.
    expect(decide({ identity: [policy(allow({ NotResource: `x/${VARIABLE}` }))] })).toBe('allow');
  });
});

describe('conditions', () => {
  const holds = (Condition: PolicyConditions, context: AccessRequest['context'] = {}) =>
    decide({ identity: [policy(allow({ Condition }))] }, { context }) === 'allow';
  const prefix = { 's3:prefix': 'org/a/' };

  test.each<[string, PolicyConditions, AccessRequest['context'], boolean]>([
    ['equal', { StringEquals: { 's3:prefix': ['x', 'org/a/'] } }, prefix, true],
    ['equal takes no wildcard', { StringEquals: { 's3:prefix': 'org/*' } }, prefix, false],
    ['equal regards case', { StringEquals: { 's3:prefix': 'ORG/a/' } }, prefix, false],
    ['like', { StringLike: { 's3:prefix': 'org/*' } }, prefix, true],
    ['absent', { StringLike: { 's3:prefix': '*' } }, {}, false],
    ['absent and IfExists', { StringLikeIfExists: { 's3:prefix': 'x' } }, {}, true],
    ['empty is not absent', { StringLike: { 's3:prefix': '*' } }, { 's3:prefix': '' }, true],
    ['not like: none may match', { StringNotLike: { 's3:prefix': ['x', 'org/*'] } }, prefix, false],
    ['not like', { StringNotLike: { 's3:prefix': ['x', 'y'] } }, prefix, true],
    ['not like holds when absent', { StringNotLike: { 's3:prefix': '*' } }, {}, true],
    ['not equal', { StringNotEquals: { 's3:prefix': 'org/a/' } }, prefix, false],
    ['all keys must hold', { StringLike: { 's3:prefix': '*', 's3:delimiter': '/' } }, prefix, false],
    [
      'all operators must hold',
      { StringLike: { 's3:prefix': '*' }, Null: { 's3:prefix': 'true' } },
      prefix,
      false,
    ],
    ['null', { Null: { 's3:prefix': 'true' } }, {}, true],
    ['not null', { Null: { 's3:prefix': 'false' } }, prefix, true],
    ['bool', { Bool: { 'aws:SecureTransport': 'true' } }, { 'aws:SecureTransport': 'true' }, true],
    ['bool absent', { Bool: { 'aws:SecureTransport': 'false' } }, {}, false],
    ['bool absent and IfExists', { BoolIfExists: { 'aws:SecureTransport': 'false' } }, {}, true],
    [
      'all values',
      { 'ForAllValues:StringEquals': { 'aws:TagKeys': ['a', 'b'] } },
      { 'aws:TagKeys': ['a', 'b'] },
      true,
    ],
    [
      'all values, one more',
      { 'ForAllValues:StringEquals': { 'aws:TagKeys': 'a' } },
      { 'aws:TagKeys': ['a', 'c'] },
      false,
    ],
    ['all values of none', { 'ForAllValues:StringEquals': { 'aws:TagKeys': 'a' } }, {}, true],
    [
      'any value',
      { 'ForAnyValue:StringEquals': { 'aws:TagKeys': 'a' } },
      { 'aws:TagKeys': ['c', 'a'] },
      true,
    ],
    ['any value of none', { 'ForAnyValue:StringEquals': { 'aws:TagKeys': 'a' } }, {}, false],
    ['any value, negated, of none', { 'ForAnyValue:StringNotEquals': { 'aws:TagKeys': 'a' } }, {}, false],
    [
      'variable',
      { StringLike: { 's3:prefix': `org/${VARIABLE}/*` } },
      { ...prefix, 'aws:PrincipalTag/org_id': 'a' },
      true,
    ],
    ['variable without value', { StringLike: { 's3:prefix': `org/${VARIABLE}/*` } }, prefix, false],
    [
      'not like, variable without value, in an allow',
      { StringNotLike: { 's3:prefix': VARIABLE } },
      prefix,
      true,
    ],
  ])('%s', (_, condition, context, expected) => {
    expect(holds(condition, context)).toBe(expected);
  });

  test('a negated deny on a variable without value does not protect', () => {
    const resource = policy(
      deny({ Principal: '*', Condition: { StringNotLike: { 's3:prefix': VARIABLE } } }),
    );
    expect(decide({ identity: [policy(allow())], resource }, { context: prefix })).toBe('allow');
  });
});

test.each<[string, unknown]>([
  ['NotPrincipal', { ...allow(), NotPrincipal: { AWS: ROLE } }],
  ['an element', { ...allow(), Resources: '*' }],
  ['an effect', { ...allow(), Effect: 'allow' }],
  ['an operator', allow({ Condition: { StringMatches: { 's3:prefix': 'a' } } })],
  ['an operator in another case', allow({ Condition: { stringlike: { 's3:prefix': 'a' } } })],
  ['NullIfExists', allow({ Condition: { NullIfExists: { 's3:prefix': 'true' } } })],
  ['NumericLessThan', allow({ Condition: { NumericLessThan: { 's3:max-keys': '10' } } })],
  ['a misspelt key', allow({ Condition: { StringNotLike: { 's3:prefx': 'a' } } })],
  ['a value of Bool', allow({ Condition: { Bool: { 'aws:SecureTransport': 'yes' } } })],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a policy variable
  ['a variable with a default', allow({ Resource: "${aws:PrincipalTag/org_id, '*'}" })],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a policy variable
  ['an escape', allow({ Resource: 'a/${*}' })],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a policy variable
  ['an unknown variable', allow({ Resource: 'a/${aws:username}' })],
  ['Action and NotAction', { ...allow(), NotAction: 's3:Get*' }],
  ['Resource and NotResource', { ...allow(), NotResource: '*' }],
  ['no resource', { Effect: 'Allow', Action: '*' }],
  ['a principal in a policy of a role', allow({ Principal: '*' })],
])('throws on %s instead of ignoring it', (_, statement) => {
  expect(() => accessEvaluator({ identity: [policy(statement as PolicyStatement)] })).toThrow(
    expect.objectContaining({ code: 'tenancy.storage_policy_unsupported' }),
  );
});

test('throws on another version, on patterns and unknown kinds of principals', () => {
  const old = { Version: '2008-10-17', Statement: [] } as unknown as PolicyDocument;
  expect(() => accessEvaluator({ identity: [old] })).toThrow(/version/);
  const withPattern = policy(deny({ Principal: { AWS: 'arn:aws:iam::111122223333:role/*' } }));
  expect(() => decide({ identity: [policy(allow())], resource: withPattern })).toThrow(
    /pattern in a Principal/,
  );
  const federated = policy(allow({ Principal: { Federated: 'x' } as never }));
  expect(() => decide({ identity: [], resource: federated })).toThrow(/principal type/);
});
