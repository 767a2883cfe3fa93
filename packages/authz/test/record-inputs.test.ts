/** The inputs of a decision from an archive: parsed by hand and put down by hand, each held against the general way. */

import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import fc from '../../../tools/fuzz.ts';
import { type CanonicalValue, canonicalJson } from '../src/canonical.ts';
import { inputsText } from '../src/inputs-text.ts';
import { type DecisionInputs, parseInputs } from '../src/record-inputs.ts';

const text = z.string();
/** The same rules in a schema. */
const schema = z.strictObject({
  action: text,
  problem: z.strictObject({ field: text, problem: text }).optional(),
  now: z.int().optional(),
  principal: z.strictObject({ id: text, org: text, roles: z.array(text) }).optional(),
  resource: z
    .strictObject({
      org: text,
      id: text.optional(),
      attributes: z.record(text, z.union([text, z.int(), z.boolean()])),
      illTyped: z.array(text).optional(),
    })
    .optional(),
  session: z
    .strictObject({
      mfa: z.boolean(),
      acr: text.optional(),
      authenticatedAt: z.int().optional(),
      ssoConnection: text.optional(),
    })
    .optional(),
  approvals: z
    .array(z.strictObject({ by: text, roles: z.array(text), org: text, action: text, resourceId: text }))
    .optional(),
});

const strings = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 6 }),
  fc.constantFrom('"', '\\', '\u2028', '\ud800', 'é', '\u007f', '\n', ''),
);
const integers = fc.maxSafeInteger();
const sound: fc.Arbitrary<DecisionInputs> = fc.record(
  {
    action: strings,
    now: integers,
    principal: fc.record({ id: strings, org: strings, roles: fc.array(strings, { maxLength: 3 }) }),
    problem: fc.record({ field: strings, problem: strings }),
    resource: fc.record(
      {
        org: strings,
        id: strings,
        attributes: fc.dictionary(
          strings.filter((name) => name !== '__proto__'),
          fc.oneof(strings, integers, fc.boolean()),
          { maxKeys: 4, noNullPrototype: true },
        ),
        illTyped: fc.array(strings, { maxLength: 2 }),
      },
      { requiredKeys: ['org', 'attributes'] },
    ),
    session: fc.record(
      { mfa: fc.boolean(), acr: strings, authenticatedAt: integers, ssoConnection: strings },
      { requiredKeys: ['mfa'] },
    ),
    approvals: fc.array(
      fc.record({
        by: strings,
        roles: fc.array(strings, { maxLength: 2 }),
        org: strings,
        action: strings,
        resourceId: strings,
      }),
      { maxLength: 2 },
    ),
  },
  { requiredKeys: ['action'] },
);

/** Puts a value somewhere into sound inputs, under a name of theirs or another one. */
const broken = fc
  .tuple(
    sound,
    fc.constantFrom('', 'principal', 'resource', 'session', 'problem', 'attributes', 'approvals'),
    fc.constantFrom(
      'id',
      'org',
      'roles',
      'mfa',
      'now',
      'action',
      'field',
      'attributes',
      'extra',
      'session',
      '0',
    ),
    fc.oneof(
      fc.jsonValue({ maxDepth: 1 }),
      fc.constantFrom(1.5, Number.NaN, 2 ** 53, undefined),
      fc.func(fc.nat()),
    ),
  )
  .map(([inputs, part, name, value]) => {
    const copy = structuredClone(inputs) as unknown as Record<string, Record<string, unknown>>;
    const target = part === '' ? copy : part === 'attributes' ? copy['resource']?.['attributes'] : copy[part];
    if (typeof target === 'object') (target as Record<string, unknown>)[name] = value;
    return copy as unknown;
  });

function parsed(value: unknown): unknown {
  try {
    return parseInputs(value);
  } catch (error) {
    expect(error).toMatchObject({ code: 'authz.invalid_request' });
    return 'refused';
  }
}

