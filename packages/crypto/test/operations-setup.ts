/** What the tests of key operations share: a migrated key store on PostgreSQL, organisations, a clock that waits at once. */
import { randomBytes } from 'node:crypto';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import {
  createKeyring,
  type DekRecord,
  type Keyring,
  type KeyringOptions,
  type KeyStore,
  type KmsProvider,
  type OrgId,
  parseOrgId,
} from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import {
  createKeyOperations,
  type KeyOperations,
  type KeyOperationsOptions,
} from '../src/operations/index.ts';
import { type CryptoDatabase, postgresKeyStore } from '../src/postgres/index.ts';
import { cryptoMigrations } from '../src/postgres/migrations.ts';
import { FakeClock } from './keyring-setup.ts';

/** A clock whose waits pass at once and are written down. */
export class WaitingClock extends FakeClock {
  readonly waits: number[] = [];
  readonly wait = async (ms: number): Promise<void> => {
    this.waits.push(ms);
    this.advance(ms);
  };
}

export function connect(url: string, max = 10): Kysely<CryptoDatabase> {
  const pool = new pg.Pool({ connectionString: url, max });
  pool.on('error', () => {}); // the server may stop while sessions close
  return new Kysely({ dialect: new PostgresDialect({ pool }) });
}

/** A database with a key store. */
export interface KeyDatabase extends TestDatabase {
  readonly db: Kysely<CryptoDatabase>;
  readonly store: KeyStore;
  close(): Promise<void>;
}

/** `operator`: the login of `appUrl` gets the rights of key operations instead of the application's. */
export async function keyDatabase(
  serverUrl: string,
  label: string,
  rights: 'application' | 'operator' = 'application',
): Promise<KeyDatabase> {
  const database = await createTestDatabase(serverUrl, label);
  const client = new pg.Client({ connectionString: database.ownerUrl });
  await client.connect();
  const roles =
    rights === 'application'
      ? { appRole: database.app }
      : { appRole: database.owner, operatorRole: database.app };
  for (const { up } of cryptoMigrations(roles)) await client.query(up);
  await client.end();
  const db = connect(database.ownerUrl);
  return {
    ...database,
    db,
    store: postgresKeyStore(db),
    close: async () => {
      await db.destroy();
      await database.drop();
    },
  };
}

export function anyOrg(): OrgId {
  const hex = randomBytes(16).toString('hex');
  return parseOrgId(hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'));
}

/** Ascending organisations, distinct from those of other calls. */
export function manyOrgs(count: number): OrgId[] {
  return Array.from({ length: count }, anyOrg).sort();
}

/** A local KMS with some KEKs. */
export function keks(...ids: string[]): KmsProvider {
  return localKms({ keks: Object.fromEntries(ids.map((id) => [id, randomBytes(32)])) });
}

/** Keyring and operations over one store. */
export interface Station {
  readonly clock: WaitingClock;
  readonly keyring: Keyring;
  readonly operations: KeyOperations;
  /** Another keyring, as another process would have it. */
  another(options?: Partial<KeyringOptions>): Keyring;
  /** Other operations, as another operator would have them. */
  operator(options?: Partial<KeyOperationsOptions>): KeyOperations;
}

export function station(
  store: KeyStore,
  kms: readonly KmsProvider[],
  kekFor: (org: OrgId) => string = () => 'local:a',
  options: Partial<KeyringOptions> = {},
): Station {
  const clock = new WaitingClock();
  const base = { app: 'test', kms, store, kekFor, now: clock.now, monotonicNow: clock.monotonicNow };
  const another = (more: Partial<KeyringOptions> = {}) => createKeyring({ ...base, ...options, ...more });
  const operator = (more: Partial<KeyOperationsOptions> = {}) =>
    createKeyOperations({
      ...base,
      ...(options.revocations !== undefined && { revocations: options.revocations }),
      wait: clock.wait,
      ...more,
    });
  return { clock, keyring: another(), operations: operator(), another, operator };
}

/** KEK URIs of each version. */
export const urisOf = (records: readonly DekRecord[]): string[][] =>
  records.map(({ wraps }) => wraps.map(({ kekUri }) => kekUri));

/** A station over a key database, and a fresh organisation in it. */
export async function newOrg(
  { store }: KeyDatabase,
  kms: readonly KmsProvider[] = [keks('a', 'b', 'c')],
): Promise<Station & { readonly org: OrgId; readonly store: KeyStore }> {
  const parts = station(store, kms);
  const org = anyOrg();
  await parts.keyring.createOrg(org);
  return { ...parts, org, store };
}

/** A store that does something once, right before a method. */
export function interrupted(
  store: KeyStore,
  method: 'insertVersion' | 'replaceWraps' | 'setState' | 'destroyWraps',
  first: () => Promise<unknown>,
): KeyStore {
  let pending = true;
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]) => {
        if (name === method && pending) {
          pending = false;
          await first();
        }
        return Reflect.apply(value, target, args);
      };
    },
  });
}
