/**
 * What restored backups bring back after a shred or an erasure, with Debian's PostgreSQL 15 and its own pg_dump and
 * pg_restore: the claims of docs/key-operations.md ("What backups do to a shred") and docs/subject-erasure.md.
 * Each dark case has the same restore from before as its control. A missing PostgreSQL fails here.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type PostgresServer, startEmbedded } from '../../../tools/postgres.ts';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { decryptBytes, encryptBytes } from '../src/files/index.ts';
import { createKeyring, type Keyring, type KmsProvider, type OrgId, parseOrgId } from '../src/index.ts';
import { encryptedColumns, type Sealed, withEncryption } from '../src/kysely/index.ts';
import { localKms } from '../src/local/index.ts';
import { createKeyOperations, type KeyOperations } from '../src/operations/index.ts';
import { type CryptoDatabase, postgresKeyStore, postgresSubjectKeyStore } from '../src/postgres/index.ts';
import { cryptoMigrations } from '../src/postgres/migrations.ts';
import { createSubjectKeys } from '../src/subjects/index.ts';

const BINARIES = '/usr/lib/postgresql/15/bin';
const INSTALL = 'apt-get install -y --no-install-recommends postgresql-15';

interface Database extends CryptoDatabase {
  'ledger.entry': { org_id: string; id: string; memo: Sealed<string> };
  'ledger.file': { id: string; org_id: string; content: Uint8Array };
}

const columns = encryptedColumns<Database>({
  'ledger.entry': { row: 'id', org: 'org_id', columns: { memo: 'text' } },
});

let server: PostgresServer;
let folder: string;
let live: TestDatabase;
let owner: Kysely<Database>;
let app: Kysely<Database>;
let keyLogin: Kysely<Database>;
let keyring: Keyring;
let operations: KeyOperations;
let leaving: OrgId;
let staying: OrgId;
const bytes = { platform: randomBytes(32), own: randomBytes(32) };
const kms: KmsProvider = localKms({ keks: bytes });
const opened: Kysely<Database>[] = [];

function connect(url: string): Kysely<Database> {
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  pool.on('error', () => {}); // the server may be stopped while a session ends
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  opened.push(db);
  return db;
}

function keyringOver(db: Kysely<Database>, provider: KmsProvider = kms): Keyring {
  const kekFor = (org: OrgId) => (org === leaving ? 'local:own' : 'local:platform');
  return createKeyring({ app: 'ledger', kms: [provider], store: postgresKeyStore(db), kekFor });
}

function run(program: string, ...args: string[]): string {
  const options = { encoding: 'utf8', stdio: 'pipe', maxBuffer: 1e8 } as const;
  return execFileSync(join(BINARIES, program), args, options);
}

/** pg_dump in the custom format; gives the file. */
function dump(...options: string[]): string {
  const file = join(folder, randomUUID());
  run('pg_dump', '--format=custom', `--file=${file}`, ...options, live.ownerUrl);
  return file;
}

const dumpOfData = () => dump('--exclude-schema=crypto');

/** pg_restore into a fresh database with the same owner, as the owner; gives its URL for a role. */
async function restore(file: string): Promise<(as: 'owner' | 'app' | 'keys') => Kysely<Database>> {
  const name = `restored_${randomBytes(4).toString('hex')}`;
  await sql.raw(`create database ${name} owner ${live.owner}`).execute(connect(server.url));
  const urls = { owner: live.ownerUrl, app: live.appUrl, keys: live.keysUrl };
  const urlFor = (as: keyof typeof urls) => Object.assign(new URL(urls[as]), { pathname: `/${name}` }).href;
  run('pg_restore', '--exit-on-error', `--dbname=${urlFor('owner')}`, file);
  return (as) => connect(urlFor(as));
}

