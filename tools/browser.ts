/**
 * Runs a module of this repository in Debian's Chromium: its TypeScript is served with the types taken out, unbundled, so an
 * import that a browser does not have fails there as it would for a user.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire, stripTypeScriptTypes } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { within } from './within.ts';

const CHROMIUM = '/usr/bin/chromium';
const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** What the page runs, on its own thread or a worker's. */
const start = (module: string) => `
  const tell = (told) => fetch('/told', { method: 'POST', body: JSON.stringify(told) });
  try {
    const { default: run } = await import('${module}');
    await tell({ value: await run() });
  } catch (error) {
    await tell({ error: String(error?.stack ?? error) });
  }`;
const PAGES = {
  page: `<!doctype html><script type="module" src="/start.js"></script>`,
  worker: `<!doctype html><script>new Worker('/start.js', { type: 'module' })</script>`,
};
/** Without these the browser looks for its maker's hosts, and as root for a sandbox. */
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--disable-sync',
  '--disable-component-update',
  '--disable-background-networking',
  '--no-first-run',
];

/** What to run, and where. */
export interface BrowserRun {
  /** Module whose default export is run: `() => Promise<a value that JSON can hold>`. */
  readonly module: URL;
  /** What the server it is loaded from answers besides the repository's modules, by path. */
  readonly files: ReadonlyMap<string, Uint8Array | string>;
  /** The page's own thread, or a worker. */
  readonly thread: keyof typeof PAGES;
  /** Name under which the page is loaded, over http. Default: the loopback address, which counts as secure. */
  readonly host?: string;
}

/** Runs it and returns what it returned; an error in the browser is thrown here with its text. */
export async function runInBrowser({ module, files, thread, host }: BrowserRun): Promise<unknown> {
  if (!existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is missing: apt-get install chromium`);
  const answers = new Map(files).set('/start.js', start(pathOf(fileURLToPath(module))));
  const server = createServer((request, response) => {
    const { url = '/' } = request;
    if (url === '/told') {
      text(request).then((told) => server.emit('told', told));
      response.end();
    } else {
      const type = url === `/${thread}` ? 'text/html' : 'text/javascript';
      const body = type === 'text/html' ? PAGES[thread] : (answers.get(url) ?? moduleAt(url));
      response.writeHead(body === undefined ? 404 : 200, { 'content-type': type }).end(body);
    }
  });
  const told = once(server, 'told').then(([json]) => JSON.parse(json) as { error?: string; value?: unknown });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const folder = await mkdtemp(join(tmpdir(), 'ringfence-browser-'));
  const page = `http://${host ?? '127.0.0.1'}:${(server.address() as AddressInfo).port}/${thread}`;
  const flags = [...FLAGS, `--user-data-dir=${folder}`, `--host-resolver-rules=MAP ${host} 127.0.0.1`];
  const browser = spawn(CHROMIUM, [...flags, page], { stdio: 'ignore' });
  const gone = once(browser, 'exit');
  const ended = gone.then(([code]) => ({ error: `chromium ended by itself: ${code}`, value: undefined }));
  try {
    const { error, value } = await within('the module runs', Promise.race([told, ended]), 90_000);
    if (error !== undefined) throw new Error(`in the browser: ${error}`);
    return value;
  } finally {
    browser.kill('SIGKILL');
    await gone;
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

const pathOf = (file: string) => `/${relative(ROOT, file).split(sep).join('/')}`;

/** A module of the repository or of a package from npm, with its imports by path. Those of Node stay, and fail. */
function moduleAt(path: string): string | undefined {
  const file = join(ROOT, path);
  if (!existsSync(file)) return undefined;
  const source = readFileSync(file, 'utf8');
  const script = file.endsWith('.ts') ? stripTypeScriptTypes(source) : source;
  const { resolve } = createRequire(file);
  return script.replace(
    /\b(from|import) '((?!node:)[^'./][^']*)'/g,
    (_, word: string, name: string) => `${word} '${pathOf(resolve(name))}'`,
  );
}
