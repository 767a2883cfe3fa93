/**
 * Holds the personal values beside a chain against what its records committed to (docs/formats/audit-personal-v1.md §5): each
 * commitment has its value, unless its subject was erased and the log says so.
 *
 * Ciphertexts are not opened: who verifies needs no key. Invariant: memory does not grow with the log but for what is found.
 */
import { rowsOf } from './checkpoint/database.ts';
import type { QueryExecutor } from './executor.ts';
import type { OrgId } from './org-id.ts';
import type { ChainWalk } from './verify/chain-walk.ts';
import { committedFields } from './verify/disclosure.ts';
import type { ChainRow } from './verify/index.ts';

const VALUES = `
select p.event_id::text as id, '=' || p.field as field, '=' || p.subject as subject from audit.personal p
 where p.org_id = $1::uuid and p.event_id = any ($2::uuid[])`;

/** Looked up after the values: an erasure that commits in between has deleted them with the event that says so. */
const ERASURES = `
select distinct e.target from audit.event e
 where e.org_id = $1::uuid and e.action = 'subject.erased' and e.target = any ($2::text[])`;

/** What a record without personal parts does not have; one that has them also when it is spelt otherwise is no record. */
const MARK = '"personal":{"fields":{';

interface ValueRow {
  readonly id: string;
  readonly field: string;
  readonly subject: string;
}

interface Committed {
  readonly seq: number;
  readonly id: string;
  readonly subject: string;
  readonly fields: Iterable<string>;
}

interface Missing extends ValueRow {
  readonly seq: number;
}

/** Compares page by page. */
export class PersonalValueCheck {
  readonly #db: QueryExecutor;
  readonly #org: OrgId;
  readonly #walk: ChainWalk;
  /** Values that are gone with an erasure. */
  erased = 0;

  constructor(db: QueryExecutor, org: OrgId, walk: ChainWalk) {
    this.#db = db;
    this.#org = org;
    this.#walk = walk;
  }

  /** Looks at the values of a page of records. */
  async page(rows: readonly ChainRow[]): Promise<void> {
    const committed = rows.flatMap((row) => committedOf(row) ?? []);
    if (committed.length === 0) return;
    const ids = committed.map(({ id }) => id);
    const values = new Map<string, Map<string, string>>();
    for (const { id, field, subject } of await rowsOf<ValueRow>(this.#db, VALUES, [this.#org, ids])) {
      // Marked, so that no plugin takes them for JSON.
      values.set(id, (values.get(id) ?? new Map()).set(field.slice(1), subject.slice(1)));
    }
    const missing = committed.flatMap((one) => this.#compare(one, values.get(one.id) ?? new Map()));
    if (missing.length > 0) await this.#judge(missing);
  }

  /** Finds values at the wrong place, and returns those that are gone. */
  #compare({ seq, id, subject, fields }: Committed, values: Map<string, string>): Missing[] {
    const missing: Missing[] = [];
    for (const field of fields) {
      const stored = values.get(field);
      values.delete(field);
      if (stored === undefined) missing.push({ seq, id, field, subject });
      else if (stored !== subject) {
        this.#walk.find('edited', seq, id, `the personal value ${field} stands under another subject`);
      }
    }
    for (const field of values.keys()) {
      this.#walk.find('inserted', seq, id, `a personal value ${field} stands beside a record without it`);
    }
    return missing;
  }

  async #judge(missing: readonly Missing[]): Promise<void> {
    const targets = [...new Set(missing.map(({ subject }) => `subject:${subject}`))];
    const rows = await rowsOf<{ readonly target: string }>(this.#db, ERASURES, [this.#org, targets]);
    const erased = new Set(rows.map(({ target }) => target));
    for (const { seq, id, field, subject } of missing) {
      if (erased.has(`subject:${subject}`)) this.erased++;
      else {
        const detail = `the personal value ${field} is gone, and the log knows of no erasure`;
        this.#walk.find('deleted', seq, id, detail);
      }
    }
  }
}

/** What a record committed to; undefined for one without personal parts. */
function committedOf({ seq, eventId: id, canon }: ChainRow): Committed | undefined {
  if (typeof canon !== 'string' || !canon.includes(MARK)) return undefined;
  try {
    const { event } = JSON.parse(canon) as { readonly event?: { readonly personal?: unknown } };
    const fields = committedFields(event?.personal)?.keys();
    const { subject } = (event?.personal ?? {}) as { readonly subject?: unknown };
    return fields === undefined || typeof subject !== 'string' ? undefined : { seq, id, subject, fields };
  } catch {
    return undefined; // no record: the walk has found it
  }
}
