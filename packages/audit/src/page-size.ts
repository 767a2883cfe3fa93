/** Most rows of a page: about 100 MB of records. */
const MOST_ROWS = 100_000;

/**
 * The rows of a page, 2 000 when nothing is said.
 *
 * @throws TypeError when it is no whole number from 1 to 100 000: a page of nothing would end a reading early, or never.
 */
export function pageSizeOf(pageSize = 2_000): number {
  if (!Number.isInteger(pageSize) || pageSize < 1 || pageSize > MOST_ROWS) {
    throw new TypeError(`pageSize is a whole number from 1 to ${MOST_ROWS}`);
  }
  return pageSize;
}
