import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import pg from 'pg';
import { expect, test } from 'vitest';
import { startEmbedded } from './postgres.ts';

test('an embedded server answers on loopback, is PostgreSQL 18, and leaves no folder behind', async () => {
  const server = await startEmbedded();
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const { rows } = await client.query('show server_version_num');
  expect(Number(rows[0].server_version_num)).toBeGreaterThanOrEqual(180_000);
  const folder = dirname((await client.query('show data_directory')).rows[0].data_directory);
  await client.end();
  expect(existsSync(folder)).toBe(true);
  await server.stop();
  expect(existsSync(folder)).toBe(false);
});
