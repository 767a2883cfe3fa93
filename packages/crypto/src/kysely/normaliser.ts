/**
 * Normalisers: what makes two texts equal for a blind index. Fixed with the index version, because another normaliser
 * makes other values.
 * Invariant: a normaliser is pure; the same text gives the same result in every process and release.
 */

/** A normaliser of the application: a name for error messages and docs, and a pure function. */
export interface NamedNormaliser {
  /** Name, e.g. `digits`. */
  readonly name: string;
  /** Maps texts that count as equal to the same text. */
  readonly normalise: (text: string) => string;
}

/**
 * `exact` compares code unit by code unit; `lowercase-trim` compares after Unicode NFC, removal of white space at both
 * ends and locale-independent lower case.
 */
export type Normaliser = 'exact' | 'lowercase-trim' | NamedNormaliser;

/** Function behind a normaliser. */
export function normaliserFunction(normaliser: Normaliser): (text: string) => string {
  if (normaliser === 'exact') return (text) => text;
  if (normaliser === 'lowercase-trim')
    return (text) => text.normalize('NFC').trim().toLowerCase().normalize('NFC');
  if (typeof normaliser === 'object' && typeof normaliser.normalise === 'function' && normaliser.name !== '')
    return normaliser.normalise;
  throw new TypeError('a normaliser is exact, lowercase-trim or { name, normalise }');
}
