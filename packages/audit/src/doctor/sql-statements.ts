/** Splits this package's own DDL into statements: dollar quotes, strings and comments hold no end of a statement. */

const TOKEN = /\$(\w*)\$[\s\S]*?\$\1\$|'(?:[^']|'')*'|--[^\n]*|;/g;

/** The statements of a script, without comments before them. */
export function statementsOf(script: string): string[] {
  const statements: string[] = [];
  let from = 0;
  for (const match of script.matchAll(TOKEN)) {
    if (match[0] !== ';') continue;
    statements.push(script.slice(from, match.index));
    from = match.index + 1;
  }
  statements.push(script.slice(from));
  return statements
    .map((text) => text.replace(/^(?:\s|--[^\n]*\n)+/, '').trimEnd())
    .filter((text) => text !== '');
}

/** Parts of a list between the commas that stand in no parentheses. */
export function partsOf(list: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = '';
  for (const character of list.replaceAll(/--[^\n]*/g, '')) {
    if (character === '(') depth++;
    if (character === ')') depth--;
    if (character === ',' && depth === 0) {
      parts.push(part.trim());
      part = '';
    } else {
      part += character;
    }
  }
  return [...parts, part.trim()].filter((text) => text !== '');
}
