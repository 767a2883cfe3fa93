/**
 * The shape of a definition: what it says, whether our DDL says it or PostgreSQL's deparser (pg_get_constraintdef,
 * pg_get_triggerdef, pg_get_expr). The two differ in case, space, needless parentheses, `IN` against `= ANY (ARRAY[…])`, and in
 * the type that the deparser shows on a constant; they differ in nothing else here.
 *
 * Expressions are parsed with the operator precedence of PostgreSQL (manual, section 4.1.6), so that structure, casts and the
 * letters of strings count. Invariant: two texts have one shape only if they mean the same; what this reader does not
 * understand has a shape of its own, which no definition of ours has.
 */
import { type SqlToken, tokensOf } from './sql-tokens.ts';

/** Words before a parenthesis that holds an expression. */
const BEFORE_EXPRESSION: ReadonlySet<string> = new Set(['check', 'using', 'when']);
/** Constants are shown with the type that the function they are given to takes: these change nothing of a text. */
const TYPES_OF_TEXT: ReadonlySet<string> = new Set(['text', 'name']);
/** Words behind the first in the name of a type. */
const WORDS_OF_TYPES: ReadonlySet<string> = new Set([
  'varying',
  'precision',
  'with',
  'without',
  'time',
  'zone',
]);
const COMPARISONS: ReadonlySet<string> = new Set(['<', '>', '=', '<=', '>=', '<>']);

