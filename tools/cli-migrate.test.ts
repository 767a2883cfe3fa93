/** `migrate --print` of the four command lines: what is printed runs as it stands, each migration whole or not at all. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import pg from 'pg';
import { expect, inject, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from './test-database.ts';

const root = new URL('..', import.meta.url);

async function printed(name: string, ...args: string[]) {
  const main = new URL(`packages/${name}/src/cli/main.ts`, root).pathname;
  const all = ['--conditions=@ringfence/source', main, 'migrate', ...args];
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, all);
    return { code: 0, stdout, stderr };
  } catch (error) {
    return error as { readonly code: number; readonly stdout: string; readonly stderr: string };
  }
}

/** Options that name every role there is, and how many migrations they make. */
const EVERY: Readonly<Record<string, (database: TestDatabase) => readonly string[]>> = {
  tenancy: ({ queue }) => ['--jobs', '--break-glass-role', queue],
  crypto: ({ copier }) => ['--operator-role', copier],
  audit: ({ checkpointer, copier, retention }) => [
    ...['--checkpointer-role', checkpointer, '--copier-role', copier],
    ...['--retention-role', retention, '--retention-days', '2557'],
  ],
  authz: ({ keys }) => ['--system-role', keys],
};

const LONG = { timeout: 120_000 };

test.each(Object.keys(EVERY))(
  '%s: the SQL runs as its owner, and --json has the same',
  LONG,
  async (name) => {
    const database = await createTestDatabase(inject('databaseUrl'), `migrate_${name}`);
    const owner = new pg.Client({ connectionString: database.ownerUrl });
    await owner.connect();
    try {
      const args = ['--print', '--app-role', database.app, ...(EVERY[name]?.(database) ?? [])];
      const { code, stdout, stderr } = await printed(name, ...args);
      expect([code, stderr]).toEqual([0, '']);
      expect(stdout).toMatch(/^-- \d{4}_\w+\nbegin;\n/);
      expect(stdout).toMatch(/;\ncommit;\n$/);
      await owner.query(stdout);
      const { rows } = await owner.query(
        "select count(*)::int as n from pg_proc where pronamespace = to_regnamespace($1) and has_function_privilege($2, oid, 'execute')",
        [name, database.app],
      );
      expect(rows[0].n > 0 || name === 'crypto').toBe(true);
      const { migrations } = JSON.parse((await printed(name, ...args, '--json')).stdout) as {
        migrations: readonly { readonly name: string; readonly up: string }[];
      };
      expect(
        migrations.map(({ name: step, up }) => `-- ${step}\nbegin;\n${up.trim()}\ncommit;\n`).join(''),
      ).toBe(stdout);
    } finally {
      await owner.end();
      await database.drop();
    }
  },
);

test.each(Object.keys(EVERY))(
  '%s: without --print, without a role or with one that is no plain name nothing is printed',
  LONG,
  async (name) => {
    const told = await Promise.all([
      printed(name, '--app-role', 'app'),
      printed(name, '--print'),
      printed(name, '--print', '--app-role', 'App"; drop schema public; --'),
    ]);
    for (const { code, stdout, stderr } of told) {
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(/^cli\.usage: [^\n]* \(--help shows how\)\n$/);
    }
    expect(told[0].stderr).toContain('migrate only prints: say --print, and run the SQL as the owner');
    expect(told[1].stderr).toContain('needs --app-role');
  },
);
