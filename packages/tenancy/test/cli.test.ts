import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Kysely, sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { installContextKey } from '../src/migrations/index.ts';
import { policySql } from '../src/policies/index.ts';
import { type GoldenDatabase, goldenDatabase } from './policies-setup.ts';

const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const SETUP = new URL('./policies-setup.ts', import.meta.url).href;
let golden: GoldenDatabase;
let folder: string;

beforeAll(async () => {
  golden = await goldenDatabase(inject('databaseUrl'));
  await installContextKey(golden.owner as Kysely<unknown>, {
    id: 'k1',
    secret: new Uint8Array(randomBytes(32)),
  });
  folder = mkdtempSync(join(tmpdir(), 'tenancy-cli-'));
  configure('ringfence.tenancy.config.ts', golden.database.ownerUrl);
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await golden.close();
});

function configure(name: string, url: string): void {
  writeFileSync(
    join(folder, name),
    `import { goldenSchema } from '${SETUP}';
    export const config = { schema: goldenSchema('${golden.database.app}'), connectionString: '${url}' };`,
  );
}

function cli(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const child = spawnSync(process.execPath, ['--conditions=@ringfence/source', MAIN, ...args], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { code: child.status, stdout: child.stdout, stderr: child.stderr };
}

/** Runs with a statement in effect, which is undone. */
async function with_(statement: string, undo: string, run: () => void): Promise<void> {
  await sql.raw(statement).execute(golden.owner);
  try {
    run();
  } finally {
    await sql.raw(undo).execute(golden.owner);
  }
}

const UNFORCE = 'alter table app.note no force row level security';
const FORCE = 'alter table app.note force row level security';

describe('policies', () => {
  test('says that the schema is covered, and exits with 0', () => {
    expect(cli('policies')).toEqual({
      code: 0,
      stdout: 'covered: 4 org-owned and 1 global tables\n',
      stderr: '',
    });
    expect(cli('policies', '--json').stdout).toBe('{"command":"policies","differences":[]}\n');
    expect(cli('policies', '--steps').code).toBe(0);
  });

  test('prints the generated SQL', () => {
    expect(cli('policies', '--print')).toEqual({ code: 0, stdout: policySql(golden.schema), stderr: '' });
  });

  test('shows a difference and exits with 1', () =>
    with_(UNFORCE, FORCE, () => {
      const { code, stdout } = cli('policies', '--diff');
      expect(code).toBe(1);
      expect(stdout).toBe(
        'row_security  app.note\n  expected  enabled and forced\n  found     enabled, not forced\n  mended by put policy and grants in place in one moment\n',
      );
      const json = cli('policies', '--json');
      expect(json.code).toBe(1);
      expect(JSON.parse(json.stdout).differences).toHaveLength(1);
    }));

  test('shows the steps with their locks and exits with 1', () =>
    with_(UNFORCE, FORCE, () => {
      const { code, stdout } = cli('policies', '--steps');
      expect(code).toBe(1);
      expect(stdout).toContain(
        '-- 1. app.note: put policy and grants in place in one moment (ACCESS EXCLUSIVE for a moment; in a transaction)\n',
      );
    }));

  test('a name in the catalog cannot steer the terminal', () =>
    with_('create table app."\u001b[2J" (n int)', 'drop table app."\u001b[2J"', () => {
      const { stdout } = cli('policies');
      expect(stdout).toContain('unclassified  app.\\u{1b}[2J');
      expect(stdout).not.toContain('\u001b');
    }));

  test('wrong usage exits with 2', () => {
    for (const args of [
      [],
      ['nothing'],
      ['policies', '--print', '--steps'],
      ['policies', 'more'],
      ['policies', '--wrong'],
      ['policies', '--config', 'none.ts'],
    ]) {
      const { code, stdout, stderr } = cli(...args);
      expect(code).toBe(2);
      expect(stdout).toBe('');
      expect(stderr).toMatch(/^cli\.(usage|config): [^\n]+\n$/);
    }
    expect(cli('--help').code).toBe(0);
  });

  test('a configuration that is none exits with 2', () => {
    for (const text of [
      '',
      'export default {}',
      'export default { schema: { org: {} } }',
      'throw new Error("broken")',
    ]) {
      writeFileSync(join(folder, 'bad.ts'), text);
      expect(cli('policies', '--config', 'bad.ts').stderr).toMatch(/^cli\.config: /);
    }
  });

  test('a database that does not answer exits with 2, as one JSON document when asked', () => {
    configure('nobody.ts', 'postgres://nobody@127.0.0.1:1/none');
    const { code, stdout } = cli('policies', '--json', '--config', 'nobody.ts');
    expect(code).toBe(2);
    expect(JSON.parse(stdout).error.code).toBe('cli.database');
  });
});

describe('doctor', () => {
  test('exits with 0 on a sound schema, and with 1 when row-level security is not forced', async () => {
    expect(cli('doctor')).toMatchObject({ code: 0, stderr: '' });
    await with_(UNFORCE, FORCE, () => {
      const { code, stdout } = cli('doctor');
      expect(code).toBe(1);
      expect(stdout).toContain('app.note');
      const json = JSON.parse(cli('doctor', '--json').stdout);
      expect(json.findings[0]).toMatchObject({ object: 'app.note', level: 'error' });
    });
  });

  test('a warning counts when strict', () =>
    with_(
      'alter table app.note alter column org_id drop default',
      'alter table app.note alter column org_id set default tenancy.org_id()',
      () => {
        expect(cli('doctor').code).toBe(0);
        expect(cli('doctor', '--strict').code).toBe(1);
      },
    ));

  test('writes SARIF beside the report, and exits with 2 when it cannot', { timeout: 120_000 }, async () => {
    const written = () => JSON.parse(readFileSync(join(folder, 'doctor.sarif'), 'utf8'));
    const clean = cli('doctor');
    expect(cli('doctor', '--sarif', 'doctor.sarif')).toEqual(clean);
    await with_(UNFORCE, FORCE, () => {
      const { code, stdout } = cli('doctor', '--json', '--sarif', 'doctor.sarif');
      expect(code).toBe(1);
      const rules = JSON.parse(stdout).findings.map(({ rule }: { rule: string }) => rule);
      expect(rules.length).toBeGreaterThan(0);
      const { version, runs } = written();
      expect(version).toBe('2.1.0');
      expect(runs[0].results.map(({ ruleId }: { ruleId: string }) => ruleId)).toEqual(rules);
      // Code scanning shows what lies in a file.
      expect(runs[0].results[0].locations[0].physicalLocation.artifactLocation.uri).toBe(
        'ringfence.tenancy.config.ts',
      );
    });
    expect(cli('doctor', '--sarif', 'no-folder/doctor.sarif')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^cli\.file: ENOENT/),
    });
  });
});

