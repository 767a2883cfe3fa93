/**
 * One database with its own roles per test file, so that files run in parallel on one server and leave nothing behind.
 * Roles are those of the design: an owner that runs migrations, an app login without privileges of its own, an auditor.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';

/** A fresh database and its roles. */
export interface TestDatabase {
  /** Superuser URL into the fresh database. */
  readonly superuserUrl: string;
  /** URL of the owner: owns the database, runs the migrations. */
  readonly ownerUrl: string;
  /** URL of the app login: no superuser, no BYPASSRLS, member of no owner. */
  readonly appUrl: string;
  /** URL of the login that only the key store uses. */
  readonly keysUrl: string;
  /** Name of the owner role. */
  readonly owner: string;
  /** Name of the app role. */
  readonly app: string;
  /** Name of the key store's role. */
  readonly keys: string;
  /** Drops the database and its roles. */
  drop(): Promise<void>;
}

/** Creates a database named after `label` on the server of `serverUrl` (a superuser's URL). */
export async function createTestDatabase(serverUrl: string, label: string): Promise<TestDatabase> {
  const suffix = `${label}_${randomBytes(4).toString('hex')}`;
  const name = `rf_${suffix}`;
  const owner = `owner_${suffix}`;
  const app = `app_${suffix}`;
  const keys = `keys_${suffix}`;
  const password = randomBytes(16).toString('hex');
  await asSuperuser(serverUrl, async (client) => {
    await client.query(`create role ${owner} login nosuperuser nobypassrls password '${password}'`);
    for (const role of [app, keys]) {
      await client.query(`create role ${role} login nosuperuser nobypassrls password '${password}'`);
    }
    await client.query(`create database ${name} owner ${owner}`);
    await client.query(`revoke all on database ${name} from public`);
    await client.query(`grant connect on database ${name} to ${app}, ${keys}`);
  });
  const urlFor = (role?: string) => {
    const url = new URL(serverUrl);
    url.pathname = `/${name}`;
    if (role !== undefined) {
      url.username = role;
      url.password = password;
    }
    return url.href;
  };
  return {
    superuserUrl: urlFor(),
    ownerUrl: urlFor(owner),
    appUrl: urlFor(app),
    keysUrl: urlFor(keys),
    owner,
    app,
    keys,
    drop: () =>
      asSuperuser(serverUrl, async (client) => {
        await client.query(`drop database if exists ${name} with (force)`);
        await client.query(`drop role if exists ${app}`);
        await client.query(`drop role if exists ${keys}`);
        await client.query(`drop role if exists ${owner}`);
      }),
  };
}

async function asSuperuser(url: string, run: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {}); // the server may be stopped while this session ends
  await client.connect();
  try {
    await run(client);
  } finally {
    await client.end();
  }
}
