/**
 * Tokens of SQL (PostgreSQL manual, section 4.1): letters of names without quotes are folded, strings and names in quotes
 * keep theirs. Whatever is not understood is a `SyntaxError`.
 */

/** A token. */
export interface SqlToken {
  /** `name` is a keyword or a name without quotes, `quoted` a name that needs them, `symbol` an operator or a bracket. */
  readonly kind: 'name' | 'quoted' | 'string' | 'number' | 'symbol';
  /** Without quotes; quotes inside are written twice, as they stand. */
  readonly text: string;
}

const TOKEN =
  /\s+|--[^\n]*|'((?:[^'\\]|'')*)'|"((?:[^"]|"")+)"|([A-Za-z_][A-Za-z0-9_$]*)|(\d+(?:\.\d+)?)|(::|[-+*/<>=~!@#%^&|?]+|[().,[\]])/y;

/** A name that is the same with quotes and without, unless it is one of the keywords. */
const PLAIN = /^[a-z_][a-z0-9_$]*$/;
const KEYWORDS: ReadonlySet<string> = new Set(
  `all and any array as between case cast check collate current_catalog current_date current_role current_schema
   current_time current_timestamp current_user default distinct else end exists false for from in is isnull like
   localtime localtimestamp not notnull null on or overlaps select session_user similar some system_user table then to true
   user using when where with`.split(/\s+/),
);

/**
 * The tokens of a text.
 *
 * @throws SyntaxError when there is something in it that is none.
 */
export function tokensOf(text: string): SqlToken[] {
  const tokens: SqlToken[] = [];
  const pattern = new RegExp(TOKEN);
  while (pattern.lastIndex < text.length) {
    const match = pattern.exec(text);
    if (match === null) throw new SyntaxError('not a token');
    const [, string, quoted, name, number, symbol] = match;
    if (string !== undefined) tokens.push({ kind: 'string', text: string });
    else if (quoted !== undefined) tokens.push(quotedName(quoted));
    else if (name !== undefined) {
      // E'…', B'…' and the like are none of ours.
      if (text[pattern.lastIndex] === "'") throw new SyntaxError('a prefixed string');
      tokens.push({ kind: 'name', text: name.toLowerCase() });
    } else if (number !== undefined) tokens.push({ kind: 'number', text: number });
    else if (symbol !== undefined) tokens.push({ kind: 'symbol', text: symbol === '!=' ? '<>' : symbol });
  }
  return tokens;
}

function quotedName(text: string): SqlToken {
  return { kind: PLAIN.test(text) && !KEYWORDS.has(text) ? 'name' : 'quoted', text };
}