describe('probe', () => {
  test('exits with 0 when nothing crosses, and with 1 when the app role may truncate', async () => {
    configure('superuser.ts', golden.database.superuserUrl);
    const probe = (...more: string[]) => cli('probe', '--config', 'superuser.ts', ...more);
    const clean = probe('--json');
    expect(JSON.parse(clean.stdout)).toMatchObject({ command: 'probe', clean: true });
    expect(clean.code).toBe(0);
    const app = golden.database.app;
    await with_(`grant truncate on app.note to ${app}`, `revoke truncate on app.note from ${app}`, () => {
      const { code, stdout } = probe();
      expect(code).toBe(1);
      expect(stdout).toContain('app.note: truncate: the app role may truncate');
    });
  });

  test('a connection that is lost half way exits with 2, as one JSON document and without a stack', () =>
    with_(
      `create function app.ends() returns trigger language plpgsql as $$ begin
         perform pg_terminate_backend(pg_backend_pid()); return new; end $$;
       create trigger ends before insert on app.note for each row execute function app.ends()`,
      'drop trigger ends on app.note; drop function app.ends',
      () => {
        configure('superuser.ts', golden.database.superuserUrl);
        const { code, stdout, stderr } = cli('probe', '--json', '--config', 'superuser.ts');
        expect(code).toBe(2);
        expect(JSON.parse(stdout).error.message).not.toBe('');
        expect(stderr).toMatch(/^cli\.unexpected: .*\n$/);
      },
    ));

  test('a name in the catalog cannot steer the terminal, nor pass for a line of the report', () =>
    with_(
      `alter table app.note add constraint "a\u001b[2J\nclean: 1 table" unique (id)`,
      `alter table app.note drop constraint "a\u001b[2J\nclean: 1 table"`,
      () => {
        configure('superuser.ts', golden.database.superuserUrl);
        const { code, stdout } = cli('probe', '--config', 'superuser.ts');
        expect(code).toBe(1);
        expect(stdout).toContain('(a\\u{1b}[2J\\u{a}clean: 1 table)');
        expect(stdout).not.toContain('\u001b');
        expect(stdout).not.toMatch(/^clean/m);
      },
    ));
});
