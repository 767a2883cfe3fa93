/**
 * The policy as a PostgreSQL row-level security policy. It is RESTRICTIVE: permissive policies are joined by OR, so a
 * permissive one beside the isolation by organisation would widen it; a restrictive one can only narrow. Facts of the
 * request come from SQL the developer supplies; a fact without SQL, and every approval, is never true.
 */
import type { AtomNode } from '../condition-node.ts';
import { IndexedPolicy, type Policy } from '../policy.ts';
import type { ActionOf, Resources } from '../policy-types.ts';
import { type ColumnNames, compileRows, type RowTerms } from './compile-rows.ts';
import { allOf, FALSE, inlineSql, quoteLiteral, quoteName, type SqlExpression } from './expression.ts';
import type { ColumnsOf } from './row-filter.ts';

/** SQL expressions that give the facts of the request. Written by the developer; never build them from input. */
export interface RequestSql {
  /** Organisation of the principal, of the type of the column: `(select tenancy.org_id())`. */
  readonly org: string;
  /** Id of the principal, text. */
  readonly principalId: string;
  /** Roles of the principal, `text[]`. */
  readonly roles: string;
  /** More than one factor, boolean. */
  readonly mfa?: string;
  /** Through an SSO connection, boolean. */
  readonly sso?: string;
  /** Authentication context class, text. */
  readonly acr?: string;
  /** When the person authenticated, bigint, epoch ms. */
  readonly authenticatedAt?: string;
}

/** What to generate. */
export interface RlsPolicyOptions<R extends Resources, A extends string> {
  /** Name of the policy. */
  readonly name: string;
  /** `schema.table`. */
  readonly table: string;
  /** The role of the database it binds. */
  readonly to: string;
  /** The statement kind it binds. */
  readonly command: 'select' | 'insert' | 'update' | 'delete';
  /** Columns of the table by attribute. */
  readonly columns: ColumnsOf<R, A>;
  /** Where the facts of the request come from. */
  readonly request: RequestSql;
}

/** Epoch ms of the statement, as `now` of a request. */
const NOW = '(floor(extract(epoch from statement_timestamp()) * 1000)::bigint)';

/**
 * The DDL of a restrictive policy that lets through the rows the action is allowed on. The table must have row-level
 * security enabled and a permissive policy (isolation by organisation), without which nothing is visible.
 *
 * @throws RingfenceAuthzError `authz.invalid_columns` when a name is not plain or an attribute has no column.
 * @example
 * ```ts
 * const ddl = rlsPolicy(policy, 'entry.read', {
 *   name: 'entry_read', table: 'ledger.entry', to: 'ledger_app', command: 'select',
 *   columns: { org: 'org_id', status: 'status' },
 *   request: {
 *     org: '(select tenancy.org_id())',
 *     principalId: "(select current_setting('app.user', true))",
 *     roles: "(select string_to_array(current_setting('app.roles', true), ','))",
 *   },
 * });
 * ```
 */
export function rlsPolicy<R extends Resources, Role extends string, A extends ActionOf<R>>(
  policy: Policy<R, Role>,
  action: A,
  { name, table, to, command, columns, request }: RlsPolicyOptions<R, A>,
): string {
  const rows = inlineSql(rlsExpression(policy, action, columns, request));
  const clause = {
    select: `using (${rows})`,
    delete: `using (${rows})`,
    insert: `with check (${rows})`,
    update: `using (${rows}) with check (${rows})`,
  }[command];
  return `create policy ${quoteName(name)} on ${quoteName(table)} as restrictive for ${command} to ${quoteName(to)} ${clause};\n`;
}

function rlsExpression<R extends Resources, Role extends string, A extends ActionOf<R>>(
  policy: Policy<R, Role>,
  action: A,
  columns: ColumnsOf<R, A>,
  request: RequestSql,
): SqlExpression {
  const index = IndexedPolicy.indexOf(policy);
  if (index === undefined) throw new TypeError('not a policy of this package');
  const actionIndex = index.actions.get(action);
  if (actionIndex === undefined) throw new TypeError(`${action} is not an action of the policy`);
  const terms: RowTerms = {
    org: { kind: 'trusted', sql: request.org },
    principalId: { kind: 'trusted', sql: request.principalId },
    holdsOne: (roles) => ({ kind: 'trusted', sql: `(${request.roles} && ${textArray(roles)})` }),
    holdsNone: (_, others) => ({ kind: 'trusted', sql: `(${request.roles} <@ ${textArray(others)})` }),
    other: (atom) => requestFact(atom, request, index.document.acrLevels ?? []),
  };
  const known: SqlExpression = {
    kind: 'trusted',
    sql: `(${request.principalId} <> '' and ${request.roles} <@ ${textArray(index.document.roles)})`,
  };
  return allOf([known, compileRows(actionIndex, columns as ColumnNames, terms, index.document.roles)]);
}

function requestFact(atom: AtomNode, request: RequestSql, acrLevels: readonly string[]): SqlExpression {
  switch (atom.op) {
    case 'mfa':
    case 'sso':
      return trusted(request[atom.op], (sql) => `(${sql})`);
    case 'acrAtLeast': {
      const enough = acrLevels.slice(acrLevels.indexOf(atom.acr));
      return trusted(request.acr, (sql) => `(${sql} in (${enough.map(quoteLiteral).join(', ')}))`);
    }
    case 'authenticatedWithin':
      return trusted(
        request.authenticatedAt,
        (sql) => `(${NOW} >= ${sql} and ${NOW} - ${sql} <= ${atom.maxAgeMs})`,
      );
    case 'timeWindow':
      return allOf([
        ...(atom.from === undefined ? [] : [time('>=', atom.from)]),
        ...(atom.until === undefined ? [] : [time('<', atom.until)]),
      ]);
    case 'outsideTimeWindow': {
      const { from, until } = atom;
      const before = from === undefined ? [] : [`${NOW} < ${quoteLiteral(from)}`];
      const after = until === undefined ? [] : [`${NOW} >= ${quoteLiteral(until)}`];
      return { kind: 'trusted', sql: `(${[...before, ...after].join(' or ')})` };
    }
    default:
      return FALSE;
  }
}

function time(sign: '>=' | '<', instant: number): SqlExpression {
  return {
    kind: 'compare',
    left: { kind: 'trusted', sql: NOW },
    sign,
    right: { kind: 'value', value: instant },
  };
}

function trusted(sql: string | undefined, write: (sql: string) => string): SqlExpression {
  return sql === undefined ? FALSE : { kind: 'trusted', sql: write(sql) };
}

function textArray(values: readonly string[]): string {
  return `array[${values.map(quoteLiteral).join(', ')}]::text[]`;
}
