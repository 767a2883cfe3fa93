/** The quick starts of the packages that need a database run as they stand: setup as the owner, then the app. */
import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, inject, test } from 'vitest';
import { fencesOf, onlyFence } from './doc-snippets.ts';
import { createTestDatabase, type TestDatabase } from './test-database.ts';

const root = new URL('..', import.meta.url);

/** The block under `<!-- name -->` of a page, for the roles of a test's database. */
function block(page: string, name: string, { app }: TestDatabase): string {
  const [, code] =
    new RegExp(`<!-- ${name} -->\\n\`\`\`ts\\n(.*?)\`\`\``, 's').exec(
      readFileSync(new URL(page, root), 'utf8'),
    ) ?? [];
  if (code === undefined) throw new Error(`${page} has no block ${name}`);
  return code
    .replace('create role app ', `alter role ${app} `)
    .replaceAll(" to app'", ` to ${app}'`)
    .replaceAll(' to app`', ` to ${app}\``)
    .replaceAll("appRole: 'app'", `appRole: '${app}'`);
}

/** Runs code below a package, so that it finds what that package may import; gives what it prints. */
async function run(folder: string, code: string, env: Readonly<Record<string, string>>): Promise<string> {
  const file = new URL(`${folder}/quick-start.tmp.ts`, root);
  writeFileSync(file, code);
  try {
    const args = ['--conditions=@ringfence/source', file.pathname];
    return (await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } })).stdout;
  } finally {
    rmSync(file);
  }
}

test('tenancy: what setup prints is all that the front page needs, and the page of the package shows the same', {
  timeout: 120_000,
}, async () => {
  const database = await createTestDatabase(inject('databaseUrl'), 'quick');
  try {
    const setup = block('packages/tenancy/README.md', 'setup.ts', database);
    const printed = await run('packages/tenancy', setup, { OWNER_URL: database.superuserUrl });
    const [, secret = ''] = /^CONTEXT_SECRET=(\S{44})\n$/.exec(printed) ?? [];
    const app = block('packages/tenancy/README.md', 'app.ts', database);
    expect(app).toBe(onlyFence(readFileSync(new URL('README.md', root), 'utf8'), 'ts'));
    const url = new URL(database.superuserUrl);
    url.username = database.app;
    url.password = 'change-me';
    expect(await run('packages/tenancy', app, { APP_URL: url.href, CONTEXT_SECRET: secret })).toBe(
      "[ { body: 'for Acme only' } ]\nno organisation context\n",
    );
    const config = block('packages/tenancy/README.md', 'ringfence.tenancy.config.ts', database);
    const cli = new URL('packages/tenancy/src/cli/main.ts', root).pathname;
    writeFileSync(new URL('packages/tenancy/quick-start-config.tmp.ts', root), config);
    try {
      const env = { ...process.env, OWNER_URL: database.superuserUrl };
      const args = ['--conditions=@ringfence/source', cli, 'probe', '--config', 'quick-start-config.tmp.ts'];
      const cwd = new URL('packages/tenancy', root);
      const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, env });
      expect(stdout).toMatch(/^clean: 1 table, \d+ attacks as /);
    } finally {
      rmSync(new URL('packages/tenancy/quick-start-config.tmp.ts', root));
    }
  } finally {
    await database.drop();
  }
});

test('audit: an event of the quick start is sealed and verified, and its deletion refused', {
  timeout: 120_000,
}, async () => {
  const database = await createTestDatabase(inject('databaseUrl'), 'quick');
  try {
    const [setup, app] = ['setup.ts', 'app.ts'].map((name) =>
      block('packages/audit/README.md', name, database),
    );
    const page = (name: string) => readFileSync(new URL(name, root), 'utf8');
    const [first] = fencesOf(page('packages/audit/README.md'));
    const guide = fencesOf(page('docs/audit-append.md')); // compiled and run by a test of its own
    expect(guide.map(({ code }) => code)).toContain(first?.code);
    await run('packages/audit', setup ?? '', { OWNER_URL: database.superuserUrl });
    const said = [...(app ?? '').matchAll(/^.*console\.log\(.*\/\/ (.*)$/gm)].map(([, line]) => line);
    expect(said).toHaveLength(2);
    const printed = await run('packages/audit', app ?? '', { APP_URL: database.appUrl });
    expect(printed.trimEnd().split('\n')).toEqual(said);
  } finally {
    await database.drop();
  }
});
