/** Every page is reached from the README by following links, and no link leads nowhere. */
import { globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const PACKAGES = globSync('packages/*/README.md', { cwd: root });
/** The target of a link to a file; headings and other sites are none. */
const LINK = /\]\(([^)#\s:]+)(?:#[^)\s]*)?\)/g;

/** Files that a page links to; a folder stands for the pages in it. */
function linked(page: string): string[] {
  return [...readFileSync(join(root, page), 'utf8').matchAll(LINK)].flatMap(([, target = '']) => {
    const path = normalize(join(dirname(page), target));
    const kind = statSync(join(root, path), { throwIfNoEntry: false });
    if (kind?.isDirectory() === true) return globSync(`${path}/*.md`, { cwd: root });
    return kind === undefined ? [`missing: ${path}, linked from ${page}`] : [path];
  });
}

test('every guide and format is reached from the README', () => {
  const seen = new Set<string>();
  const missing: string[] = [];
  for (const waiting = ['README.md', ...PACKAGES]; waiting.length > 0; ) {
    const page = waiting.pop() ?? '';
    if (page.startsWith('missing: ')) missing.push(page);
    else if (page.endsWith('.md') && !seen.has(page)) {
      seen.add(page);
      waiting.push(...linked(page));
    }
  }
  expect(missing).toEqual([]);
  const written = (page: string) => !page.startsWith(join('docs', 'api')); // the reference is generated, and not kept
  const pages = globSync('docs/**/*.md', { cwd: root }).filter(written);
  expect(pages.length).toBeGreaterThan(20);
  expect(pages.filter((page) => !seen.has(page))).toEqual([]);
});

/** Anchors that GitHub gives the headings of a page; a repeated heading gets a number. */
function anchors(page: string): Set<string> {
  const text = readFileSync(join(root, page), 'utf8').replaceAll(/^```.*?^```/gms, '');
  const found = new Set<string>();
  for (const [, heading = ''] of text.matchAll(/^#+ (.+)$/gm)) {
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = plain
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .trim()
      .replaceAll(' ', '-');
    let name = anchor;
    for (let nth = 1; found.has(name); nth++) name = `${anchor}-${nth}`;
    found.add(name);
  }
  return found;
}

test('every link to a heading meets one', () => {
  const pages = globSync(['*.md', 'docs/**/*.md', '{packages,examples}/*/README.md'], { cwd: root });
  const links = pages
    .filter((page) => !page.startsWith(join('docs', 'api')))
    .flatMap((page) =>
      [...readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^)#\s:]*)#([^)\s]+)\)/g)].map(
        ([, target = '', anchor = '']) => ({
          page: target === '' ? page : normalize(join(dirname(page), target)),
          anchor,
        }),
      ),
    );
  expect(links.length).toBeGreaterThan(50);
  const lost = links.filter(({ page, anchor }) => page.endsWith('.md') && !anchors(page).has(anchor));
  expect(lost).toEqual([]);
});

test('every file that the threat model names is there', () => {
  const sources = globSync('{packages,examples}/*/{src,test,integration}/**', { cwd: root });
  const [held = ''] = readFileSync(join(root, 'docs/threat-model.md'), 'utf8').split('## Not covered');
  // Names in brackets are functions, `pnpm …` is a command.
  const named = [...held.replaceAll(/\([^)]*\)/g, '').matchAll(/`([^`]+)`/g)].flatMap(([, name = '']) =>
    name.includes(' ') || name === 'packages/' ? [] : [name],
  );
  expect(named.length).toBeGreaterThan(100);
  const isThere = (name: string) => {
    const pattern = name.replaceAll('.', '\\.').replaceAll('*', '[^/]*');
    return sources.some((path) => new RegExp(`(?:^|/)${pattern}(?:$|[./])`).test(path));
  };
  expect(named.filter((name) => !isThere(name))).toEqual([]);
});
