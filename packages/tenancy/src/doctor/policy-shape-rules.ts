/**
 * Rules on the expressions of policies that are not the generated one: leaks (a stale plan, an escape hatch, an unsigned
 * setting) and the shapes that cost a thousandfold. They name what is wrong with it, where RF106 says only that it differs.
 */
import type { CatalogFunction, Policy } from '../catalog/catalog.ts';
import { grouped } from '../catalog/grouped.ts';
import type { Inspection } from './inspection.ts';
import { dropPolicy } from './rls-rules.ts';
import { DOCS, type Hit, type Level, type Rule } from './rule.ts';

/** PostgreSQL's own volatile functions that have a use in a predicate. */
const BUILT_IN_VOLATILE =
  /\b(set_config|nextval|currval|lastval|random|clock_timestamp|timeofday|gen_random_uuid|txid_current|query_to_xml)\(/;
/** A call that is evaluated once: the whole of a scalar subquery without FROM, or one field of what it returns. */
const EVALUATED_ONCE = /\( SELECT \(*[\w."]+\([^()]*\)\)*(?:\."?\w+"?)?(?:::[\w ]+)? AS "?\w+"?\)/g;

interface Shape {
  readonly policy: Policy;
  /** Both expressions, string literals emptied. */
  readonly text: string;
  readonly calls: readonly CatalogFunction[];
  readonly reads: readonly string[];
}

/** Policies a person wrote, with what they use. Those on undeclared tables of extensions are theirs. */
function shapes(inspection: Inspection): readonly Shape[] {
  const { catalog, facts } = inspection;
  const written = catalog.policies.filter((policy) => {
    const relation = inspection.relation(policy.relation);
    if (relation === undefined || inspection.isGenerated(policy)) return false;
    const of = inspection.classify(relation);
    if (relation.extension !== null && of === 'unclassified') return false;
    // What other roles may do with a system relation is for whoever owns it: the app role uses none of it.
    if (of === 'system' && !inspection.applies(policy)) return false;
    // A global table is there to be read by all.
    return !(policy.command === 'select' && of === 'global');
  });
  if (written.length === 0) return [];
  const functions = new Map(catalog.functions.map((each) => [each.name, each]));
  const keyOf = (relation: string, name: string) => `${relation} ${name}`;
  const calls = grouped(facts.policyCalls, ({ relation, policy }) => keyOf(relation, policy));
  const reads = grouped(facts.policyReads, ({ relation, policy }) => keyOf(relation, policy));
  return written.map((policy) => {
    const key = keyOf(policy.relation, policy.name);
    return {
      policy,
      text: [policy.using, policy.check]
        .filter((each) => each !== null)
        .join(' ')
        .replaceAll(/'(?:[^']|'')*'/g, "''"),
      calls: (calls.get(key) ?? []).flatMap(({ uses }) => functions.get(uses) ?? []),
      reads: (reads.get(key) ?? []).map(({ uses }) => uses),
    };
  });
}

function shapeRule(
  rule: Omit<Rule, 'check' | 'level'> & { readonly level?: Level },
  finds: (shape: Shape) => string | undefined,
): Rule {
  return {
    level: 'error',
    ...rule,
    *check(inspection): Generator<Hit> {
      for (const shape of shapes(inspection)) {
        const message = finds(shape);
        if (message === undefined) continue;
        const { policy } = shape;
        yield { object: `${policy.relation}.${policy.name}`, message, remedy: dropPolicy(policy) };
      }
    },
  };
}

const matching = (pattern: RegExp, message: string) => (shape: Shape) =>
  pattern.test(shape.text) ? message : undefined;

const named = (functions: readonly CatalogFunction[], message: string) =>
  functions.length === 0 ? undefined : `${message}: ${functions.map(({ name }) => name).join(', ')}`;

/** Traps in the expression of a policy. */
export const policyShapeRules: readonly Rule[] = [
  shapeRule(
    {
      id: 'RF201',
      name: 'policy-volatile-function',
      title: 'A policy calls a volatile function',
      rationale:
        'It is evaluated for each row, no index can serve it, and it may change the context it is judged by.',
      source: `${DOCS.measured}: list 5 300 to 6 400 times slower`,
    },
    ({ text, calls }) =>
      named(
        calls.filter(({ volatility }) => volatility === 'volatile'),
        'volatile',
      ) ?? (BUILT_IN_VOLATILE.test(text) ? `volatile: ${BUILT_IN_VOLATILE.exec(text)?.[1]}` : undefined),
  ),
  shapeRule(
    {
      id: 'RF202',
      name: 'policy-immutable-function',
      title: 'A policy calls a function that is marked IMMUTABLE',
      rationale:
        'The planner folds it into a constant. A plan that is kept, as prepared statements do, then answers the next organisation with the rows of the former.',
      source: `PostgreSQL documentation, 36.7 Function Volatility Categories; ${DOCS.executed}: asked as B, read A`,
    },
    ({ calls }) =>
      named(
        calls.filter(({ volatility }) => volatility === 'immutable'),
        'marked immutable',
      ),
  ),
  shapeRule(
    {
      id: 'RF203',
      name: 'policy-casts-org-id',
      level: 'warning',
      title: 'A policy casts org_id',
      rationale:
        'An index on org_id does not serve a predicate on org_id::text: every statement reads the rows of all organisations.',
      source: `${DOCS.measured}: list 2 500 to 3 200 times slower`,
    },
    matching(/\borg_id\)?::(?!uuid\b)/, 'org_id is cast to another type'),
  ),
  shapeRule(
    {
      id: 'RF204',
      name: 'policy-escape-hatch',
      title: 'A policy has an alternative',
      rationale:
        'A flag, an admin or a null on the other side of OR is a standing bypass that one setting opens, and it disables the index.',
      source: `${DOCS.measured}: list 4 100 to 5 400 times slower`,
    },
    matching(/ OR /, 'the expression contains OR'),
  ),
  shapeRule(
    {
      id: 'RF205',
      name: 'policy-reads-table',
      level: 'warning',
      title: 'A policy reads a table',
      rationale:
        'A membership query runs per statement or per row under its own policies, and whoever may write that table decides who sees this one.',
      source: `${DOCS.measured}: list 670 to 810 times slower`,
    },
    ({ text, reads }) =>
      reads.length > 0 || / FROM /.test(text)
        ? `the expression reads ${reads.join(', ') || 'its own table'}`
        : undefined,
  ),
  shapeRule(
    {
      id: 'RF206',
      name: 'policy-reads-setting',
      title: 'A policy reads a setting directly',
      rationale:
        'Any SQL may set it: one injected set_config reads another organisation. tenancy.org_id() verifies the context and fails when it is missing.',
      source: `${DOCS.executed}: reads the other organisation`,
    },
    matching(/\bcurrent_setting\(/, 'the expression calls current_setting'),
  ),
  shapeRule(
    {
      id: 'RF207',
      name: 'policy-null-tolerant',
      title: 'A policy decides something for a context that is null',
      rationale:
        "A missing context has to be an error. COALESCE and IS NULL turn it into a default, which sooner or later is someone's rows.",
      source: `${DOCS.executed}: a reset setting reads back as an empty string, not as null`,
    },
    matching(/\bCOALESCE\(|\bIS (?:NOT )?NULL\b|\bNULLIF\(/, 'the expression handles null'),
  ),
  shapeRule(
    {
      id: 'RF208',
      name: 'policy-bare-call',
      level: 'warning',
      title: 'A policy calls a function outside of a scalar subquery',
      rationale:
        'Without an index that leads with org_id the call runs for each row; as (select f()) it runs once.',
      source: `${DOCS.measured}: count 3.7 to 5.1 times slower without such an index`,
    },
    ({ text, calls }) => {
      const outside = text.replaceAll(EVALUATED_ONCE, '');
      return named(
        calls.filter(({ name }) =>
          outside.includes(`${name.slice(name.indexOf('.') + 1, name.indexOf('('))}(`),
        ),
        'called bare',
      );
    },
  ),
  shapeRule(
    {
      id: 'RF209',
      name: 'policy-always-true',
      title: 'A permissive policy is always true',
      rationale:
        'It shows or accepts the rows of all organisations; row-level security is enabled and does nothing.',
      source: DOCS.createPolicy,
    },
    ({ policy }) => {
      if (!policy.permissive) return undefined;
      return policy.using === 'true' || policy.check === 'true'
        ? 'the expression is the constant true'
        : undefined;
    },
  ),
  {
    id: 'RF210',
    name: 'pattern-index-unused',
    level: 'note',
    title: 'An index for LIKE cannot serve LIKE under a policy',
    rationale:
      'LIKE is not LEAKPROOF, so it runs behind the policy and not in the index. For prefixes, ^@ keeps an index.',
    source: 'measured on PostgreSQL 18.4, 1 000 rows: 0.03 ms becomes 1.2 to 1.8 ms',
    *check({ facts }): Generator<Hit> {
      for (const object of facts.patternIndexes) {
        const remedy = '-- search prefixes with ^@, or by lower(x) >= and < bounds';
        yield { object, message: 'a pattern index on a table with row-level security', remedy };
      }
    },
  },
];
