/**
 * Reads the little of DER (X.690) that a time-stamp response needs. Invariant: nothing outside of the bytes is read, and
 * what is not there, or not definite in length, is undefined.
 */

/** One element. */
export interface DerElement {
  /** Identifier octet. */
  readonly tag: number;
  /** Contents. */
  readonly contents: Uint8Array;
  /** Where the next element begins. */
  readonly end: number;
}

/** The element that begins at a place. */
export function derElement(bytes: Uint8Array, at = 0): DerElement | undefined {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) return undefined;
  let length = first;
  let start = at + 2;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 3) return undefined;
    length = 0;
    for (; start < at + 2 + octets; start++) length = length * 256 + (bytes[start] ?? 0);
  }
  const end = start + length;
  return end > bytes.length ? undefined : { tag, contents: bytes.subarray(start, end), end };
}

/** The elements inside of a constructed one; undefined when they do not fill it. */
export function derChildren(contents: Uint8Array): DerElement[] | undefined {
  const children: DerElement[] = [];
  for (let at = 0; at < contents.length; ) {
    const child = derElement(contents, at);
    if (child === undefined) return undefined;
    children.push(child);
    at = child.end;
  }
  return children;
}
