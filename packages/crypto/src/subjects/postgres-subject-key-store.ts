/**
 * The store of subject keys on PostgreSQL, through Kysely, in the schema `crypto` beside the wrapped data keys and apart
 * from the data they open.
 * Invariant: an erasure leaves no key bytes in the row; dead row versions go with the next `vacuum full`, WAL
 * and backups with their retention.
 */
import type { Kysely, Selectable } from 'kysely';
import { RingfenceCryptoError } from '../errors.ts';
import { keyIdBytes, keyIdText } from '../key-id.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import type { SubjectKeyTable } from '../postgres/schema.ts';
import {
  isErased,
  type SubjectEntry,
  type SubjectKeyRecord,
  type SubjectKeyStore,
  type SubjectRewrap,
  type SubjectTombstone,
} from './subject-key-store.ts';

interface SubjectDatabase {
  readonly 'crypto.subject_key': SubjectKeyTable;
}

type Row = Selectable<SubjectKeyTable>;

/**
 * Makes the store over a database whose schema `crypto` is migrated (`cryptoMigrations`).
 *
 * @example
 * ```ts
 * const subjects = createSubjectKeys({ store: postgresSubjectKeyStore(db) });
 * ```
 */
export function postgresSubjectKeyStore<DB>(db: Kysely<DB>): SubjectKeyStore {
  // Kysely is invariant in its database type, and the application's need not name this schema.
  return new PostgresSubjectKeyStore(db as unknown as Kysely<SubjectDatabase>);
}

class PostgresSubjectKeyStore implements SubjectKeyStore {
  readonly #db: Kysely<SubjectDatabase>;

  constructor(db: Kysely<SubjectDatabase>) {
    this.#db = db;
  }

  async load(org: OrgId, subject: string): Promise<SubjectEntry | undefined> {
    const row = await this.#db
      .selectFrom('crypto.subject_key')
      .selectAll()
      .where('org_id', '=', org)
      .where('subject_id', '=', subject)
      .executeTakeFirst();
    return row && entryOf(row);
  }

  async loadByKeyId(org: OrgId, keyId: string): Promise<SubjectEntry | undefined> {
    const row = await this.#db
      .selectFrom('crypto.subject_key')
      .selectAll()
      .where('org_id', '=', org)
      .where('key_id', '=', bytesOf(keyId))
      .executeTakeFirst();
    return row && entryOf(row);
  }

  async insert(record: SubjectKeyRecord): Promise<SubjectEntry> {
    const { org, subject, keyId, dekKeyId, wrapped, createdAt } = record;
    await refusing(record, () =>
      this.#db
        .insertInto('crypto.subject_key')
        .values({
          org_id: org,
          subject_id: subject,
          key_id: bytesOf(keyId),
          dek_key_id: bytesOf(dekKeyId),
          wrapped: toBuffer(wrapped),
          created_at: new Date(createdAt),
        })
        .onConflict((conflict) => conflict.columns(['org_id', 'subject_id']).doNothing())
        .execute(),
    );
    const entry = await this.load(org, subject);
    if (entry === undefined) throw conflict(org, keyId);
    return entry;
  }

  async replaceWraps(org: OrgId, wraps: readonly SubjectRewrap[]): Promise<number> {
    return refusing({ org, keyId: wraps[0]?.keyId }, () =>
      this.#db.transaction().execute(async (trx) => {
        let replaced = 0;
        for (const { subject, keyId, fromDekKeyId, dekKeyId, wrapped } of wraps) {
          const { numUpdatedRows } = await trx
            .updateTable('crypto.subject_key')
            .set({ dek_key_id: bytesOf(dekKeyId), wrapped: toBuffer(wrapped) })
            .where('org_id', '=', org)
            .where('subject_id', '=', subject)
            .where('key_id', '=', bytesOf(keyId))
            .where('dek_key_id', '=', bytesOf(fromDekKeyId))
            .executeTakeFirstOrThrow();
          replaced += Number(numUpdatedRows);
        }
        return replaced;
      }),
    );
  }

  async erase(org: OrgId, subject: string, erasedAt: number): Promise<SubjectTombstone> {
    const at = new Date(erasedAt);
    // One statement, so that a first use at the same time either loses to the tombstone or is erased by it.
    await this.#db
      .insertInto('crypto.subject_key')
      .values({ org_id: org, subject_id: subject, created_at: at, erased_at: at })
      .onConflict((conflict) =>
        conflict
          .columns(['org_id', 'subject_id'])
          .doUpdateSet({ dek_key_id: null, wrapped: null, erased_at: at })
          .where('crypto.subject_key.erased_at', 'is', null),
      )
      .execute();
    const entry = await this.load(org, subject);
    if (entry === undefined || !isErased(entry)) throw conflict(org, undefined);
    return entry;
  }

  async listOthers(
    org: OrgId,
    dekKeyId: string,
    after: string | undefined,
    limit: number,
  ): Promise<readonly SubjectKeyRecord[]> {
    const rows = await this.#db
      .selectFrom('crypto.subject_key')
      .selectAll()
      .where('org_id', '=', org)
      .where('erased_at', 'is', null)
      .where('dek_key_id', '<>', bytesOf(dekKeyId))
      .where('subject_id', '>', after ?? '')
      .orderBy('subject_id')
      .limit(limit)
      .execute();
    return rows.map(entryOf).filter((entry): entry is SubjectKeyRecord => !isErased(entry));
  }

  async count(org: OrgId, dekKeyId: string): Promise<number> {
    const { n } = await this.#db
      .selectFrom('crypto.subject_key')
      .select((build) => build.fn.countAll<string>().as('n'))
      .where('org_id', '=', org)
      .where('dek_key_id', '=', bytesOf(dekKeyId))
      .where('erased_at', 'is', null)
      .executeTakeFirstOrThrow();
    return Number(n);
  }
}

function entryOf(row: Row): SubjectEntry {
  const org = parseOrgId(row.org_id);
  const subject = row.subject_id;
  const keyId = row.key_id === null ? null : keyIdText(row.key_id);
  if (row.erased_at !== null) return { org, subject, keyId, erasedAt: row.erased_at.getTime() };
  if (keyId === null || row.dek_key_id === null || row.wrapped === null) throw conflict(org, undefined);
  return {
    org,
    subject,
    keyId,
    dekKeyId: keyIdText(row.dek_key_id),
    wrapped: Uint8Array.from(row.wrapped),
    createdAt: row.created_at.getTime(),
  };
}

function bytesOf(keyId: string): Buffer {
  return toBuffer(keyIdBytes(keyId));
}

/** `pg` sends a Buffer as bytea; versions before 8.21 send another Uint8Array as JSON. */
function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Turns the database's refusal (check, unique or foreign key violation) into the conflict it stands for. */
async function refusing<T>(
  record: { readonly org: OrgId; readonly keyId: string | undefined },
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
    if (code === '23514' || code === '23505' || code === '23503') throw conflict(record.org, record.keyId);
    throw error;
  }
}

function conflict(org: OrgId, keyId: string | undefined): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.store_conflict',
    'the data-key version this subject key was to be wrapped under is not in use any more: take a new lease and repeat',
    keyId === undefined ? { org } : { org, keyId },
    true,
  );
}
