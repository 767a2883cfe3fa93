/**
 * "Which rows may I see": the policy for one principal and one action as a where clause. Facts about the principal, the
 * session and the time are settled here and bound as parameters; what remains speaks of columns. `authorize` on a row
 * says allow exactly when the row passes the filter.
 */
import { type AtomNode, atomsOf } from '../condition-node.ts';
import type { MissingFact, StepUp } from '../decision-types.ts';
import { RingfenceAuthzError } from '../errors.ts';
import { holdsOne } from '../evaluate.ts';
import { type Facts, readFacts } from '../facts.ts';
import { compilePredicate } from '../level.ts';
import { parseOrgId } from '../org-id.ts';
import { stringProblem } from '../plain-copy.ts';
import { IndexedPolicy, type Policy } from '../policy.ts';
import type { ActionIndex, PolicyIndex } from '../policy-index.ts';
import type {
  ActionOf,
  RequestContext,
  ResourceDeclaration,
  ResourceOf,
  Resources,
} from '../policy-types.ts';
import { stepUpFor } from '../step-up.ts';
import { type ColumnNames, compileRows, type RowTerms } from './compile-rows.ts';
import { allOf, FALSE, parameterSql, type SqlExpression, type SqlText, TRUE } from './expression.ts';

/** Columns of the table that holds the resources of action `A`, e.g. `{ org: 'org_id', createdBy: 'entry.created_by' }`. */
export type ColumnsOf<R extends Resources, A extends string> = {
  /** Column of the organisation id. */
  readonly org: string;
  /** Column of the resource's id. */
  readonly id?: string | undefined;
} & AttributeColumns<R[ResourceOf<A> & keyof R]>;

/** Columns of the declared attributes; those that no condition of the action speaks of may be left out. */
export type AttributeColumns<D extends ResourceDeclaration> = {
  readonly [P in keyof D['attributes']]?: string | undefined;
};

/** The rows an action is allowed on. */
export interface RowFilter {
  /** False when no row can pass: no query is needed. */
  readonly possible: boolean;
  /** What a stronger session could add rows by; undefined when nothing about the session is missing. */
  readonly stepUp: StepUp | undefined;
  /** The where clause with parameters `$first`, `$first + 1` … */
  toSql(first?: number): SqlText;
}

const ANY_ORG = '00000000-0000-0000-0000-000000000000';

/**
 * Compiles the policy to a where clause for one request.
 *
 * @throws RingfenceAuthzError `authz.invalid_request` when the context or the action is malformed, and
 * `authz.invalid_columns` when an attribute of a condition has no column.
 * @example
 * ```ts
 * const filter = rowFilter(policy, context, 'entry.read', { org: 'org_id', status: 'status' });
 * const { text, parameters } = filter.toSql();
 * await client.query(`select * from entry where ${text}`, [...parameters]);
 * ```
 */
export function rowFilter<R extends Resources, Role extends string, A extends ActionOf<R>>(
  policy: Policy<R, Role>,
  context: RequestContext<Role>,
  action: A,
  columns: ColumnsOf<R, A>,
): RowFilter {
  const { expression, stepUp } = compileRowFilter(policy, context, action, columns);
  return new CompiledRowFilter(expression, stepUp);
}

/** The only implementation of `RowFilter`; internal to the package. */
export class CompiledRowFilter implements RowFilter {
  readonly possible: boolean;
  readonly stepUp: StepUp | undefined;
  readonly #expression: SqlExpression;

  constructor(expression: SqlExpression, stepUp: StepUp | undefined) {
    this.possible = !(expression.kind === 'constant' && !expression.value);
    this.stepUp = stepUp;
    this.#expression = expression;
    Object.freeze(this);
  }

