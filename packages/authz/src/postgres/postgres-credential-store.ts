/** The store of integration credentials on PostgreSQL: each method is one call of a function of schema `authz`. */
import { sql } from 'kysely';
import type { CredentialRecord, CredentialReplacement, CredentialStore } from '../keys/credential-store.ts';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { answerOf, type OrgWork } from './org-work.ts';

/** What the store needs. */
export interface PostgresCredentialStoreOptions {
  /** Runs work in the context of an organisation, as for `postgresApiKeyStore`. */
  readonly inOrg: OrgWork;
}

/**
 * Makes the store over a database whose schema `authz` is migrated (`authzMigrations`).
 *
 * @example
 * ```ts
 * const credentials = createCredentials({ sealer, report, store: postgresCredentialStore({ inOrg }) });
 * ```
 */
export function postgresCredentialStore(options: PostgresCredentialStoreOptions): CredentialStore {
  return new PostgresCredentials(options);
}

class PostgresCredentials implements CredentialStore {
  readonly #inOrg: OrgWork;

  constructor({ inOrg }: PostgresCredentialStoreOptions) {
    this.#inOrg = inOrg;
  }

  async insert(record: CredentialRecord): Promise<void> {
    const { org, sealed } = record;
    const json = JSON.stringify({ ...record, sealed: sealed === undefined ? undefined : hex(sealed) });
    await this.#inOrg(org, (db) => sql`select authz.insert_credential(${org}, ${json})`.execute(db));
  }

  async find(org: OrgId, id: string): Promise<CredentialRecord | undefined> {
    const answer = await this.#inOrg(org, (db) =>
      answerOf(db, sql<{ answer: string | null }>`select authz.find_credential(${org}, ${id}) as answer`),
    );
    return answer === null ? undefined : fromJson(JSON.parse(answer));
  }

  async replace({ org, id, from, sealed, rotatedAt }: CredentialReplacement): Promise<boolean> {
    return await this.#inOrg(org, (db) =>
      answerOf(
        db,
        sql<{
          answer: boolean;
        }>`select authz.replace_credential(${org}, ${id}, ${from}, ${hex(sealed)}, ${rotatedAt}) as answer`,
      ),
    );
  }

  async revoke(org: OrgId, id: string, at: number): Promise<void> {
    await this.#inOrg(org, (db) => sql`select authz.revoke_credential(${org}, ${id}, ${at})`.execute(db));
  }

  async list(org: OrgId): Promise<readonly CredentialRecord[]> {
    const answer = await this.#inOrg(org, (db) =>
      answerOf(db, sql<{ answer: string }>`select authz.list_credentials(${org}) as answer`),
    );
    return (JSON.parse(answer) as unknown[]).map(fromJson);
  }
}

function fromJson(stored: unknown): CredentialRecord {
  const { sealed, ...record } = stored as Omit<CredentialRecord, 'sealed'> & { readonly sealed?: string };
  return {
    ...record,
    org: parseOrgId(record.org),
    ...(sealed === undefined ? {} : { sealed: Uint8Array.from(Buffer.from(sealed, 'hex')) }),
  };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
