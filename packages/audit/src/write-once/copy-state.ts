/** What was copied to a store, as the table `audit.copy` tells it. Rows are added after the store has read back. */
import { createHash } from 'node:crypto';
import { toHex } from '../append-result.ts';
import { rowsOf } from '../checkpoint/database.ts';
import type { QueryExecutor } from '../executor.ts';
import type { OrgId } from '../org-id.ts';
import type { ChainHead } from '../verify/index.ts';
import type { CopyObject } from './object-key.ts';
import type { LockedVersion } from './store.ts';

/** A checkpoint that waits to be copied. */
export interface WaitingCheckpoint {
  /** Its place in the chain. */
  readonly head: ChainHead;
  /** Root of its tree, 32 bytes. */
  readonly root: Readonly<Uint8Array>;
  /** Its note. */
  readonly note: string;
}

/** How far the copy of one log has come. */
export interface CopyProgress {
  /** Size of the last checkpoint that was copied; 0 when there is none. */
  readonly checkpoint: number;
  /** End of the last segment that was copied. */
  readonly segment: ChainHead;
}

const PROGRESS = `
select (select c.upto from audit.copy c where c.org_id = $1::uuid and c.store = $2 and c.kind = 'checkpoint'
         order by c.upto desc limit 1) as checkpoint, g.upto as segment, s.hash
  from (select 1) one
  left join lateral (select c.upto from audit.copy c where c.org_id = $1::uuid and c.store = $2 and c.kind = 'segment'
                      order by c.upto desc limit 1) g on true
  left join audit.seal s on s.org_id = $1::uuid and s.seq = g.upto`;

const WAITING = `
select size, root, link, note from audit.checkpoint
 where org_id = $1::uuid and size > $2::bigint order by size limit 1`;

const COPIED = 'select key from audit.copy where org_id = $1::uuid and store = $2 and key = any($3::text[])';

const ADD = `
insert into audit.copy (org_id, store, key, kind, upto, version_id, sha256, bytes, mode, retain_until)
values ($1::uuid, $2, $3, $4, $5::bigint, $6, decode($7, 'hex'), $8::bigint, $9,
        to_timestamp($10::double precision / 1000))
on conflict on constraint copy_pkey do nothing`;

const GENESIS: ChainHead = { seq: 0, hash: '0'.repeat(64) };

/** The state of the copies in one store. */
export class CopyState {
  readonly #db: QueryExecutor;
  readonly #store: string;

  constructor(db: QueryExecutor, store: string) {
    this.#db = db;
    this.#store = store;
  }

  /** How far the copy of a log has come. */
  async progress(org: OrgId): Promise<CopyProgress> {
    const [row] = await rowsOf<{ checkpoint: unknown; segment: unknown; hash: Uint8Array | null }>(
      this.#db,
      PROGRESS,
      [org, this.#store],
    );
    return {
      checkpoint: Number(row?.checkpoint ?? 0),
      // A link that is gone has no hash; nothing continues from it, and the next segment says so.
      segment:
        row?.segment == null
          ? GENESIS
          : { seq: Number(row.segment), hash: row.hash === null ? GENESIS.hash : toHex(row.hash) },
    };
  }

  /** The next checkpoint behind a size. */
  async next(org: OrgId, size: number): Promise<WaitingCheckpoint | undefined> {
    const [row] = await rowsOf<{ size: unknown; root: Uint8Array; link: Uint8Array; note: string }>(
      this.#db,
      WAITING,
      [org, size],
    );
    if (row === undefined) return undefined;
    return { head: { seq: Number(row.size), hash: toHex(row.link) }, root: row.root, note: row.note };
  }

  /** Which of these keys were copied. */
  async copied(org: OrgId, keys: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await rowsOf<{ key: string }>(this.#db, COPIED, [org, this.#store, keys]);
    return new Set(rows.map(({ key }) => key));
  }

  /** Adds one object. */
  async add(
    org: OrgId,
    object: CopyObject,
    upto: number,
    body: Uint8Array,
    version: LockedVersion,
  ): Promise<void> {
    const { key, versionId, retention } = version;
    const sha256 = createHash('sha256').update(body).digest('hex');
    const { mode = null, untilMs = null } = retention ?? {};
    const row = [org, this.#store, key, object.kind, upto, versionId, sha256, body.length, mode, untilMs];
    await rowsOf(this.#db, ADD, row);
  }
}