/** Fails unless both a row and a file of the organisation open; gives the code of what fails. */
async function opens(db: Kysely<Database>, keys: Keyring, org: OrgId): Promise<string> {
  try {
    const leased = await keys.org(org);
    const rows = await withEncryption(db, leased, columns)
      .selectFrom('ledger.entry')
      .select('memo')
      .where('org_id', '=', org)
      .execute();
    expect(rows.map(({ memo }) => memo)).toEqual([`memo of ${org}`]);
    const files = await db.selectFrom('ledger.file').selectAll().where('org_id', '=', org).execute();
    expect(files).toHaveLength(1);
    for (const { id, content } of files) {
      const cell = { table: 'ledger.file', column: 'content', row: id };
      expect(Buffer.from(decryptBytes(leased, cell, content)).toString()).toBe(`file of ${org}`);
    }
    return 'opens';
  } catch (error) {
    const { code } = error as { code?: string };
    if (code?.startsWith('crypto.') !== true) throw error;
    return code;
  }
}

/** The stored forms of an organisation's row and file. */
async function stored(db: Kysely<Database>, org: OrgId): Promise<{ memo: string; content: string }> {
  const { rows } = await sql<{ memo: string; content: string }>`
    select e.memo, encode(f.content, 'hex') as content
    from ledger.entry e join ledger.file f on f.org_id = e.org_id where e.org_id = ${org}`.execute(db);
  const [row] = rows;
  if (row === undefined || rows.length > 1) throw new Error(`${rows.length} rows of ${org}`);
  return row;
}

async function fill(org: OrgId): Promise<void> {
  await keyring.createOrg(org);
  const keys = await keyring.org(org);
  const [row, file] = [randomUUID(), randomUUID()];
  const cell = { table: 'ledger.file', column: 'content', row: file };
  const content = encryptBytes(keys, cell, Buffer.from(`file of ${org}`));
  await withEncryption(app, keys, columns)
    .insertInto('ledger.entry')
    .values({ org_id: org, id: row, memo: `memo of ${org}` })
    .execute();
  await app
    .insertInto('ledger.file')
    .values({ id: file, org_id: org, content: Buffer.from(content) })
    .execute();
}

beforeAll(async () => {
  for (const program of ['postgres', 'initdb', 'pg_dump', 'pg_restore']) {
    if (!existsSync(join(BINARIES, program)))
      throw new Error(`${join(BINARIES, program)} is missing: ${INSTALL}`);
  }
  server = await startEmbedded({ binaries: BINARIES });
  folder = mkdtempSync(join(tmpdir(), 'dumps-'));
});

