/**
 * `@ringfence/authz/kysely`: the row filter as a Kysely expression. Values are bound, column names go through
 * `sql.ref`, so that Kysely's plugins (camel case, schema) see them.
 */
import { type Expression, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { Literal } from './condition-node.ts';
import type { Policy } from './policy.ts';
import type { ActionOf, RequestContext, Resources } from './policy-types.ts';
import { quoteName, type SqlExpression, type SqlOperand } from './sql/expression.ts';
import { type ColumnsOf, CompiledRowFilter, compileRowFilter, type RowFilter } from './sql/row-filter.ts';

/**
 * The rows an action is allowed on, for `.where(…)`.
 *
 * @throws RingfenceAuthzError `authz.invalid_request`, `authz.invalid_columns`, as `rowFilter`.
 * @example
 * ```ts
 * const entries = await db
 *   .selectFrom('entry')
 *   .selectAll()
 *   .where(whereAllowed(policy, context, 'entry.read', { org: 'org_id', status: 'status' }))
 *   .execute();
 * ```
 */
export function whereAllowed<R extends Resources, Role extends string, A extends ActionOf<R>>(
  policy: Policy<R, Role>,
  context: RequestContext<Role>,
  action: A,
  columns: ColumnsOf<R, A>,
): Expression<SqlBool> {
  return expressionOf(compileRowFilter(policy, context, action, columns).expression);
}

/**
 * A row filter that was made already, such as that of an API key, for `.where(…)`.
 *
 * @throws RingfenceAuthzError `authz.invalid_filter` when it is not a row filter of this package, a copy or a proxy of one included.
 * @example
 * ```ts
 * const filter = access.filter('entry.read', { org: 'org_id', status: 'status' });
 * const entries = await db.selectFrom('entry').selectAll().where(whereFilter(filter)).execute();
 * ```
 */
export function whereFilter(filter: RowFilter): Expression<SqlBool> {
  return expressionOf(CompiledRowFilter.expressionOf(filter));
}

function expressionOf(expression: SqlExpression): RawBuilder<SqlBool> {
  switch (expression.kind) {
    case 'constant':
      return expression.value ? sql<SqlBool>`true` : sql<SqlBool>`false`;
    case 'all':
    case 'any': {
      const separator = expression.kind === 'all' ? sql` and ` : sql` or `;
      return sql<SqlBool>`(${sql.join(expression.of.map(expressionOf), separator)})`;
    }
    case 'compare':
      return sql<SqlBool>`${operandOf(expression.left)} ${sql.raw(expression.sign)} ${operandOf(expression.right)}`;
    case 'in':
      return sql<SqlBool>`${operandOf(expression.left)} in (${sql.join(expression.values.map(boundValue))})`;
    case 'trusted':
      throw new TypeError('a row filter holds no SQL of its own');
  }
}

function operandOf(operand: SqlOperand): RawBuilder<unknown> {
  switch (operand.kind) {
    case 'column':
      quoteName(operand.name); // refuses a name that is not plain
      return sql.ref(operand.name);
    case 'value':
      return boundValue(operand.value);
    case 'trusted':
      throw new TypeError('a row filter holds no SQL of its own');
  }
}

/** Integers are cast, so that a bound beyond a smaller column type compares instead of failing. */
function boundValue(value: Literal): RawBuilder<unknown> {
  return typeof value === 'number' ? sql`${sql.val(value)}::bigint` : sql`${sql.val(value)}`;
}
