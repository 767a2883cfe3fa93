/**
 * Condition blocks of IAM statements (IAM User Guide, "Condition operators" and "Set operators for multivalued keys").
 * All operators and keys must hold; the values of a key are alternatives, for negated operators none may match. A key the
 * request lacks fails an operator, holds under `IfExists` and under negated operators, and makes `ForAllValues` hold.
 */
import type { PolicyConditions } from './policy-document.ts';
import {
  checkConditionKey,
  matchPattern,
  type PolicyPattern,
  parsePattern,
  type RequestContext,
  unsupported,
} from './policy-pattern.ts';

/** Whether a block holds; `unresolved` when that hangs on a variable without value. */
export type ConditionResult = boolean | 'unresolved';

interface ParsedCondition {
  readonly key: string;
  /** Asks whether the key is there instead of comparing its values. */
  readonly isNull: boolean;
  readonly negated: boolean;
  readonly ifExists: boolean;
  readonly set: 'all' | 'any' | undefined;
  readonly patterns: readonly PolicyPattern[];
}

/** A parsed block. */
export type ParsedConditions = readonly ParsedCondition[];

const OPERATOR =
  /^(?:(ForAllValues|ForAnyValue):)?(String(?:Not)?(?:Equals|Like)|ArnEquals|ArnLike|Bool|Null)(IfExists)?$/;

/**
 * Parses a condition block.
 *
 * @throws RingfenceTenancyError `tenancy.storage_policy_unsupported` on an operator, key or value it does not know.
 */
export function parseConditions(conditions: PolicyConditions | undefined): ParsedConditions {
  const parsed: ParsedCondition[] = [];
  for (const [name, keys] of Object.entries(conditions ?? {})) {
    const [, set, operator, ifExists] = OPERATOR.exec(name) ?? [];
    if (operator === undefined) throw unsupported(`condition operator ${name}`);
    if (operator === 'Null' && (set ?? ifExists) !== undefined)
      throw unsupported(`condition operator ${name}`);
    for (const [key, value] of Object.entries(keys)) {
      checkConditionKey(key);
      const values = typeof value === 'string' ? [value] : value;
      const flag = operator === 'Null' || operator === 'Bool';
      if (flag && !values.every((text) => text === 'true' || text === 'false')) {
        throw unsupported(`value of ${name}`);
      }
      parsed.push({
        key: key.toLowerCase(),
        isNull: operator === 'Null',
        negated: operator.includes('Not'),
        ifExists: ifExists !== undefined,
        set: set === undefined ? undefined : set === 'ForAllValues' ? 'all' : 'any',
        // ArnEquals and ArnLike are the same operator and read wildcards.
        patterns: values.map((text) => parsePattern(text, /Like|Arn/.test(operator))),
      });
    }
  }
  return parsed;
}

/** Whether a parsed block holds for a request. */
export function conditionsHold(conditions: ParsedConditions, context: RequestContext): ConditionResult {
  let result: ConditionResult = true;
  for (const condition of conditions) {
    const holds = conditionHolds(condition, context);
    if (holds === false) return false;
    if (holds === 'unresolved') result = holds;
  }
  return result;
}

function conditionHolds(condition: ParsedCondition, context: RequestContext): ConditionResult {
  const { key, isNull, negated, ifExists, set, patterns } = condition;
  const values = context.get(key) ?? [];
  if (isNull) {
    return patterns.some((pattern) => matchPattern(pattern, String(values.length === 0), context) === true);
  }
  if (values.length === 0) return ifExists || set === 'all' || (negated && set === undefined);
  if (set === undefined && values.length > 1)
    throw unsupported(`several values of ${key} without a set operator`);
  const results = values.map((value) => valueHolds(patterns, value, negated, context));
  if (set === 'any') return results.includes(true) || (results.includes('unresolved') ? 'unresolved' : false);
  return results.includes(false) ? false : results.includes('unresolved') ? 'unresolved' : true;
}

function valueHolds(
  patterns: readonly PolicyPattern[],
  value: string,
  negated: boolean,
  context: RequestContext,
): ConditionResult {
  let unresolved = false;
  for (const pattern of patterns) {
    const match = matchPattern(pattern, value, context);
    if (match === true) return !negated;
    if (match === 'unresolved') unresolved = true;
  }
  // Without its value nothing equals the pattern: a positive operator fails, a negated one is not known.
  if (unresolved && negated) return 'unresolved';
  return negated;
}
