import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RULES } from '../src/analyze/finding.ts';
import { painter } from '../src/cli/terminal.ts';
import { policyFromJSON } from '../src/index.ts';
import { CliStage } from './cli-stage.ts';
import { policy } from './model.ts';

let stage: CliStage;
beforeAll(() => {
  stage = new CliStage();
});
afterAll(() => stage.close());

const read = (name: string): string => readFileSync(join(stage.folder, name), 'utf8');

describe('lint', () => {
  test('takes what is declared from a file or from the module, and ends with 1 for an error', async () => {
    const json = await stage.run(['lint', 'policy.json', '--analysis', 'analysis.json', '--json']);
    const module = await stage.run(['lint', 'policy.mjs', '--json']);
    expect([json.code, module.code, json.stderr]).toEqual([1, 1, '']);
    expect(JSON.parse(module.stdout)).toEqual(JSON.parse(json.stdout));
    expect(JSON.parse(json.stdout)).toMatchObject({
      command: 'lint',
      policy: policy.hash,
      counts: { error: 1, warning: 2, note: 2 },
    });
  });

  test('takes which roles one member may hold together', async () => {
    const duties = [{ actions: ['entry.post', 'entry.approve'] }];
    for (const [combinations, errors] of [
      [[], 0],
      ['any', 1],
      [[['bookkeeper', 'controller']], 1],
    ] as const) {
      stage.write('combined.json', { duties, combinations });
      const { stdout } = await stage.run(['lint', 'policy.json', '--analysis', 'combined.json', '--json']);
      expect(JSON.parse(stdout).counts.error > 0).toBe(errors > 0);
    }
    for (const combinations of ['all', ['bookkeeper']]) {
      stage.write('combined.json', { duties, combinations });
      const { code, stderr } = await stage.run(['lint', 'policy.json', '--analysis', 'combined.json']);
      expect([code, stderr]).toEqual([2, expect.stringMatching(/^cli.file: .*combinations/)]);
    }
  });

  test('ends with 0 for warnings, and with 1 when they are taken strictly', async () => {
    const lax = await stage.run(['lint', 'policy.json']);
    expect([lax.code, lax.stdout.includes('\u001b')]).toEqual([0, false]);
    expect(lax.stdout).toContain('warning  dead-grant  grant "owner-purges" never decides');
    expect((await stage.run(['lint', 'policy.json', '--strict'])).code).toBe(1);
  });

  test('writes SARIF whose results name rules of the log and a place in the file', async () => {
    await stage.run(['lint', 'policy.mjs', '--sarif', 'out.sarif']);
    const log = JSON.parse(read('out.sarif'));
    const [{ results, tool }] = log.runs;
    expect([log.version, results.length]).toEqual(['2.1.0', 5]);
    const ids = tool.driver.rules.map(({ id }: { id: string }) => id);
    expect(ids).toEqual([...Object.keys(RULES), 'access-opened', 'access-closed']);
    for (const { locations, ruleId, ruleIndex } of results) {
      expect(ids[ruleIndex]).toBe(ruleId);
      expect(locations[0].physicalLocation.artifactLocation.uri).toBe('policy.mjs');
    }
  });

  test('writes the matrix', async () => {
    await stage.run(['lint', 'policy.json', '--matrix', 'out.html']);
    expect(read('out.html')).toMatch(/^<!doctype html>/);
  });
});

describe('diff', () => {
  test('is 0 for policies that decide alike, else 1 with what is opened first', async () => {
    expect(await stage.run(['diff', 'policy.json', 'policy.mjs'])).toMatchObject({ code: 0 });
    const { code, stdout } = await stage.run(['diff', 'policy.json', 'proposed.json', '--sarif', 'd.sarif']);
    expect(code).toBe(1);
    expect(stdout).toContain('+ deny → allow  entry.post  bookkeeper, controller');
    const [{ results }] = JSON.parse(read('d.sarif')).runs;
    expect(results.map(({ level, ruleId }: never) => [level, ruleId])).toEqual([['error', 'access-opened']]);
    const back = await stage.run(['diff', 'proposed.json', 'policy.json', '--json']);
    expect(JSON.parse(back.stdout).changes).toMatchObject([{ before: 'allow', after: 'deny' }]);
  });
});

