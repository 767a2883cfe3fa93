/**
 * Finds a string that a regular expression of a CHECK constraint accepts: literals, classes, groups, alternatives and
 * counts. What it does not understand yields a string the server will refuse, and the table is then reported as not probed.
 */

const CLASSES: Readonly<Record<string, string>> = {
  d: '0123456789',
  w: 'abcdefghijklmnopqrstuvwxyz_',
  s: ' ',
};
const POSIX: readonly [RegExp, string][] = [
  [/\[:(?:alnum|lower|alpha|xdigit):\]/g, 'a-f'],
  [/\[:upper:\]/g, 'A-Z'],
  [/\[:digit:\]/g, '0-9'],
  [/\[:space:\]/g, ' '],
];
const ANY = 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_-. ';
/**
 * A string that matches `pattern`; another `choose` gives another string. `openEnded` is how often `*` and `+` repeat, and
 * the most that a count goes above its lower bound: room for strings that differ.
 */
export function samplePattern(pattern: string, choose: (choices: number) => number, openEnded = 8): string {
  let at = 0;
  const alternatives = (): string => {
    const branches: string[] = [''];
    while (at < pattern.length && pattern[at] !== ')') {
      if (pattern[at] === '|') {
        at++;
        branches.push('');
        continue;
      }
      branches.push((branches.pop() ?? '') + counted());
    }
    return branches[choose(branches.length)] ?? '';
  };
  const counted = (): string => {
    const start = at;
    let piece = atom();
    const end = at;
    const count = repetitions();
    if (count === 1) return piece;
    const after = at;
    let text = '';
    for (let i = 0; i < count; i++) {
      at = start;
      piece = atom();
      text += piece;
    }
    at = Math.max(after, end);
    return text;
  };
  const repetitions = (): number => {
    const rest = pattern.slice(at);
    const bounds = /^\{(\d+)(,?)(\d*)\}/.exec(rest);
    const sign = /^[*+?]/.exec(rest)?.[0];
    if (bounds === null && sign === undefined) return 1;
    at += bounds?.[0].length ?? 1;
    if (pattern[at] === '?') at++; // non-greedy
    if (bounds === null) return sign === '?' ? choose(2) : openEnded;
    const least = Number(bounds[1]);
    if (bounds[2] === '') return least;
    const most = bounds[3] === '' ? least + openEnded : Number(bounds[3]);
    return Math.max(least, Math.min(most, openEnded));
  };
  const atom = (): string => {
    const char = pattern[at++] ?? '';
    if (char === '^' || char === '$') return '';
    if (char === '.') return pick(ANY.slice(0, 36));
    if (char === '\\') return escaped(pattern[at++] ?? '');
    if (char === '[') return bracket();
    if (char !== '(') return char;
    if (pattern.startsWith('?:', at)) at += 2;
    const inner = alternatives();
    at++;
    return inner;
  };
  const escaped = (char: string): string =>
    'yYmMAZ'.includes(char) ? '' : CLASSES[char] === undefined ? char : pick(CLASSES[char]);
  const bracket = (): string => {
    const close = pattern.indexOf(']', pattern[at] === ']' ? at + 1 : at + (pattern[at] === '^' ? 2 : 1));
    let inner = pattern.slice(at, close);
    at = close + 1;
    const negated = inner.startsWith('^');
    if (negated) inner = inner.slice(1);
    const set = members(inner);
    return pick(negated ? [...ANY].filter((char) => !set.includes(char)).join('') : set);
  };
  const pick = (from: string): string => from[choose(from.length)] ?? '';
  let flat = pattern;
  for (const [posix, range] of POSIX) flat = flat.replace(posix, range);
  pattern = flat;
  return alternatives();
}

function members(inner: string): string {
  let set = '';
  for (let i = 0; i < inner.length; i++) {
    let char = inner[i] ?? '';
    if (char === '\\') {
      char = inner[++i] ?? '';
      if (CLASSES[char] !== undefined) {
        set += CLASSES[char];
        continue;
      }
    }
    const to = inner[i + 2];
    if (inner[i + 1] === '-' && to !== undefined) {
      for (let code = char.charCodeAt(0); code <= to.charCodeAt(0); code++) set += String.fromCharCode(code);
      i += 2;
    } else set += char;
  }
  return set;
}
