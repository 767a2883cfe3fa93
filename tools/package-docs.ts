/**
 * The pages that a package's README links to travel in its tarball: `pack` (prepack) copies them into the package's `docs` and points the
 * links there, `unpack` (postpack) takes both back. A page's link to what no tarball holds becomes words.
 * Invariant: what is packed has no relative link that leads nowhere; the pages in the repository are not touched.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, normalize, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** The README as it stands in the repository, while a tarball is made. */
const KEPT = '.README.kept';
const DOCS = 'docs';
/** Text and target of a link to a file, with the heading; other sites are none. */
const LINK = /\[([^\]]*)\]\(([^)#\s:]+)(#[^)\s]*)?\)/g;

/** Makes a package's folder ready to be packed. */
export function pack(folder: string): void {
  unpack(folder); // what a pack that was interrupted left
  const root = resolve(folder, '../..');
  const { files } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { files: string[] };
  const shipped = files.filter((name) => name !== DOCS).map((name) => join(folder, name));
  const places = new Map<string, string>([[join(folder, 'README.md'), join(folder, 'README.md')]]);
  cpSync(join(folder, 'README.md'), join(folder, KEPT));
  for (const [page, place] of places) {
    const text = readFileSync(page === place ? join(folder, KEPT) : page, 'utf8');
    const linked = text.replace(LINK, (link, words: string, target: string, heading = '') => {
      const file = normalize(join(dirname(page), target));
      if (
        file === join(folder, 'README.md') ||
        shipped.some((part) => file === part || file.startsWith(`${part}/`))
      )
        return `[${words}](${relative(dirname(place), file)}${heading})`;
      if (!file.startsWith(`${join(root, DOCS)}/`)) return outside(words, relative(root, file));
      if (!statSync(file).isFile()) throw new Error(`${page} links to a folder: ${link}`);
      const copy = join(folder, DOCS, relative(join(root, DOCS), file));
      places.set(file, copy);
      return `[${words}](${relative(dirname(place), copy)}${heading})`;
    });
    mkdirSync(dirname(place), { recursive: true });
    writeFileSync(place, linked);
  }
}

/** A link that leads out of the tarball, in words. */
function outside(words: string, path: string): string {
  return words.includes(path) ? `${words} (in the repository)` : `${words} (\`${path}\` in the repository)`;
}

/** Takes back what `pack` did. */
export function unpack(folder: string): void {
  if (!existsSync(join(folder, KEPT))) return;
  renameSync(join(folder, KEPT), join(folder, 'README.md'));
  rmSync(join(folder, DOCS), { recursive: true, force: true });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [, , step] = process.argv;
  if (step !== 'pack' && step !== 'unpack') throw new TypeError('the step is pack or unpack');
  (step === 'pack' ? pack : unpack)(process.cwd());
}
