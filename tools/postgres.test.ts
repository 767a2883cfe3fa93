import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import pg from 'pg';
import { expect, test } from 'vitest';
import { startEmbedded } from './postgres.ts';

test('an embedded server answers on loopback, is PostgreSQL 18, and leaves no folder behind', async () => {
  const before = new Set(readdirSync(tmpdir()));
  const server = await startEmbedded();
  const mine = readdirSync(tmpdir()).filter((name) => name.startsWith('ringfence-pg-') && !before.has(name));
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const { rows } = await client.query('show server_version_num');
  expect(Number(rows[0].server_version_num)).toBeGreaterThanOrEqual(180_000);
  await client.end();
  await server.stop();
  expect(mine).toHaveLength(1);
  expect(existsSync(`${tmpdir()}/${mine[0]}`)).toBe(false);
});
