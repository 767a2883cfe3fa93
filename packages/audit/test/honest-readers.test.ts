/** An honest log verifies whoever reads it: any driver setting, any plugin of Kysely, any setting of the session. */
import {
  CamelCasePlugin,
  CompiledQuery,
  Kysely,
  type KyselyPlugin,
  ParseJSONResultsPlugin,
  PostgresDialect,
} from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import type { QueryExecutor } from '../src/executor.ts';
import { exportLog, verifyExport } from '../src/index.ts';
import { type Fixture, fixture, ORG_A } from './fixture.ts';

let f: Fixture;
const closed: (() => Promise<void>)[] = [];

const TEXTS = [
  'plain',
  '{"a":1}',
  '[1]',
  '"\\\b\f\n\r\t\u0001\u007f',
  '\u2028\ufeff\uffff😀é',
  '2026-03-03T10:11:12Z',
  '9007199254740993',
  '\\x00ff',
];

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  for (const text of TEXTS) {
    await f.append(ORG_A, f.audit.prepare('note.taken', { outcome: 'success', data: { text } }), {
      actor: text.replaceAll('\u0001', ''),
    });
  }
});
afterAll(async () => {
  for (const close of closed) await close();
  await f.close();
});

function kysely(config: pg.PoolConfig, plugins: readonly KyselyPlugin[] = []): QueryExecutor {
  const pool = new pg.Pool({ connectionString: f.database.superuserUrl, max: 1, ...config });
  pool.on('error', () => {});
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }), plugins: [...plugins] });
  closed.push(() => db.destroy());
  return db;
}

/** A driver without Kysely around it. */
function plain(config: pg.PoolConfig): QueryExecutor {
  const pool = new pg.Pool({ connectionString: f.database.superuserUrl, max: 1, ...config });
  pool.on('error', () => {});
  closed.push(() => pool.end());
  return {
    isTransaction: false,
    executeQuery: async ({ sql, parameters }) => ({
      rows: (await pool.query({ text: sql, values: [...parameters] })).rows,
    }),
  };
}

const bigIntegers = {
  getTypeParser: (oid: number, format?: string) =>
    oid === 20 ? BigInt : pg.types.getTypeParser(oid, format as 'text'),
};

const READERS: readonly [string, () => QueryExecutor][] = [
  ['Kysely over pg', () => kysely({})],
  ['names in camel case', () => kysely({}, [new CamelCasePlugin()])],
  ['JSON parsed in results', () => kysely({}, [new ParseJSONResultsPlugin()])],
  ['bigint as BigInt', () => kysely({ types: bigIntegers as never })],
  ['pg alone', () => plain({})],
  ['pg alone, binary results', () => plain({ binary: true } as pg.PoolConfig)],
  ...[
    '-c TimeZone=Asia/Kathmandu -c DateStyle=German',
    '-c bytea_output=escape -c extra_float_digits=-15',
    '-c IntervalStyle=sql_standard -c lc_messages=C -c standard_conforming_strings=off',
    '-c search_path=pg_temp -c xmlbinary=hex -c quote_all_identifiers=on',
    '-c default_transaction_isolation=serializable -c default_transaction_read_only=on',
    '-c plan_cache_mode=force_generic_plan -c enable_nestloop=off -c enable_indexscan=off',
  ].map((options): [string, () => QueryExecutor] => [options, () => kysely({ options })]),
];

test.each(READERS)('verifies and exports the same: %s', async (_, reader) => {
  const db = reader();
  const report = await f.audit.verify(db, ORG_A, { pageSize: 3 });
  expect(report).toMatchObject({ ok: true, findings: [], checked: TEXTS.length });
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportLog(db, ORG_A, { pageSize: 3 })) chunks.push(chunk);
  expect(await verifyExport(chunks, { expectedHead: report.head })).toMatchObject({ ok: true, findings: [] });
});

test('a session whose texts are not UTF-8 is told so, and suspects nobody', async () => {
  const db = kysely({});
  await db.executeQuery(CompiledQuery.raw(`set client_encoding = 'LATIN1'`));
  await expect(f.audit.verify(db, ORG_A)).rejects.toThrow(/client_encoding is LATIN1/);
  await expect(exportLog(db, ORG_A).next()).rejects.toThrow(/client_encoding is LATIN1/);
});
