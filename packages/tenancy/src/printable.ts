/** Names that others chose, in what this package prints. */

/** Names of objects come from whoever could create them: no control character of theirs reaches a terminal or a script. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
