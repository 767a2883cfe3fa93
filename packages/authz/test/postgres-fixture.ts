/** Schema `authz` on a database of its own: the app role, and the role of what belongs to no organisation. */
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { inject } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import type { ApiKeyStore, CredentialStore } from '../src/keys/index.ts';
import { type AuthzMigrationOptions, authzMigrations } from '../src/migrations.ts';
import { postgresApiKeyStore, postgresCredentialStore, settingContext } from '../src/postgres/index.ts';

/** A login with its pool. */
export type Login = Kysely<Record<string, never>>;

export class KeyDatabase {
  readonly database: TestDatabase;
  readonly owner: pg.Client;
  readonly app: Login;
  readonly system: Login;

  private constructor(database: TestDatabase, owner: pg.Client, app: Login, system: Login) {
    this.database = database;
    this.owner = owner;
    this.app = app;
    this.system = system;
  }

  static async create(label: string, options: Partial<AuthzMigrationOptions> = {}): Promise<KeyDatabase> {
    const database = await createTestDatabase(inject('databaseUrl'), label);
    const owner = new pg.Client({ connectionString: database.ownerUrl });
    await owner.connect();
    for (const { up } of authzMigrations({ appRole: database.app, systemRole: database.keys, ...options }))
      await owner.query(`begin; ${up} commit;`);
    return new KeyDatabase(database, owner, login(database.appUrl), login(database.keysUrl));
  }

  get store(): ApiKeyStore {
    return postgresApiKeyStore({ db: this.system, inOrg: settingContext(this.app) });
  }

  get credentials(): CredentialStore {
    return postgresCredentialStore({ inOrg: settingContext(this.app) });
  }

  /** A statement of the app role in an organisation, as injected SQL would run. */
  async asApp(org: string, statement: string): Promise<readonly unknown[]> {
    return await this.app.transaction().execute(async (trx) => {
      await sql`select set_config('ringfence.org_id', ${org}, true)`.execute(trx);
      return (await sql.raw(statement).execute(trx)).rows;
    });
  }

  async asSuperuser(run: (client: pg.Client) => Promise<void>): Promise<void> {
    const client = new pg.Client({ connectionString: this.database.superuserUrl });
    await client.connect();
    try {
      await run(client);
    } finally {
      await client.end();
    }
  }

  async drop(): Promise<void> {
    await Promise.all([this.app.destroy(), this.system.destroy(), this.owner.end()]);
    await this.database.drop();
  }
}

/** A pool of the login, whose sessions may be ended by a test. */
export function login(connectionString: string): Login {
  const pool = new pg.Pool({ connectionString, max: 10 });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => void client.on('error', () => undefined));
  return new Kysely({ dialect: new PostgresDialect({ pool }) });
}

/** SQLSTATE and rule of a refusal. */
export async function refusalOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'carried out',
    (error: { code?: string; constraint?: string }) =>
      [error.code, error.constraint].filter(Boolean).join(' '),
  );
}
