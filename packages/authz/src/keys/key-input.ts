/** What callers hand in for a key, checked: lengths and whole numbers, so that no record holds what cannot be compared. */

const SECOND = 1_000;
const MOST_NAMES = 256;

/** The whole second an instant lies in, epoch ms. */
export function floorToSecond(ms: number): number {
  return Math.floor(ms / SECOND) * SECOND;
}

/** A whole number within bounds. @throws TypeError when it is none. */
export function within(name: string, value: number, least: number, most: number): number {
  if (!Number.isSafeInteger(value) || value < least || value > most)
    throw new TypeError(`${name} is not a whole number from ${least} to ${most}`);
  return value;
}

/** Whole seconds within bounds, in ms. @throws TypeError when it is none. */
export function seconds(name: string, value: number, least: number, most: number): void {
  within(name, value, least, most);
  if (value % SECOND !== 0) throw new TypeError(`${name} is not a number of whole seconds, in ms`);
}

/** 1 to 128 characters. @throws TypeError when it is something else. */
export function text(name: string, value: string): string {
  if (typeof value !== 'string' || value.length < 1 || value.length > 128)
    throw new TypeError(`${name} is not 1 to 128 characters`);
  return value;
}

/** Distinct strings, sorted. @throws TypeError unless they are 1 to 256. */
export function distinct(name: string, values: readonly string[]): readonly string[] {
  if (!Array.isArray(values) || values.length < 1 || values.length > MOST_NAMES)
    throw new TypeError(`${name} is not an array of 1 to ${MOST_NAMES} strings`);
  const given: readonly unknown[] = values;
  if (!given.every((value) => typeof value === 'string'))
    throw new TypeError(`${name} is not an array of strings`);
  return Object.freeze([...new Set(values)].sort());
}