  toSql(first = 1): SqlText {
    return parameterSql(this.#expression, first);
  }

  /**
   * The expression, for renderers.
   *
   * @throws RingfenceAuthzError `authz.invalid_filter` for a look-alike: nothing but this file says which rows.
   */
  static expressionOf(filter: RowFilter): SqlExpression {
    if (typeof filter === 'object' && filter !== null && #expression in filter) return filter.#expression;
    throw new RingfenceAuthzError('authz.invalid_filter', 'not a row filter of this package');
  }
}

/** The filter as data, for renderers. */
export function compileRowFilter<R extends Resources, Role extends string, A extends ActionOf<R>>(
  policy: Policy<R, Role>,
  context: RequestContext<Role>,
  action: A,
  columns: ColumnsOf<R, A>,
): { readonly expression: SqlExpression; readonly stepUp: StepUp | undefined } {
  const index = IndexedPolicy.indexOf(policy);
  if (index === undefined) throw new TypeError('not a policy of this package');
  const facts = readFacts(index, context, action, { org: ANY_ORG });
  if (facts.problem !== undefined || facts.index === undefined) {
    const { field, problem } = facts.problem ?? { field: 'action', problem: 'is unknown' };
    throw new RingfenceAuthzError('authz.invalid_request', `${field} ${problem}`);
  }
  const terms = requestTerms(index, facts);
  return {
    expression: compileRows(facts.index, columns as ColumnNames, terms, index.document.roles),
    stepUp: stepUpFor(missingSessionFacts(index, facts.index, facts), index.document),
  };
}

function requestTerms(policy: PolicyIndex, facts: Facts): RowTerms {
  const wrong = stringProblem(facts.principalId);
  if (wrong !== undefined) throw new RingfenceAuthzError('authz.invalid_request', `principal.id ${wrong}`);
  const holds = (roles: readonly string[]): boolean =>
    roles.some((role) => facts.roles.includes(policy.roles.get(role) ?? -1));
  return {
    org: { kind: 'value', value: orgOf(facts) },
    principalId: { kind: 'value', value: facts.principalId },
    holdsOne: (roles) => (holds(roles) ? TRUE : FALSE),
    holdsNone: (roles) => (holds(roles) ? FALSE : TRUE),
    other: (atom, rows) => {
      if (atom.op !== 'approvedBy') return isTrue(policy, facts, atom) ? TRUE : FALSE;
      const ids = [...new Set(facts.approvals.map(({ resourceId }) => resourceId))].filter((resourceId) =>
        isTrue(policy, { ...facts, resourceId, resourceOrg: facts.principalOrg }, atom),
      );
      for (const id of ids) {
        const problem = stringProblem(id);
        if (problem !== undefined)
          throw new RingfenceAuthzError('authz.invalid_request', `approvals ${problem}`);
      }
      return ids.length === 0 ? FALSE : allOf([{ kind: 'in', left: rows.column('id'), values: ids }]);
    },
  };
}

function orgOf({ principalOrg }: Facts): string {
  try {
    return parseOrgId(principalOrg);
  } catch (cause) {
    throw new RingfenceAuthzError('authz.invalid_request', 'principal.org is not an organisation id', {
      cause,
    });
  }
}

/** Leaves that speak of no column need no slot. */
function isTrue({ acrRanks }: PolicyIndex, facts: Facts, atom: AtomNode): boolean {
  return compilePredicate(atom, { acrRanks, slotOf: () => -1 })(facts) === 0;
}

/** The session facts of the conditions in question that are not there. */
function missingSessionFacts(policy: PolicyIndex, index: ActionIndex, facts: Facts): readonly MissingFact[] {
  const held = index.grants.filter(({ roleSet }) => holdsOne(facts.roles, roleSet));
  const conditions = [
    ...held.map(({ condition }) => condition),
    ...index.forbids.map(({ mustHold }) => mustHold),
  ];
  if (held.length === 0) return [];
  const acrLevels = policy.document.acrLevels ?? [];
  return conditions.flatMap((condition) =>
    (condition === undefined ? [] : atomsOf(condition)).flatMap((atom): readonly MissingFact[] => {
      switch (atom.op) {
        case 'mfa':
        case 'sso':
          return isTrue(policy, facts, atom) ? [] : [{ kind: atom.op }];
        case 'acrAtLeast':
          return isTrue(policy, facts, atom)
            ? []
            : [{ kind: 'acr', acrValues: acrLevels.slice(acrLevels.indexOf(atom.acr)) }];
        case 'authenticatedWithin':
          return isTrue(policy, facts, atom) ? [] : [{ kind: 'authentication', maxAgeMs: atom.maxAgeMs }];
        default:
          return [];
      }
    }),
  );
}
