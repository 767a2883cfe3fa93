/**
 * JSON objects as tokens carry them, read strictly: UTF-8, one object, no member twice at any depth. `JSON.parse` keeps
 * the last of two members of a name, other parsers the first; a token that says two things is refused (RFC 7515
 * section 4, RFC 8725 section 2.5). The scan is a loop, so nesting cannot exhaust the stack.
 */

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Deeper than any claim of a real token. */
const MAX_DEPTH = 32;

/** Decodes base64url into an object; undefined when it is not one, or not strictly. */
export function strictObject(part: string): Readonly<Record<string, unknown>> | undefined {
  const bytes = Buffer.from(part, 'base64url');
  // Base64url has several spellings of the same bytes where the last character has unused bits.
  if (bytes.toString('base64url') !== part) return undefined;
  try {
    const text = decoder.decode(bytes);
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return hasRepeatedMember(text) ? undefined : (value as Readonly<Record<string, unknown>>);
  } catch {
    return undefined; // not UTF-8, not JSON: the caller refuses the token
  }
}

/** True when an object of this valid JSON text has two members of a name, or nests deeper than any claim does. */
export function hasRepeatedMember(text: string): boolean {
  const open: (Set<string> | undefined)[] = []; // names of an object; undefined for an array
  let names: Set<string> | undefined;
  let nameNext = false;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case 0x22: {
        const end = endOfString(text, at);
        if (nameNext && names !== undefined) {
          const quoted = text.slice(at, end + 1);
          const name = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
          if (names.has(name)) return true;
          names.add(name);
          nameNext = false;
        }
        at = end;
        break;
      }
      case 0x7b: // {
      case 0x5b: // [
        if (open.length === MAX_DEPTH) return true;
        names = text.charCodeAt(at) === 0x7b ? new Set() : undefined;
        nameNext = names !== undefined;
        open.push(names);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        open.pop();
        names = open.at(-1);
        nameNext = false;
        break;
      case 0x2c: // ,
        nameNext = names !== undefined;
        break;
      default: // the colon, spaces, and characters of numbers and literals
    }
  }
  return false;
}

/** Position of the quote that ends the string which starts at `start`; the text is valid JSON, so there is one. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end;
}

function isEscaped(text: string, quote: number): boolean {
  let at = quote - 1;
  while (text.charCodeAt(at) === 0x5c) at -= 1;
  return (quote - 1 - at) % 2 === 1;
}
