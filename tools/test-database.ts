/**
 * One database with its own roles per test file, so that files run in parallel on one server and leave nothing behind.
 * Roles are those of the design: an owner that runs migrations, an app login without privileges of its own, an auditor.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
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
  /** URL of the login that only the job queue uses; it owns the queue's schema, once that is made. */
  readonly queueUrl: string;
  /** URL of the login that only signs checkpoints of the audit log. */
  readonly checkpointerUrl: string;
  /** URL of the login that only copies the audit log to a write-once store. */
  readonly copierUrl: string;
  /** URL of the login that only prunes the audit log. */
  readonly retentionUrl: string;
  /** Name of the owner role. */
  readonly owner: string;
  /** Name of the app role. */
  readonly app: string;
  /** Name of the key store's role. */
  readonly keys: string;
  /** Name of the job queue's role. */
  readonly queue: string;
  /** Name of the checkpointer's role. */
  readonly checkpointer: string;
  /** Name of the copier's role. */
  readonly copier: string;
  /** Name of the role that prunes. */
  readonly retention: string;
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
  const queue = `queue_${suffix}`;
  const checkpointer = `checkpointer_${suffix}`;
  const copier = `copier_${suffix}`;
  const retention = `retention_${suffix}`;
  const logins = [app, keys, queue, checkpointer, copier, retention];
  const password = randomBytes(16).toString('hex');
  await asSuperuser(serverUrl, async (client) => {
    await client.query(`create role ${owner} login nosuperuser nobypassrls password '${password}'`);
    for (const role of logins) {
      await client.query(`create role ${role} login nosuperuser nobypassrls password '${password}'`);
    }
    await client.query(`create database ${name} owner ${owner}`);
    await client.query(`revoke all on database ${name} from public`);
    await client.query(`grant connect on database ${name} to ${logins.join(', ')}`);
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
    queueUrl: urlFor(queue),
    checkpointerUrl: urlFor(checkpointer),
    copierUrl: urlFor(copier),
    retentionUrl: urlFor(retention),
    owner,
    app,
    keys,
    queue,
    checkpointer,
    copier,
    retention,
    drop: () =>
      asSuperuser(serverUrl, async (client) => {
        // A pool has ended before its sessions have: one that is ended by force says so, to nobody who listens.
        for (let tries = 0; tries < 100 && (await sessions(client, name)) > 0; tries++) await delay(10);
        await client.query(`drop database if exists ${name} with (force)`);
        await client.query(`drop role if exists ${logins.join(', ')}, ${owner}`);
      }),
  };
}

async function sessions(client: pg.Client, database: string): Promise<number> {
  const count = 'select count(*)::integer as n from pg_stat_activity where datname = $1';
  return (await client.query(count, [database])).rows[0].n;
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