/** How tightly an operator binds; undefined for what is none. */
function precedenceOf(operator: string): number | undefined {
  if (operator === 'or') return 1;
  if (operator === 'and') return 2;
  if (operator === 'is') return 4;
  if (COMPARISONS.has(operator)) return 5;
  if (operator === 'in') return 6;
  if (operator === '+' || operator === '-') return 8;
  if (operator === '*' || operator === '/' || operator === '%') return 9;
  return /^[-+*/<>=~!@#%^&|?]+$/.test(operator) && operator !== '^' ? 7 : undefined;
}
const NOT = 3;
const SIGN = 12;

/** An expression: what it is, and its parts. */
interface Node {
  readonly kind: string;
  readonly parts: readonly Node[];
}

class Unreadable extends Error {}

/** The shape of the definition of a constraint, trigger or policy. */
export function shapeOf(definition: string): string {
  try {
    const reader = new Reader(tokensOf(definition));
    const words: string[] = [];
    for (;;) {
      const token = reader.next();
      if (token === undefined) return words.join(' ');
      words.push(wordOf(token));
      if (token.kind === 'name' && BEFORE_EXPRESSION.has(token.text)) {
        reader.expect('(');
        words.push(textOf(reader.expression(0)));
        reader.expect(')');
      }
    }
  } catch (error) {
    if (!(error instanceof Unreadable || error instanceof SyntaxError)) throw error;
    return `unreadable: ${definition}`;
  }
}

class Reader {
  readonly #tokens: readonly SqlToken[];
  #at = 0;

  constructor(tokens: readonly SqlToken[]) {
    this.#tokens = tokens;
  }

  next(): SqlToken | undefined {
    return this.#tokens[this.#at++];
  }

  expect(text: string): void {
    if (!this.#take(text)) throw new Unreadable(text);
  }

  /** Precedence climbing: all operators that bind at least as tightly as `least`, from the left. */
  expression(least: number): Node {
    let left = this.#operand();
    for (;;) {
      const operator = this.#peek();
      const binding = operator === undefined ? undefined : precedenceOf(operator);
      if (operator === undefined || binding === undefined || binding < least) return left;
      this.#at += 1;
      left = this.#joined(left, operator, binding);
    }
  }

  #joined(left: Node, operator: string, binding: number): Node {
    if (operator === 'is') return this.#test(left);
    if (operator === 'in') return { kind: 'in', parts: [left, ...this.#list()] };
    if (operator === '=' && this.#take('any')) return { kind: 'in', parts: [left, ...this.#array()] };
    const right = this.expression(binding + 1);
    if (operator !== 'and' && operator !== 'or') return { kind: operator, parts: [left, right] };
    // Associative: `a and (b and c)` is `a and b and c`.
    const flat = [left, right].flatMap((node) => (node.kind === operator ? node.parts : [node]));
    return { kind: operator, parts: flat };
  }

  #test(left: Node): Node {
    const not = this.#take('not') ? 'not ' : '';
    if (this.#take('distinct')) {
      this.expect('from');
      return { kind: `is ${not}distinct from`, parts: [left, this.expression(5)] };
    }
    for (const value of ['null', 'true', 'false'])
      if (this.#take(value)) return { kind: `is ${not}${value}`, parts: [left] };
    throw new Unreadable('is');
  }

  /** The members of `(ARRAY[…])`. */
  #array(): readonly Node[] {
    this.expect('(');
    const array = this.expression(0);
    this.expect(')');
    if (array.kind !== 'array') throw new Unreadable('any');
    return array.parts;
  }

  #operand(): Node {
    if (this.#take('not')) return { kind: 'not', parts: [this.expression(NOT)] };
    if (this.#take('-')) return { kind: 'minus', parts: [this.expression(SIGN)] };
    let node = this.#primary();
    for (;;) {
      if (this.#take('::')) node = cast(node, this.#type());
      else if (this.#take('.')) node = { kind: `field ${this.#name()}`, parts: [node] };
      else return node;
    }
  }

  #primary(): Node {
    const token = this.next();
    if (token === undefined) throw new Unreadable('end');
    if (token.kind === 'string' || token.kind === 'number') return { kind: wordOf(token), parts: [] };
    if (token.kind === 'symbol') {
      if (token.text !== '(') throw new Unreadable(token.text);
      const inner = this.#take('select') ? this.#selected() : this.expression(0);
      this.expect(')');
      return inner;
    }
    if (token.kind === 'name' && token.text === 'array')
      return { kind: 'array', parts: this.#list('[', ']') };
    let name = wordOf(token);
    while (this.#take('.')) name += `.${this.#name()}`;
    return this.#peek() === '(' ? { kind: `call ${name}`, parts: this.#list() } : { kind: name, parts: [] };
  }

  /** `SELECT expression [AS name]`, of which the name says nothing. */
  #selected(): Node {
    const value = this.expression(0);
    if (this.#take('as')) this.#name();
    return { kind: 'select', parts: [value] };
  }

  #list(open = '(', close = ')'): readonly Node[] {
    this.expect(open);
    if (this.#take(close)) return [];
    const items = [this.expression(0)];
    while (this.#take(',')) items.push(this.expression(0));
    this.expect(close);
    return items;
  }

  #type(): string {
    let type = this.#name();
    while (WORDS_OF_TYPES.has(this.#peek() ?? '')) type += ` ${this.#name()}`;
    if (this.#peek() === '(') type += `(${this.#list().map(textOf).join()})`;
    if (this.#take('[')) {
      this.expect(']');
      type += '[]';
    }
    return type;
  }

  #name(): string {
    const token = this.next();
    if (token?.kind !== 'name' && token?.kind !== 'quoted') throw new Unreadable('name');
    return wordOf(token);
  }

  /** The next keyword, operator or symbol. */
  #peek(): string | undefined {
    const token = this.#tokens[this.#at];
    return token?.kind === 'name' || token?.kind === 'symbol' ? token.text : undefined;
  }

  #take(text: string): boolean {
    if (this.#peek() !== text) return false;
    this.#at += 1;
    return true;
  }
}

function cast(node: Node, type: string): Node {
  return node.kind.startsWith("'") && TYPES_OF_TEXT.has(type) ? node : { kind: `:: ${type}`, parts: [node] };
}

function wordOf({ kind, text }: SqlToken): string {
  if (kind === 'string') return `'${text}'`;
  return kind === 'quoted' ? `"${text}"` : text;
}

function textOf({ kind, parts }: Node): string {
  return parts.length === 0 ? `[${kind}]` : `[${kind} ${parts.map(textOf).join(' ')}]`;
}
