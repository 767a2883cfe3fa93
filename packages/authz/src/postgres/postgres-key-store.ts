/**
 * The store of API keys on PostgreSQL: each method is one call of a function of schema `authz`, so one statement and one
 * step. The organisation of a call is said twice, by the caller and by the context, and must be the same.
 */
import { type QueryExecutorProvider, sql } from 'kysely';
import type { ApiKeyRecord, ApiKeyStore, KeyRotation, KeySelection, KeyUse } from '../keys/key-store.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { answerOf, type OrgWork } from './org-work.ts';

/** What a store needs. */
export interface PostgresKeyStoreOptions {
  /** Finds keys before an organisation is known, and revokes everywhere. The login is `systemRole`, or the app role when there is none. */
  readonly db: QueryExecutorProvider;
  /**
   * Runs work in the context of an organisation: `(org, work) => work(tenancy.forOrg(org, principal))`, or
   * `settingContext(db)`. The login is the app role.
   */
  readonly inOrg: OrgWork;
}

/**
 * Makes the store over a database whose schema `authz` is migrated (`authzMigrations`).
 *
 * @example
 * ```ts
 * const store = postgresApiKeyStore({ db, inOrg: (org, work) => work(tenancy.forOrg(org, { actor: 'keys' })) });
 * ```
 */
export function postgresApiKeyStore(options: PostgresKeyStoreOptions): ApiKeyStore {
  return new PostgresKeyStore(options);
}

class PostgresKeyStore implements ApiKeyStore {
  readonly #db: QueryExecutorProvider;
  readonly #inOrg: OrgWork;

  constructor({ db, inOrg }: PostgresKeyStoreOptions) {
    this.#db = db;
    this.#inOrg = inOrg;
  }

  async insert(record: ApiKeyRecord): Promise<'stored' | 'replayed'> {
    const { org } = record;
    return await this.#inOrg(org, (db) =>
      answerOf(
        db,
        sql<{ answer: 'stored' | 'replayed' }>`select authz.insert_key(${org}, ${toJson(record)}) as answer`,
      ),
    );
  }

  async find(id: string): Promise<ApiKeyRecord | undefined> {
    const answer = await answerOf(
      this.#db,
      sql<{ answer: string | null }>`select authz.find_key(${id}) as answer`,
    );
    return answer === null ? undefined : fromJson(JSON.parse(answer));
  }

  async rotate({
    org,
    id,
    successor,
    overlapUntil,
  }: KeyRotation): Promise<'stored' | 'replayed' | 'conflict'> {
    return await this.#inOrg(org, (db) =>
      answerOf(
        db,
        sql<{
          answer: 'stored' | 'replayed' | 'conflict';
        }>`select authz.rotate_key(${org}, ${id}, ${toJson(successor)}, ${overlapUntil}) as answer`,
      ),
    );
  }

  async revoke(selection: KeySelection, at: number): Promise<readonly string[]> {
    if (selection.kind === 'everywhere')
      return idsOf(
        await answerOf(this.#db, sql<{ answer: string }>`select authz.revoke_every_key(${at}) as answer`),
      );
    const { org } = selection;
    const id = selection.kind === 'key' ? selection.id : null;
    const { issuer, subject } =
      selection.kind === 'creator' ? selection.creator : { issuer: null, subject: null };
    return await this.#inOrg(org, async (db) =>
      idsOf(
        await answerOf(
          db,
          sql<{
            answer: string;
          }>`select authz.revoke_keys(${org}, ${id}, ${issuer}, ${subject}, ${at}) as answer`,
        ),
      ),
    );
  }

  async touch(uses: readonly KeyUse[]): Promise<void> {
    const byOrg = new Map<OrgId, { id: string; at: number }[]>();
    for (const { org, id, at } of uses) {
      const ofOrg = byOrg.get(org) ?? [];
      ofOrg.push({ id, at: Math.floor(at) });
      byOrg.set(org, ofOrg);
    }
    for (const [org, ofOrg] of byOrg)
      await this.#inOrg(org, (db) =>
        sql`select authz.touch_keys(${org}, ${JSON.stringify(ofOrg)})`.execute(db),
      );
  }

  async list(org: OrgId): Promise<readonly ApiKeyRecord[]> {
    const answer = await this.#inOrg(org, (db) =>
      answerOf(db, sql<{ answer: string }>`select authz.list_keys(${org}) as answer`),
    );
    return (JSON.parse(answer) as unknown[]).map(fromJson);
  }
}

function toJson(record: ApiKeyRecord): string {
  return JSON.stringify({ ...record, mac: Buffer.from(record.mac).toString('hex') });
}

function fromJson(stored: unknown): ApiKeyRecord {
  const record = stored as Omit<ApiKeyRecord, 'mac'> & { readonly mac: string };
  return { ...record, org: parseOrgId(record.org), mac: Uint8Array.from(Buffer.from(record.mac, 'hex')) };
}

function idsOf(answer: string): readonly string[] {
  return JSON.parse(answer) as string[];
}
