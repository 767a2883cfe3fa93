/**
 * How text reaches a terminal: colour only where it is shown, and nothing that steers the terminal. Names of a policy
 * are plain by its schema; reasons, constants and error messages are not.
 */
import type { Writable } from 'node:stream';

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

/** A style of text. */
export type Style = keyof typeof STYLES;

/** Text in a style, where colours are shown. */
export type Paint = (style: Style, text: string) => string;

/** How to paint for an output; `NO_COLOR` and a dumb terminal are respected. */
export function painter(
  output: Writable & { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): Paint {
  const colour = output.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return (style, text) => (colour ? `\u001b[${STYLES[style]}m${text}\u001b[0m` : text);
}

/** Text without control characters and with marks of direction spelt out. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
