/**
 * A policy and an action, compiled to "which rows": organisation equal, some grant true, every forbid lifted. The same
 * formula as evaluate.ts at level 0. Each comparison is written so that it is true exactly when the predicate of level.ts
 * is: an integer beyond 2^53 - 1 and a text outside an enumeration are unknown there, hence the explicit bounds here.
 */
import {
  type AtomNode,
  type ConditionNode,
  type EqualityNode,
  isComposite,
  type Literal,
  type MembershipNode,
  type OrderNode,
} from '../condition-node.ts';
import { RingfenceAuthzError } from '../errors.ts';
import type { ActionIndex, AttributeSlot } from '../policy-index.ts';
import { allOf, anyOf, FALSE, type SqlExpression, type SqlOperand, TRUE } from './expression.ts';

/** The columns of a table, by attribute: `org` always, and each attribute that a condition of the action speaks of. */
export type ColumnNames = { readonly org: string } & Readonly<Record<string, string | undefined>>;

/** Where the facts come from that are not columns of the row. */
export interface RowTerms {
  readonly org: SqlOperand;
  readonly principalId: SqlOperand;
  /** The principal holds one of the roles. */
  holdsOne(roles: readonly string[]): SqlExpression;
  /** The principal holds none of the roles; `others` are all the rest. */
  holdsNone(roles: readonly string[], others: readonly string[]): SqlExpression;
  /** A leaf about session, time or approvals. */
  other(atom: Exclude<AtomNode, EqualityNode | MembershipNode | OrderNode>, rows: RowColumns): SqlExpression;
}

/** Resolves attributes to columns. */
export interface RowColumns {
  column(attribute: string): SqlOperand;
}

const SIGN = { lessThan: '<', atMost: '<=', moreThan: '>', atLeast: '>=' } as const;

/**
 * The expression that is true for exactly the rows the action is allowed on.
 *
 * @throws RingfenceAuthzError `authz.invalid_columns` when an attribute of a condition has no column.
 */
export function compileRows(
  index: ActionIndex,
  columns: ColumnNames,
  terms: RowTerms,
  roleNames: readonly string[],
): SqlExpression {
  const compiler = new RowCompiler(index, columns, terms);
  const grants = index.grants.map(({ roles, condition }) =>
    allOf([terms.holdsOne(roles), condition === undefined ? TRUE : compiler.condition(condition)]),
  );
  const forbids = index.forbids.map(({ roleSet, mustHold }) => {
    const holds = mustHold === undefined ? FALSE : compiler.condition(mustHold);
    if (roleSet === undefined) return holds;
    const concerned = roleNames.filter((_, ordinal) => roleSet.has(ordinal));
    const others = roleNames.filter((_, ordinal) => !roleSet.has(ordinal));
    return anyOf([terms.holdsNone(concerned, others), holds]);
  });
  const org: SqlExpression = { kind: 'compare', left: compiler.column('org'), sign: '=', right: terms.org };
  return allOf([org, anyOf(grants), ...forbids]);
}

class RowCompiler implements RowColumns {
  readonly #index: ActionIndex;
  readonly #columns: ColumnNames;
  readonly #terms: RowTerms;

  constructor(index: ActionIndex, columns: ColumnNames, terms: RowTerms) {
    this.#index = index;
    this.#columns = columns;
    this.#terms = terms;
  }

  column(attribute: string): SqlOperand {
    const name: unknown = Object.hasOwn(this.#columns, attribute) ? this.#columns[attribute] : undefined;
    if (typeof name !== 'string') {
      throw new RingfenceAuthzError(
        'authz.invalid_columns',
        `${this.#index.action}: attribute "${attribute}" has no column, and a condition speaks of it`,
      );
    }
    return { kind: 'column', name };
  }

  condition(node: ConditionNode): SqlExpression {
    if (isComposite(node)) {
      const parts = node.of.map((part) => this.condition(part));
      return node.op === 'all' ? allOf(parts) : anyOf(parts);
    }
    switch (node.op) {
      case 'equals':
      case 'notEquals':
        return this.#equality(node);
      case 'oneOf':
        return this.#in(node.left.attribute, node.values);
      case 'noneOf':
        return this.#notIn(node.left.attribute, node.values);
      case 'lessThan':
      case 'atMost':
      case 'moreThan':
      case 'atLeast': {
        const left = this.column(node.left.attribute);
        const right: SqlOperand = { kind: 'value', value: node.right };
        return allOf([{ kind: 'compare', left, sign: SIGN[node.op], right }, safeInteger(left)]);
      }
      default:
        return this.#terms.other(node, this);
    }
  }

  #equality({ op, left, right }: EqualityNode): SqlExpression {
    if (typeof right !== 'object') {
      return op === 'equals' ? this.#in(left.attribute, [right]) : this.#notIn(left.attribute, [right]);
    }
    const other = right.ref === 'principal' ? this.#terms.principalId : this.column(right.attribute);
    return {
      kind: 'compare',
      left: this.column(left.attribute),
      sign: op === 'equals' ? '=' : '<>',
      right: other,
    };
  }

  #in(attribute: string, values: readonly Literal[]): SqlExpression {
    const left = this.column(attribute);
    const [only] = values;
    if (only === undefined) return FALSE;
    if (values.length > 1) return { kind: 'in', left, values };
    return { kind: 'compare', left, sign: '=', right: { kind: 'value', value: only } };
  }

  #notIn(attribute: string, values: readonly Literal[]): SqlExpression {
    const { type } = this.#slot(attribute);
    if (type === 'boolean')
      return this.#in(
        attribute,
        [true, false].filter((value) => !values.includes(value)),
      );
    if (typeof type !== 'string')
      return this.#in(
        attribute,
        [...type].filter((value) => !values.includes(value)),
      );
    const left = this.column(attribute);
    const differs = values.map((value): SqlExpression => {
      return { kind: 'compare', left, sign: '<>', right: { kind: 'value', value } };
    });
    return allOf(type === 'integer' ? [...differs, safeInteger(left)] : differs);
  }

  #slot(attribute: string): AttributeSlot {
    const slot = this.#index.slots.find(({ name }) => name === attribute);
    if (slot === undefined)
      throw new TypeError(`no condition of ${this.#index.action} speaks of ${attribute}`);
    return slot;
  }
}

/** ECMA-262 Number.isSafeInteger: beyond it the value is not known exactly in JavaScript, hence unknown. */
function safeInteger(left: SqlOperand): SqlExpression {
  return allOf([
    { kind: 'compare', left, sign: '>=', right: { kind: 'value', value: Number.MIN_SAFE_INTEGER } },
    { kind: 'compare', left, sign: '<=', right: { kind: 'value', value: Number.MAX_SAFE_INTEGER } },
  ]);
}
