/**
 * The organisation id: a lower-case UUID string, parsed once at the border of the application.
 * The brand is structural (the same property key in each Ringfence package), so an id parsed by one is accepted by all.
 */

/** A lower-case UUID string that has been parsed by `parseOrgId`. */
export type OrgId = string & {
  /** Exists in types only. */
  readonly '~ringfence.org': 'OrgId';
};

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * Parses an organisation id: 36 characters, lower-case UUID. Upper case is refused rather than folded, because the id
 * travels into every policy and must have one spelling.
 *
 * @throws TypeError when the value is not a lower-case UUID string.
 * @example
 * ```ts
 * const org = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
 * ```
 */
export function parseOrgId(value: unknown): OrgId {
  if (typeof value !== 'string' || !UUID.test(value)) {
    throw new TypeError('not an organisation id: expected a lower-case UUID of 36 characters');
  }
  return value as OrgId;
}
