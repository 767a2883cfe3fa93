/**
 * The key store on PostgreSQL, through Kysely. Wrapped keys live in a schema of their own, apart from the data they open,
 * so that backups of data need not hold them.
 * Invariant: every change runs in one transaction that first locks the organisation's versions, so that rotation, re-wrap
 * and shred of one organisation wait for each other.
 */
import { type Kysely, sql, type Transaction } from 'kysely';
import { RingfenceCryptoError } from '../errors.ts';
import { keyIdBytes, keyIdText } from '../key-id.ts';
import type { DekRecord, DekState, KeyStore, WrapRecord } from '../key-store.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import type { CryptoDatabase } from './schema.ts';

/**
 * Makes the key store over a database whose schema `crypto` is migrated (`cryptoMigrations`).
 *
 * @example
 * ```ts
 * const store = postgresKeyStore(db);
 * ```
 */
export function postgresKeyStore<DB>(db: Kysely<DB>): KeyStore {
  // Kysely is invariant in its database type, and the application's need not name this schema.
  return new PostgresKeyStore(db as unknown as Kysely<CryptoDatabase>);
}

class PostgresKeyStore implements KeyStore {
  readonly #db: Kysely<CryptoDatabase>;

  constructor(db: Kysely<CryptoDatabase>) {
    this.#db = db;
  }

  async load(org: OrgId): Promise<readonly DekRecord[]> {
    // One statement, so that versions and wraps come from one snapshot.
    const rows = await this.#db
      .selectFrom('crypto.dek_version as v')
      .leftJoin('crypto.dek_wrap as w', (join) =>
        join.onRef('w.org_id', '=', 'v.org_id').onRef('w.key_id', '=', 'v.key_id'),
      )
      .select(['v.org_id', 'v.version', 'v.key_id', 'v.state', 'v.created_at'])
      .select(['v.shredded_at', 'v.destroyed_kek_uris'])
      .select(['w.kek_uri', 'w.wrapped', 'w.binding'])
      .where('v.org_id', '=', org)
      .orderBy('v.version')
      .orderBy('w.position')
      .orderBy('w.kek_uri')
      .execute();
    const records = new Map<number, DekRecord & { readonly wraps: WrapRecord[] }>();
    for (const row of rows) {
      const record = records.get(row.version) ?? {
        org: parseOrgId(row.org_id),
        keyId: keyIdText(row.key_id),
        version: row.version,
        state: row.state as DekState,
        wraps: [],
        createdAt: row.created_at.getTime(),
        ...(row.shredded_at !== null &&
          row.destroyed_kek_uris !== null && {
            tombstone: { shreddedAt: row.shredded_at.getTime(), kekUris: row.destroyed_kek_uris },
          }),
      };
      records.set(row.version, record);
      if (row.kek_uri !== null && row.wrapped !== null && row.binding !== null) {
        record.wraps.push({
          kekUri: row.kek_uri,
          wrapped: Uint8Array.from(row.wrapped),
          binding: Uint8Array.from(row.binding),
        });
      }
    }
    return [...records.values()];
  }

