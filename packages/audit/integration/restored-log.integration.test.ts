/**
 * A log that was dumped and restored verifies, with Debian's PostgreSQL 15 and its own tools, and from there on in the newest
 * server: whatever it holds, in whatever form and settings it was dumped. A missing PostgreSQL fails here.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { type PostgresServer, startEmbedded } from '../../../tools/postgres.ts';
import { type ChainHead, exportLog, type OrgId, parseOrgId, verifyExport } from '../src/index.ts';
import { kyselyOf, type Tables } from '../test/fixture.ts';
import { type PersonalFixture, personalFixture } from '../test/personal-fixture.ts';

const BINARIES = '/usr/lib/postgresql/15/bin';
const INSTALL = 'apt-get install -y --no-install-recommends postgresql-15';
const LOGS = 6;

let server: PostgresServer;
let folder: string;
let p: PersonalFixture;
const heads = new Map<OrgId, { readonly head: ChainHead; readonly bytes: string; readonly erased: number }>();
const restored: { readonly server: string; readonly name: string }[] = [];

const orgOf = (number: number) => parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(number).padStart(12, '0')}`);
const inDatabase = (url: string, name: string) => Object.assign(new URL(url), { pathname: `/${name}` }).href;

async function bytesOf(db: Parameters<typeof exportLog>[0], org: OrgId): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportLog(db, org)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

beforeAll(async () => {
  for (const program of ['postgres', 'initdb', 'pg_dump', 'pg_restore', 'psql']) {
    if (!existsSync(join(BINARIES, program)))
      throw new Error(`${join(BINARIES, program)} is missing: ${INSTALL}`);
  }
  folder = mkdtempSync(join(tmpdir(), 'log-dumps-'));
  server = await startEmbedded({ binaries: BINARIES });
  p = await personalFixture(server.url);
  const text = fc
    .oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.constantFrom('"\\\b\f\n\r\t\u0001\u007f', '\u2028😀é', "'; --", '\\N', '\\.', '$$'),
    )
    .filter((one) => !one.includes('\u0000') && !/\p{Cs}/u.test(one));
  const values = fc.sample(text, { seed: 15, numRuns: LOGS * 8 });
  for (let log = 0; log < LOGS; log++) {
    const org = orgOf(log + 1);
    for (const value of values.slice(log * 8, log * 8 + 8)) {
      const receipt = await p.personal.prepare(org, 'member.invited', {
        subject: `u-${log}`,
        target: 'm-1',
        outcome: 'success',
        data: { email: value, role: value },
      });
      await p.f.append(org, receipt, { actor: `user:${value}`, request: `r ${value}` });
    }
    await p.invite(org, 'u-other', 'other@example.org');
    if (log % 2 === 0) await p.erase(org, `u-${log}`);
    const { ok, head, erased } = await p.audit.verify(p.f.superuser, org);
    expect([ok, erased > 0]).toEqual([true, log % 2 === 0]);
    heads.set(org, { head, erased, bytes: await bytesOf(p.f.superuser, org) });
  }
}, 120_000);

afterAll(async () => {
  for (const { server: url, name } of restored) {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(`drop database if exists ${name} with (force)`);
    await client.end();
  }
  await p?.f.close();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
});

const run = (program: string, args: readonly string[], env: Record<string, string> = {}) =>
  execFileSync(join(BINARIES, program), args, {
    encoding: 'utf8',
    stdio: 'pipe',
    maxBuffer: 1e8,
    env: { PATH: process.env['PATH'], ...env },
  });

async function fresh(url: string): Promise<string> {
  const name = `restored_${randomBytes(4).toString('hex')}`;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`create database ${name}`);
  await client.end();
  restored.push({ server: url, name });
  return inDatabase(url, name);
}

/** Every log holds as it was: its head, its bytes, its values. */
async function holds(url: string): Promise<void> {
  const db = kyselyOf<Tables>(url, 1);
  try {
    for (const [org, { head, bytes, erased }] of heads) {
      const report = await p.audit.verify(db, org, { expectedHead: head });
      expect(report).toMatchObject({ ok: true, findings: [], head, erased });
      const again = await bytesOf(db, org);
      expect(again).toBe(bytes);
      expect(await verifyExport([Buffer.from(again)], { expectedHead: head })).toMatchObject({ ok: true });
    }
  } finally {
    await db.destroy();
  }
}

