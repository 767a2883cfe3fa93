/** What the tests of retirement and sweep share: a table with sealed columns, and an organisation that fills it. */
import { type Kysely, sql } from 'kysely';
import type { DekState, OrgId, OrgKeys } from '../src/index.ts';
import {
  type ReferenceCounter,
  type SweepOptions,
  type SweepReport,
  sealedColumnCounter,
  sweepColumn,
} from '../src/operations/index.ts';
import {
  anyOrg,
  connect,
  type KeyDatabase,
  keks,
  keyDatabase,
  type Station,
  station,
} from './operations-setup.ts';

export const TABLE = 'ledger.entry';

/** Parts of one test: a fresh organisation, and keys of it whose lease outlives every rule. */
export interface Tenant {
  readonly parts: Station;
  readonly org: OrgId;
  readonly keys: OrgKeys;
  readonly oldKeyId: string;
}

export const memo = (row: string) => ({ table: TABLE, column: 'memo', row });
export const scan = (row: string) => ({ table: TABLE, column: 'scan', row });

export class SealedTable {
  readonly database: KeyDatabase;
  readonly app: Kysely<unknown>;
  #tenant: Tenant | undefined;

  private constructor(database: KeyDatabase) {
    this.database = database;
    this.app = connect(database.appUrl) as unknown as Kysely<unknown>;
  }

  static async open(serverUrl: string, label: string): Promise<SealedTable> {
    const database = await keyDatabase(serverUrl, label);
    await sql`create schema ledger`.execute(database.db);
    await sql`create table ledger.entry (
      org_id uuid not null, id uuid primary key, number bigint not null default 0, memo text, scan bytea, pair bytea, memo_index text)`.execute(
      database.db,
    );
    await sql.raw(`grant usage on schema ledger to ${database.app}`).execute(database.db);
    await sql.raw(`grant select, insert, update on ledger.entry to ${database.app}`).execute(database.db);
    return new SealedTable(database);
  }

  async close(): Promise<void> {
    await this.app.destroy();
    await this.database.close();
  }

  /** Empties the table and makes the organisation of the next test. */
  async reset(): Promise<Tenant> {
    await sql`truncate ledger.entry`.execute(this.database.db);
    const parts = station(this.database.store, [keks('a', 'b')]);
    const org = anyOrg();
    await parts.keyring.createOrg(org);
    // A process whose lease outlives every rule: what it seals comes later than it should.
    const keys = await parts.another({ lease: { maxAgeMs: 1e12 } }).org(org);
    this.#tenant = { parts, org, keys, oldKeyId: keys.activeKeyId };
    return this.#tenant;
  }

  memoCounter(): ReferenceCounter {
    return sealedColumnCounter(this.app, TABLE, 'memo');
  }

  /** Keys under a new lease. */
  fresh(): Promise<OrgKeys> {
    const { parts, org } = this.#current();
    return parts.another().org(org);
  }

  async insert(
    row: string,
    text: string,
    by: OrgKeys = this.#current().keys,
    owner: OrgId = this.#current().org,
  ): Promise<void> {
    await sql`insert into ledger.entry (org_id, id, memo, scan) values (${owner}, ${row}, ${by.sealText(memo(row), text)},
      ${Buffer.from(by.seal(scan(row), new TextEncoder().encode(text)))})`.execute(this.app);
  }

  async rotated(): Promise<void> {
    const { parts, org } = this.#current();
    await parts.operations.rotate(org);
    parts.clock.advance(3_600_000);
  }

  async stateOfOld(): Promise<DekState | undefined> {
    const { org, oldKeyId } = this.#current();
    return (await this.database.store.load(org)).find(({ keyId }) => keyId === oldKeyId)?.state;
  }

  sweep(column: string, more: Partial<SweepOptions<unknown>> = {}): Promise<SweepReport> {
    const { parts, org } = this.#current();
    return sweepColumn({
      db: this.app,
      table: TABLE,
      column,
      rowColumn: 'id',
      orgColumn: 'org_id',
      keys: () => parts.keyring.org(org),
      ...more,
    });
  }

  #current(): Tenant {
    if (this.#tenant === undefined) throw new Error('reset() makes the organisation first');
    return this.#tenant;
  }
}