describe('shrink', () => {
  test('writes the proven policy, which another run finds nothing to take from', async () => {
    const { code, stdout } = await stage.run([
      'shrink',
      'policy.json',
      'records.ndjson',
      '--out',
      'small.json',
    ]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/proven: 480 allows replayed, 0 under an unchanged grant, 0 lost; nothing new/);
    const small = policyFromJSON(JSON.parse(read('small.json')));
    expect(stdout).toContain(small.hash);
    const other = await stage.run(['shrink', 'small.json', 'records.ndjson']);
    expect([other.code, other.stderr]).toEqual([
      2,
      expect.stringContaining('authz.invalid_record: none of 480 records is an allow of policy'),
    ]);
  });

  test('reads bare records from standard input', async () => {
    const lines = read('records.ndjson').trimEnd().split('\n');
    const bare = lines.map((line) => JSON.stringify(JSON.parse(line).record)).join('\n');
    const { stdout } = await stage.run(['shrink', 'policy.json', '-', '--json'], bare);
    expect(JSON.parse(stdout)).toMatchObject({ proof: { holds: true, kept: 480, replayed: 0 } });
  });

  test('never writes over the policy, and not for a broken line', async () => {
    const before = read('policy.json');
    const own = ['shrink', 'policy.json', 'records.ndjson', '--out', './policy.json'];
    expect(await stage.run(own)).toMatchObject({ code: 2, stdout: '' });
    expect(read('policy.json')).toBe(before);
    const broken = await stage.run(['shrink', 'policy.json', '-', '--out', 'none.json'], '{"version":1');
    expect([broken.code, broken.stderr]).toEqual([2, expect.stringMatching(/^cli.file: - line 1: /)]);
    expect(existsSync(join(stage.folder, 'none.json'))).toBe(false);
  });
});

describe('usage', () => {
  test.each<[string, readonly string[], RegExp]>([
    ['nothing', [], /^cli.usage: no command given/],
    ['an unknown command', ['toString'], /^cli.usage: no such command: toString/],
    ['an unknown option', ['lint', 'policy.json', '--fix'], /^cli.usage: Unknown option/],
    ['a missing argument', ['diff', 'policy.json'], /^cli.usage: needs the policy before and/],
    ['an argument too many', ['lint', 'policy.json', 'x'], /^cli.usage: needs a policy/],
    ['a file that is not there', ['lint', 'no.json'], /^cli.file: no.json cannot be loaded/],
    ['records that are not there', ['shrink', 'policy.json', 'no.ndjson'], /^cli.file: no.ndjson: ENOENT/],
    ['a folder to write to', ['lint', 'policy.json', '--matrix', '.'], /^cli.file: /],
    ['a policy that is none', ['lint', 'analysis.json'], /^authz.invalid_policy: /],
    [
      'declarations that are none',
      ['lint', 'policy.json', '--analysis', 'policy.json'],
      /^cli.file: .*`analysis`/,
    ],
    ['a bad number', ['shrink', 'policy.json', '-', '--narrow-from', '1e3'], /^cli.usage: --narrow-from/],
  ])('%s is 2, a code and one line', async (_, args, message) => {
    const { code, stderr, stdout } = await stage.run(args);
    expect([code, stdout, stderr.split('\n').length]).toEqual([2, '', 2]);
    expect(stderr).toMatch(message);
    const { error } = JSON.parse((await stage.run([...args, '--json'])).stdout);
    expect(`${error.code}: ${error.message}`).toMatch(message);
  });

  test('what a file says cannot steer the terminal', async () => {
    stage.write('evil.json', { ...policy.toJSON(), '\u001b[2Jx': 1 });
    const { stderr } = await stage.run(['lint', 'evil.json']);
    expect(stderr).toContain('\\u{1b}');
    expect(stderr).not.toContain('\u001b');
  });

  test('colour is for terminals that want it', () => {
    const tty = { isTTY: true } as never;
    expect(painter(tty, {})('red', 'x')).toBe('\u001b[31mx\u001b[0m');
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) expect(painter(tty, env)('red', 'x')).toBe('x');
    expect(painter({} as never, {})('red', 'x')).toBe('x');
  });
});