/** Roles are no part of a dump of one database. */
const dump = (format: string, options: readonly string[] = [], env = {}) => {
  const file = join(folder, randomBytes(4).toString('hex'));
  run(
    'pg_dump',
    [
      `--format=${format}`,
      `--file=${file}`,
      '--schema=audit',
      '--no-owner',
      ...options,
      p.f.database.superuserUrl,
    ],
    env,
  );
  return file;
};

const SETTINGS = [
  {},
  {
    PGOPTIONS:
      '-c TimeZone=Pacific/Chatham -c DateStyle=German -c bytea_output=escape -c extra_float_digits=-15',
  },
  { PGTZ: 'America/St_Johns', PGDATESTYLE: 'SQL, MDY', PGOPTIONS: '-c IntervalStyle=sql_standard' },
];

test.each([
  ['custom', []],
  ['custom', ['--no-privileges', '--compress=9']],
  ['tar', ['--no-privileges']],
] as const)(
  'a dump in the %s format with %j restores to logs that hold',
  async (format, options) => {
    for (const env of SETTINGS) {
      const target = await fresh(server.url);
      run(
        'pg_restore',
        ['--exit-on-error', '--no-owner', `--dbname=${target}`, dump(format, options, env)],
        env,
      );
      await holds(target);
    }
  },
  180_000,
);

test.each([[[]], [['--inserts']], [['--column-inserts', '--quote-all-identifiers']]] as const)(
  'a dump as SQL with %j restores here, and in the newest server, to logs that hold',
  async (options) => {
    const file = dump('plain', ['--no-privileges', ...options]);
    for (const url of [server.url, inject('databaseUrl')]) {
      // Policies and grants are of roles that the other server does not have.
      const text = readFileSync(file, 'utf8').replace(/^CREATE POLICY [^;]*;$/gm, '');
      writeFileSync(`${file}.sql`, text);
      const target = await fresh(url);
      const { status, stderr } = spawnSync(
        join(BINARIES, 'psql'),
        ['-X', '-v', 'ON_ERROR_STOP=1', '-q', '-f', `${file}.sql`, target],
        { encoding: 'utf8' },
      );
      expect([status, stderr]).toEqual([0, '']);
      await holds(target);
    }
  },
  180_000,
);

test('the rows alone, into a schema of new migrations, hold; the guards are not in their way', async () => {
  const file = dump('custom', ['--data-only']);
  const other = await personalFixture(server.url);
  try {
    run('pg_restore', ['--exit-on-error', '--data-only', `--dbname=${other.f.database.superuserUrl}`, file]);
    await holds(other.f.database.superuserUrl);
    // The chain goes on where it ended.
    const org = orgOf(1);
    const { hash } = heads.get(org)?.head ?? { hash: '' };
    await other.invite(org, 'u-new', 'new@example.org');
    const report = await other.audit.verify(other.f.superuser, org, {
      expectedHead: { seq: heads.get(org)?.head.seq ?? 0, hash },
    });
    expect(report).toMatchObject({ ok: true, head: { seq: (heads.get(org)?.head.seq ?? 0) + 1 } });
  } finally {
    await other.f.close();
  }
}, 120_000);

test('a dump in which one character was changed restores to a log that does not hold', async () => {
  const file = dump('plain', ['--no-privileges']);
  // Without the policies, and without the check that a leaf is that of its record, which would refuse the row.
  const text = readFileSync(file, 'utf8')
    .replace(/^CREATE POLICY [^;]*;$/gm, '')
    .replace(/CONSTRAINT event_leaf CHECK .*$/m, 'CONSTRAINT event_leaf CHECK (true)');
  const rows = text.indexOf('COPY audit.event ');
  const changed = text.slice(rows).replace('"outcome":"success"', '"outcome":"succesS"');
  writeFileSync(`${file}.sql`, text.slice(0, rows) + changed);
  const target = await fresh(server.url);
  spawnSync(join(BINARIES, 'psql'), ['-X', '-q', '-f', `${file}.sql`, target], { encoding: 'utf8' });
  const db = kyselyOf<Tables>(target, 1);
  const classes: string[] = [];
  for (const [org, { head }] of heads) {
    const { findings } = await p.audit.verify(db, org, { expectedHead: head });
    classes.push(...findings.map((finding) => finding.class));
  }
  await db.destroy();
  expect(classes).toEqual(['edited']);
}, 60_000);

test('the server and the tools are those of PostgreSQL 15', async () => {
  const { rows } = await sql<{ server_version: string }>`show server_version`.execute(p.f.superuser);
  expect(rows[0]?.server_version).toMatch(/^15\./);
  expect(run('pg_dump', ['--version'])).toMatch(/ 15\./);
});