afterAll(async () => {
  for (const db of opened) await db.destroy();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

beforeEach(async () => {
  live = await createTestDatabase(server.url, 'live');
  owner = connect(live.ownerUrl);
  app = connect(live.appUrl);
  keyLogin = connect(live.keysUrl);
  for (const { up } of cryptoMigrations({ appRole: live.keys })) await sql.raw(up).execute(owner);
  await sql
    .raw(`create schema ledger; grant usage on schema ledger to ${live.app};
      create table ledger.entry (org_id uuid, id uuid, memo text, primary key (org_id, id));
      create table ledger.file (org_id uuid, id uuid, content bytea, primary key (org_id, id));
      grant select, insert on ledger.entry, ledger.file to ${live.app}`)
    .execute(owner);
  [leaving, staying] = [parseOrgId(randomUUID()), parseOrgId(randomUUID())];
  keyring = keyringOver(keyLogin);
  const base = { app: 'ledger', kms: [kms], kekFor: () => 'local:platform' };
  operations = createKeyOperations({ ...base, store: postgresKeyStore(owner) });
  await fill(staying);
  await fill(leaving);
});

const shred = () => operations.shred(leaving, { reason: 'contract ended' });

it('the server and the dumps are those of PostgreSQL 15', async () => {
  const { rows } = await sql<{ server_version: string }>`show server_version`.execute(owner);
  expect(rows[0]?.server_version).toMatch(/^15\./);
  expect(run('pg_dump', '--version')).toMatch(/ 15\./);
  expect(run('pg_restore', '--version')).toMatch(/ 15\./);
});

describe('a backup of the data, restored', () => {
  it('before the shred, opens beside the key store: the control of the next', async () => {
    const restored = (await restore(dumpOfData()))('app');
    expect(await opens(restored, keyring, leaving)).toBe('opens');
    expect(await opens(restored, keyring, staying)).toBe('opens');
  });

  it('after the shred, has all rows and files, and they stay dark; those of others open', async () => {
    const file = dumpOfData();
    const before = await stored(owner, leaving);
    await shred();
    const restored = (await restore(file))('app');
    expect(await stored(restored, leaving)).toEqual(before);
    expect(before.memo).toMatch(/^rf1\./);
    expect(await opens(restored, keyringOver(keyLogin), leaving)).toBe('crypto.key_shredded');
    expect(await opens(restored, keyringOver(keyLogin), staying)).toBe('opens');
  });

  it('alone, with a new key store, opens nothing: neither before nor after the organisation gets new keys', async () => {
    const login = await restore(dumpOfData());
    for (const { up } of cryptoMigrations({ appRole: live.keys })) await sql.raw(up).execute(login('owner'));
    const alone = keyringOver(login('keys'));
    expect(await opens(login('app'), alone, leaving)).toBe('crypto.org_unknown');
    await alone.createOrg(leaving);
    expect(await opens(login('app'), alone, leaving)).toBe('crypto.unknown_key_version');
  });

  it('holds nothing of the schema crypto, neither a table nor a wrapped key; the whole dump does', async () => {
    const { rows } = await sql<{ wrapped: string }>`
      select encode(wrapped, 'hex') as wrapped from crypto.dek_wrap`.execute(owner);
    expect(rows).toHaveLength(2);
    const [data, whole] = [dumpOfData(), dump()].map((file) => run('pg_restore', '--file=-', file));
    expect(data).toContain('ledger.entry');
    expect(data).not.toContain('crypto.');
    for (const { wrapped } of rows) {
      expect(data).not.toContain(wrapped);
      expect(whole).toContain(wrapped);
    }
  });

  it('cannot be made by the application with the keys in it: its login sees no key store', async () => {
    const file = join(folder, randomUUID());
    const whole = () => run('pg_dump', '--format=custom', `--file=${file}`, live.appUrl);
    expect(whole).toThrow(/permission denied for schema crypto/);
  });
});

describe('a backup with the key store in it, of before the shred, restored', () => {
  it('opens while the KEK lives, and is dark once the KEK is destroyed', async () => {
    const file = dump();
    await shred();
    expect(await opens(app, keyringOver(keyLogin), leaving)).toBe('crypto.key_shredded');
    const login = await restore(file);
    expect(await opens(login('app'), keyringOver(login('keys')), leaving)).toBe('opens');
    const withoutOwn = localKms({ keks: { platform: bytes.platform } });
    const later = keyringOver(login('keys'), withoutOwn);
    expect(await opens(login('app'), later, leaving)).toBe('crypto.key_destroyed');
    expect(await opens(login('app'), later, staying)).toBe('opens');
  });

  it('is dark when the shred is repeated on it, before anything is served', async () => {
    const file = dump();
    const first = await shred();
    const login = await restore(file);
    const store = postgresKeyStore(login('owner'));
    const again = createKeyOperations({ app: 'ledger', kms: [kms], kekFor: () => 'local:platform', store });
    expect(await again.shred(leaving, { reason: 'restored' })).toMatchObject({
      versions: first.versions,
      wrapsDestroyed: 1,
    });
    expect(await opens(login('app'), keyringOver(login('keys')), leaving)).toBe('crypto.key_shredded');
  });

  it('does not go into the key store of today: the tombstone refuses its versions and wraps', async () => {
    const file = dump('--schema=crypto');
    await shred();
    const into = (url: string, ...options: string[]) =>
      run('pg_restore', '--exit-on-error', '--data-only', `--dbname=${url}`, ...options, file);
    await sql`delete from crypto.dek_wrap`.execute(owner); // what is not refused must not fail as a duplicate
    expect(() => into(live.ownerUrl, '--table=dek_wrap')).toThrow(/a shredded version gets no wrap/);
    // A superuser can switch the triggers off. The wraps are back then, but the tombstone still refuses.
    into(live.superuserUrl, '--table=dek_wrap', '--disable-triggers');
    const { rows } = await sql`select from crypto.dek_wrap where org_id = ${leaving}`.execute(owner);
    expect(rows).toHaveLength(1);
    expect(await opens(app, keyringOver(keyLogin), leaving)).toBe('crypto.key_shredded');
    expect(await opens(app, keyringOver(keyLogin), staying)).toBe('opens');
    await sql`delete from crypto.dek_wrap`.execute(owner);
    await sql`delete from crypto.dek_version where org_id = ${staying}`.execute(owner);
    expect(() => into(live.ownerUrl, '--table=dek_version')).toThrow(/the organisation is shredded/);
  });
});

/** Whether the file of a table has these bytes in it, be they of a living row or not. */
async function onDisk(table: string, searched: Uint8Array): Promise<boolean> {
  const superuser = connect(live.superuserUrl);
  await sql`checkpoint`.execute(superuser);
  const { rows } = await sql<{ path: string }>`
    select current_setting('data_directory') || '/' || pg_relation_filepath(${table}) as path`.execute(
    superuser,
  );
  return readFileSync(rows[0]?.path ?? '').includes(searched);
}

async function wrapOf(from: string, org: OrgId): Promise<Uint8Array> {
  const { rows } = await sql<{ wrapped: Uint8Array }>`
    select wrapped from ${sql.table(from)} where org_id = ${org}`.execute(owner);
  const [row] = rows;
  if (row === undefined) throw new Error(`no wrap in ${from}`);
  return row.wrapped;
}

describe('the live database', () => {
  it('has a deleted wrap on disk until the table is rewritten; vacuum alone does not overwrite it', async () => {
    const wrapped = await wrapOf('crypto.dek_wrap', leaving);
    await shred();
    expect(await onDisk('crypto.dek_wrap', wrapped)).toBe(true);
    await sql`vacuum crypto.dek_wrap`.execute(owner);
    expect(await onDisk('crypto.dek_wrap', wrapped)).toBe(true);
    await sql`vacuum full crypto.dek_wrap`.execute(owner);
    expect(await onDisk('crypto.dek_wrap', wrapped)).toBe(false);
  });

  it('has the wrap of an erased person on disk until the table is rewritten', async () => {
    const subjects = createSubjectKeys({ store: postgresSubjectKeyStore(keyLogin) });
    const person = randomUUID();
    await subjects.of(await keyring.org(staying), person);
    const wrapped = await wrapOf('crypto.subject_key', staying);
    await subjects.erase(staying, person);
    expect(await onDisk('crypto.subject_key', wrapped)).toBe(true);
    await sql`vacuum full crypto.subject_key`.execute(owner);
    expect(await onDisk('crypto.subject_key', wrapped)).toBe(false);
  });
});

describe('a backup from before the erasure of a person, restored', () => {
  it('stays dark without the schema crypto, brings the key back with it, and is dark after erasing again', async () => {
    const subjects = createSubjectKeys({ store: postgresSubjectKeyStore(keyLogin) });
    const person = randomUUID();
    const cell = { table: 'ledger.payslip', column: 'iban', row: randomUUID() };
    const keys = await subjects.of(await keyring.org(staying), person);
    await sql`create table ledger.payslip (id uuid, iban text)`.execute(owner);
    await sql`insert into ledger.payslip values (${cell.row}, ${keys.sealText(cell, 'DE02')})`.execute(owner);
    const [data, whole] = [dumpOfData(), dump()];
    await subjects.erase(staying, person);

    const read = async (from: Kysely<Database>, store: Kysely<Database>) => {
      const { rows } = await sql<{ iban: string }>`select iban from ledger.payslip`.execute(from);
      const restoredSubjects = createSubjectKeys({ store: postgresSubjectKeyStore(store) });
      return restoredSubjects
        .of(await keyringOver(store).org(staying), person)
        .then((one) => one.openText(cell, rows[0]?.iban ?? ''))
        .catch((error: { code?: string }) => error.code);
    };
    const dataOnly = await restore(data);
    expect(await read(dataOnly('owner'), keyLogin)).toBe('crypto.key_shredded');
    const both = await restore(whole);
    expect(await read(both('owner'), both('keys'))).toBe('DE02');
    await createSubjectKeys({ store: postgresSubjectKeyStore(both('keys')) }).erase(staying, person);
    expect(await read(both('owner'), both('keys'))).toBe('crypto.key_shredded');
  });
});