/** Absent and undefined are one; the schema keeps the latter. */
const compact = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('inputs of an archive', () => {
  test('are accepted and read as a schema of the same rules does, sound or broken in one place', () => {
    let refused = 0;
    fc.assert(
      fc.property(fc.oneof(sound, broken), (value) => {
        const mine = parsed(value);
        const theirs = schema.safeParse(value);
        if (mine === 'refused') refused += 1;
        expect(mine === 'refused').toBe(!theirs.success);
        if (theirs.success) expect(compact(mine)).toEqual(compact(theirs.data));
      }),
      { numRuns: 2_000 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  test('are objects, and lists where lists stand', () => {
    const resource = { org: 'o', attributes: {} };
    for (const value of [
      [],
      { action: 'a', resource: { ...resource, attributes: [] } },
      { action: 'a', resource: { ...resource, illTyped: {} } },
      { action: 'a', approvals: {} },
      { action: 'a', principal: { id: 'i', org: 'o', roles: 'owner' } },
      Object.assign([], { action: 'a' }),
    ]) {
      expect(parsed(value)).toBe('refused');
    }
  });

  test('have the text of canonical JSON, byte for byte', () => {
    fc.assert(
      fc.property(sound, (inputs) => {
        const general = canonicalJson(inputs as unknown as CanonicalValue);
        expect(inputsText(inputs)).toBe(general);
        expect(inputsText(parseInputs(JSON.parse(JSON.stringify(inputs)) as unknown))).toBe(
          canonicalJson(JSON.parse(JSON.stringify(inputs)) as CanonicalValue),
        );
        expect(general).toBe(sortedJson(inputs));
      }),
      { numRuns: 2_000 },
    );
  });

  test('whose texts could end a text of JSON are not mistaken for others', () => {
    const of = (id: string, org: string) => inputsText({ action: 'a', principal: { id, org, roles: [] } });
    expect(of('x","org":"y', 'z')).not.toBe(of('x', 'y'));
    expect(JSON.parse(of('x","org":"y', 'z\\'))).toEqual({
      action: 'a',
      principal: { id: 'x","org":"y', org: 'z\\', roles: [] },
    });
  });
});

describe('nothing is read from a prototype', () => {
  const session = { mfa: false };
  const names = ['acr', 'session', 'now', 'illTyped', 'approvals', 'id'];
  afterEach(() => {
    for (const name of names) Reflect.deleteProperty(Object.prototype, name);
  });

  test('that was polluted', () => {
    for (const name of names) {
      const value = name === 'id' ? 'polluted' : name === 'now' ? 1 : ['polluted'];
      Object.defineProperty(Object.prototype, name, { value, configurable: true, writable: true });
      const { resource, ...rest } = parseInputs({
        action: 'a',
        session,
        resource: { org: 'o', attributes: {} },
      });
      Reflect.deleteProperty(Object.prototype, name);
      expect(Object.keys(rest)).toEqual(['action', 'session']);
      expect(Object.keys(resource ?? {})).toEqual(['attributes', 'org']);
    }
  });

  test('of the object itself', () => {
    const inherited = Object.create({ now: 1, session }) as { action: string };
    inherited.action = 'a';
    expect(parseInputs(inherited)).toEqual({ action: 'a' });
    const named = JSON.parse(
      '{"action":"a","resource":{"org":"o","attributes":{"__proto__":"x"}}}',
    ) as unknown;
    expect(parsed(named)).toBe('refused');
    expect(parsed(JSON.parse('{"action":"a","__proto__":{"now":1}}'))).toBe('refused');
  });
});

/** Canonical JSON by other means: sorted copies, put down by the engine. */
function sortedJson(value: unknown): string {
  const sorted = (each: unknown): unknown => {
    if (Array.isArray(each)) return each.map(sorted);
    if (typeof each !== 'object' || each === null) return each;
    return new Map(
      Object.keys(each)
        .sort()
        .map((key) => [key, sorted((each as Record<string, unknown>)[key])]),
    );
  };
  const write = (each: unknown): string => {
    if (Array.isArray(each)) return `[${each.map(write).join()}]`;
    if (!(each instanceof Map)) return JSON.stringify(each);
    return `{${[...each].map(([key, member]) => `${JSON.stringify(key)}:${write(member)}`).join()}}`;
  };
  return write(sorted(value));
}
