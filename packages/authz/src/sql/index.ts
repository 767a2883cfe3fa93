/** `@ringfence/authz/sql`: the policy as a where clause and as a row-level security policy. */
export { rowFilterWithinCeiling } from './ceiling-filter.ts';
export type { SqlText } from './expression.ts';
export { type RequestSql, type RlsPolicyOptions, rlsPolicy } from './rls-policy.ts';
export { type AttributeColumns, type ColumnsOf, type RowFilter, rowFilter } from './row-filter.ts';
