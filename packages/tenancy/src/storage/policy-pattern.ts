/**
 * Patterns of IAM policies: `*` stands for any run of characters, `?` for one, `${key}` for a value of the request. The
 * value is taken literally: a `*` in it is a character (IAM User Guide, "Policy elements: Variables and tags").
 * Invariant: a variable without value matches nothing, and says so, because what that does to the statement depends on
 * its effect.
 */
import { RingfenceTenancyError } from '../errors.ts';

/** Values of the request by lower-case key. */
export type RequestContext = ReadonlyMap<string, readonly string[]>;

/** A literal run, or a wildcard: any run of characters, or one. */
type Unit = string | { readonly any: boolean };
type Token = Unit | { readonly variable: string };

/** A parsed pattern. */
export type PolicyPattern = readonly Token[];

/** How a value and a pattern compare; `unresolved` when a variable has no value. */
export type PatternMatch = boolean | 'unresolved';

/**
 * Parses a pattern. Without wildcards (StringEquals), `*` and `?` are characters.
 *
 * @throws RingfenceTenancyError `tenancy.storage_policy_unsupported` on default values and escapes in variables.
 */
export function parsePattern(text: string, wildcards: boolean): PolicyPattern {
  const tokens: Token[] = [];
  for (const [part] of text.matchAll(/\$\{[^}]*\}?|[*?]|[^*?$]+|\$/g)) {
    if (part.startsWith('${')) {
      const [, variable] = /^\$\{([A-Za-z0-9:/_-]+)\}$/.exec(part) ?? [];
      if (variable === undefined) throw unsupported(`variable ${part}`);
      checkConditionKey(variable);
      tokens.push({ variable: variable.toLowerCase() });
    } else if (wildcards && (part === '*' || part === '?')) {
      tokens.push({ any: part === '*' });
    } else {
      tokens.push(part);
    }
  }
  return tokens;
}

/** Compares a value with a pattern. */
export function matchPattern(pattern: PolicyPattern, value: string, context: RequestContext): PatternMatch {
  const units: Unit[] = [];
  for (const token of pattern) {
    if (typeof token === 'string' || 'any' in token) {
      units.push(token);
      continue;
    }
    const values = context.get(token.variable);
    if (values?.length !== 1) return 'unresolved';
    units.push(values[0] ?? '');
  }
  return matchUnits(units, value);
}

/** The last `*` is the only place to go back to: time is the product of both lengths at worst. */
function matchUnits(units: readonly Unit[], value: string): boolean {
  let unit = 0;
  let at = 0;
  let star = -1;
  let resume = 0;
  while (unit < units.length || at < value.length) {
    const current = units[unit];
    if (typeof current === 'string' && value.startsWith(current, at)) {
      unit += 1;
      at += current.length;
    } else if (typeof current === 'object' && current.any) {
      star = unit++;
      resume = at;
      if (unit === units.length) return true;
    } else if (typeof current === 'object' && at < value.length) {
      unit += 1;
      at += 1;
    } else if (star >= 0 && resume < value.length) {
      unit = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  return true;
}

const CONDITION_KEYS = new Set([
  'aws:securetransport',
  'aws:tagkeys',
  'aws:principalarn',
  'aws:sourceaccount',
  'aws:sourcearn',
  'aws:resourceaccount',
  's3:accessgrantsinstancearn',
  's3:prefix',
  's3:delimiter',
  's3:max-keys',
]);

/**
 * Refuses condition keys the evaluator has no value for: AWS reads a misspelt key as absent, and then `IfExists` and
 * negated operators hold.
 *
 * @throws RingfenceTenancyError `tenancy.storage_policy_unsupported`.
 */
export function checkConditionKey(key: string): void {
  const lower = key.toLowerCase();
  if (CONDITION_KEYS.has(lower) || /^aws:(?:principal|request)tag\/./.test(lower)) return;
  throw unsupported(`condition key ${key}`);
}

/** The error for what the evaluator does not know. */
export function unsupported(what: string): RingfenceTenancyError {
  return new RingfenceTenancyError(
    'tenancy.storage_policy_unsupported',
    `the policy cannot be judged: ${what} is not known to the evaluator`,
  );
}