  async insertVersion(record: DekRecord, wrapsOfActive?: readonly WrapRecord[]): Promise<void> {
    const { org, keyId, version, createdAt } = record;
    await this.#change(record, async (trx) => {
      await lockVersions(trx, org);
      const former = await trx
        .updateTable('crypto.dek_version')
        .set({ state: 'decrypt_only' })
        .where('org_id', '=', org)
        .where('state', '=', 'active')
        .returning('key_id')
        .executeTakeFirst();
      if (wrapsOfActive !== undefined) {
        const present = await trx
          .selectFrom('crypto.dek_wrap')
          .select(['kek_uri', 'binding'])
          .where('org_id', '=', org)
          .where('key_id', '=', toBuffer(former?.key_id ?? new Uint8Array(0)))
          .execute();
        if (!areSameWraps(present, wrapsOfActive)) throw conflict(record);
      }
      await trx
        .insertInto('crypto.dek_version')
        .values({
          org_id: org,
          version,
          key_id: toBuffer(keyIdBytes(keyId)),
          state: 'active',
          created_at: new Date(createdAt),
        })
        .execute();
      await insertWraps(trx, org, keyId, record.wraps);
    });
  }

  async replaceWraps(
    org: OrgId,
    keyId: string,
    expected: readonly WrapRecord[],
    wraps: readonly WrapRecord[],
  ): Promise<void> {
    if (wraps.length === 0)
      throw new TypeError('a version keeps at least one wrap; destroyWraps removes all');
    await this.#change({ org, keyId }, async (trx) => {
      await lockVersions(trx, org);
      const removed = await trx
        .deleteFrom('crypto.dek_wrap')
        .where('org_id', '=', org)
        .where('key_id', '=', toBuffer(keyIdBytes(keyId)))
        .returning(['kek_uri', 'binding'])
        .execute();
      if (!areSameWraps(removed, expected)) throw conflict({ org, keyId });
      await insertWraps(trx, org, keyId, wraps);
    });
  }

  async setState(org: OrgId, keyId: string, from: DekState, to: DekState): Promise<void> {
    const allowed =
      (from === 'decrypt_only' && to === 'retired') || (from === 'retired' && to === 'decrypt_only');
    if (!allowed) throw conflict({ org, keyId });
    const { numUpdatedRows } = await this.#db
      .updateTable('crypto.dek_version')
      .set({ state: to })
      .where('org_id', '=', org)
      .where('key_id', '=', toBuffer(keyIdBytes(keyId)))
      .where('state', '=', from)
      .executeTakeFirstOrThrow()
      .catch((error: unknown) => {
        throw isForeignKeyViolation(error) ? stillWrapping(org, keyId) : error;
      });
    if (numUpdatedRows !== 1n) throw conflict({ org, keyId });
  }

  async destroyWraps(org: OrgId, shreddedAt: number): Promise<void> {
    await this.#db.transaction().execute(async (trx) => {
      await lockVersions(trx, org);
      // A trigger writes down the wraps of each version while they are there. A tombstone has none, except when a
      // restored backup brought some back.
      await trx
        .updateTable('crypto.dek_version as v')
        .set({
          state: 'shredded',
          shredded_at: sql`coalesce(v.shredded_at, ${new Date(shreddedAt)})`,
        })
        .where('v.org_id', '=', org)
        .where(
          sql<boolean>`(v.state <> 'shredded' or exists (
            select from crypto.dek_wrap w where w.org_id = v.org_id and w.key_id = v.key_id))`,
        )
        .execute();
      await trx.deleteFrom('crypto.dek_wrap').where('org_id', '=', org).execute();
    });
  }

  async #change(
    record: Pick<DekRecord, 'org' | 'keyId'>,
    run: (trx: Transaction<CryptoDatabase>) => Promise<void>,
  ): Promise<void> {
    try {
      await this.#db.transaction().execute(run);
    } catch (error) {
      if (isConstraint(error)) throw conflict(record);
      throw error;
    }
  }
}

/** True when the stored wraps are the expected ones, by KEK and binding. */
function areSameWraps(
  stored: readonly { readonly kek_uri: string; readonly binding: Uint8Array }[],
  expected: readonly WrapRecord[],
): boolean {
  const present = new Set(stored.map((row) => `${keyIdText(row.binding)} ${row.kek_uri}`));
  return (
    present.size === expected.length &&
    expected.every((wrap) => present.has(`${keyIdText(wrap.binding)} ${wrap.kekUri}`))
  );
}

/** Locks an organisation's versions; the first version is guarded by the primary key instead. */
async function lockVersions(trx: Transaction<CryptoDatabase>, org: OrgId): Promise<void> {
  await trx
    .selectFrom('crypto.dek_version')
    .select('version')
    .where('org_id', '=', org)
    .orderBy('version')
    .forUpdate()
    .execute();
}

async function insertWraps(
  trx: Transaction<CryptoDatabase>,
  org: OrgId,
  keyId: string,
  wraps: readonly WrapRecord[],
): Promise<void> {
  await trx
    .insertInto('crypto.dek_wrap')
    .values(
      wraps.map((wrap, position) => ({
        org_id: org,
        key_id: toBuffer(keyIdBytes(keyId)),
        kek_uri: wrap.kekUri,
        wrapped: toBuffer(wrap.wrapped),
        binding: toBuffer(wrap.binding),
        position,
      })),
    )
    .execute();
}

/** `pg` sends a Buffer as bytea; versions before 8.21 send another Uint8Array as JSON. */
function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Unique or check violation: the row was not in the state the change was decided on. */
function isConstraint(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return code === '23505' || code === '23514';
}

/** The retirement of a version that subject keys are wrapped under, refused by a trigger of the schema. */
function isForeignKeyViolation(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === '23503';
}

function stillWrapping(org: OrgId, keyId: string): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.still_referenced',
    'subject keys are wrapped under the version: re-wrap them, then retire it again',
    { org, keyId },
  );
}

function conflict(record: Pick<DekRecord, 'org' | 'keyId'>): RingfenceCryptoError {
  return new RingfenceCryptoError(
    'crypto.store_conflict',
    'the data-key version is not in the state this change was decided on: load it again',
    { org: record.org, keyId: record.keyId },
    true,
  );
}
