/**
 * The structured difference between two states of a target: per changed field its value before and after.
 * Fields are compared by canonical bytes, so that key order and `-0` are no change.
 */
import { type CanonicalValue, canonicalize } from './canonical-json.ts';

/** What happened to one field; `from` is absent when the field is new, `to` when it was removed. */
export interface FieldChange {
  /** Value before. */
  readonly from?: CanonicalValue;
  /** Value after. */
  readonly to?: CanonicalValue;
}

/**
 * The fields that differ, by name. A missing state counts as one without fields.
 *
 * @throws RingfenceAuditError `audit.not_canonical` when a value is outside the canonical profile.
 */
export function changesBetween(
  before: object | undefined,
  after: object | undefined,
): Readonly<Record<string, FieldChange>> {
  const from = new Map(Object.entries(before ?? {}));
  const to = new Map(Object.entries(after ?? {}));
  const changes: [string, FieldChange][] = [];
  for (const field of new Set([...from.keys(), ...to.keys()])) {
    const change: { from?: CanonicalValue; to?: CanonicalValue } = {};
    const old = from.get(field);
    const fresh = to.get(field);
    if (old !== undefined) change.from = old as CanonicalValue;
    if (fresh !== undefined) change.to = fresh as CanonicalValue;
    if (canonicalize({ value: old }) !== canonicalize({ value: fresh })) changes.push([field, change]);
  }
  return Object.fromEntries(changes);
}
