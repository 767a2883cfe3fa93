import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { installContextKey, tenancyMigrations } from '@ringfence/tenancy/migrations';
import { orgTablePolicy } from '@ringfence/tenancy/policies';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { expect, inject, test } from 'vitest';
import { onlyFence } from './doc-snippets.ts';
import { createTestDatabase } from './test-database.ts';

const root = new URL('..', import.meta.url);
const readme = readFileSync(new URL('README.md', root), 'utf8');
const block = onlyFence(readme, 'ts');

test('the block of the README has at most 20 lines, runs, and fails closed', async () => {
  expect(block.trim().split('\n').length).toBeLessThanOrEqual(20);
  const database = await createTestDatabase(inject('databaseUrl'), 'readme');
  const pool = new pg.Pool({ connectionString: database.ownerUrl, max: 1 });
  const owner = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  const secret = new Uint8Array(randomBytes(32));
  for (const { up } of tenancyMigrations({ appRole: database.app, signedContext: true })) {
    await sql.raw(up).execute(owner);
  }
  await installContextKey(owner, { id: 'k1', secret });
  await sql
    .raw(`create schema app; grant usage on schema app to ${database.app};
      create table app.note (org_id uuid, id text, body text, primary key (org_id, id));
      ${orgTablePolicy({ table: 'app.note', appRole: database.app })}`)
    .execute(owner);
  await owner.destroy();
  const file = new URL('tools/readme-block.tmp.ts', root);
  writeFileSync(file, block);
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--conditions=@ringfence/source', file.pathname],
      {
        env: {
          ...process.env,
          APP_URL: database.appUrl,
          CONTEXT_SECRET: Buffer.from(secret).toString('base64'),
        },
      },
    );
    expect(stdout).toBe("[ { body: 'for Acme only' } ]\nno organisation context\n");
  } finally {
    rmSync(file);
    await database.drop();
  }
});

test('the commands of the README name the pinned pnpm', () => {
  const { packageManager } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
  const named = [...readme.matchAll(/npx -y (pnpm@[\d.]+)/g)].map((match) => match[1]);
  expect(named.length).toBeGreaterThan(0);
  expect(new Set(named)).toEqual(new Set([packageManager]));
});
