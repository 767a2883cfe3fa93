/** Who reads a package without the repository finds every page that its README leads to, in the tarball. */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pack, unpack } from './package-docs.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const PACKAGES = globSync('packages/*/package.json', { cwd: root }).map((manifest) => dirname(manifest));
const LINK = /\]\(([^)#\s:]+)(?:#[^)\s]*)?\)/g;

// A copy, since other tests read the READMEs meanwhile.
let repository: string;
beforeAll(() => {
  repository = mkdtempSync(join(tmpdir(), 'ringfence-pack-'));
  const copied = (path: string) => !['node_modules', 'dist', 'api'].includes(basename(path));
  for (const part of ['docs', 'README.md', 'SECURITY.md', 'tools/package-docs.ts', ...PACKAGES])
    cpSync(join(root, part), join(repository, part), { recursive: true, filter: copied });
});
afterAll(() => rmSync(repository, { recursive: true }));

/** The unpacked tarball of a package. */
async function packed(name: string): Promise<string> {
  const cwd = join(repository, name);
  const run = promisify(execFile);
  const env = { ...process.env, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) };
  await run('npm', ['pack', '--loglevel=error'], { cwd, env });
  const [tarball = ''] = globSync('*.tgz', { cwd });
  await run('tar', ['-xzf', tarball], { cwd });
  return join(cwd, 'package');
}

test.each(PACKAGES)(
  '%s: no link of its tarball leads nowhere, and packing leaves no trace',
  {
    timeout: 120_000,
  },
  async (name) => {
    const folder = await packed(name);
    const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: folder })];
    const dead: string[] = [];
    const reached = new Set<string>(['README.md']);
    for (const page of pages) {
      for (const [, target = ''] of readFileSync(join(folder, page), 'utf8').matchAll(LINK)) {
        const file = join(dirname(page), target);
        reached.add(file);
        if (file.startsWith('..') || !existsSync(join(folder, file))) dead.push(`${page}: ${target}`);
      }
    }
    expect(dead).toEqual([]);
    expect(pages.length).toBeGreaterThan(5);
    expect(pages.filter((page) => !reached.has(page))).toEqual([]);
    const readme = (at: string) => readFileSync(join(at, name, 'README.md'), 'utf8');
    expect(readme(repository)).toBe(readme(root));
    expect(globSync(['docs', '.README.kept'], { cwd: join(repository, name) })).toEqual([]);
  },
);

test.each(PACKAGES)('%s: what is published exports what the workspace does, without the sources', (name) => {
  const manifest = JSON.parse(readFileSync(join(root, name, 'package.json'), 'utf8')) as {
    exports: Record<string, string | Record<string, string>>;
    publishConfig: { exports: unknown };
  };
  const published = Object.entries(manifest.exports).map(([subpath, target]) => {
    if (typeof target === 'string') return [subpath, target];
    const { '@ringfence/source': _, ...rest } = target;
    return [subpath, rest];
  });
  expect(published.length).toBeGreaterThan(10);
  expect(manifest.publishConfig.exports).toEqual(Object.fromEntries(published));
});

test('a pack that was interrupted is taken back by the next one', () => {
  const folder = join(repository, PACKAGES[0] ?? '');
  const before = readFileSync(join(folder, 'README.md'), 'utf8');
  pack(folder);
  const once = readFileSync(join(folder, 'README.md'), 'utf8');
  pack(folder);
  expect(readFileSync(join(folder, 'README.md'), 'utf8')).toBe(once);
  unpack(folder);
  expect(readFileSync(join(folder, 'README.md'), 'utf8')).toBe(before);
  unpack(folder);
  expect(existsSync(join(folder, 'docs'))).toBe(false);
});
