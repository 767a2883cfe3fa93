/** What pages say in code is there: names, imports, flags, subpaths; and every block of TypeScript compiles. */
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { fencesOf } from './doc-snippets.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const PACKAGES = ['tenancy', 'crypto', 'audit', 'authz'];
const PAGES = globSync(['*.md', 'docs/**/*.md', '{packages,examples}/*/README.md'], { cwd: root }).filter(
  (page) => !page.startsWith(join('docs', 'api')), // generated
);
const blocksOf = (page: string) => fencesOf(read(page)).filter(({ language }) => language === 'ts');

/** Entry file of each subpath of a package. */
function entriesOf(name: string): Map<string, string> {
  const { exports } = JSON.parse(read(`packages/${name}/package.json`)) as {
    exports: Record<string, { '@ringfence/source': string }>;
  };
  const subpaths = Object.entries(exports).filter(([subpath]) => subpath !== './package.json');
  return new Map(
    subpaths.map(([subpath, target]) => [subpath, join(root, 'packages', name, target['@ringfence/source'])]),
  );
}

const LONG = { timeout: 120_000 };

test('every name that the code of a page takes from a package is imported on it', LONG, async () => {
  const owners = new Map<string, string[]>();
  for (const name of PACKAGES) {
    for (const [subpath, entry] of entriesOf(name)) {
      const specifier = `@ringfence/${name}${subpath.slice(1)}`;
      for (const exported of Object.keys((await import(entry)) as object))
        owners.set(exported, [...(owners.get(exported) ?? []), specifier]);
    }
  }
  expect(owners.size).toBeGreaterThan(200);
  const missing = PAGES.flatMap((page) => {
    const text = read(page);
    const code = blocksOf(page).map((block) => block.code);
    const imported = (name: string, specifier: string) =>
      new RegExp(`import (?:type )?\\{[^}]*\\b${name}\\b[^}]*\\} from '${specifier}';`).test(code.join('')) ||
      new RegExp(`\`${specifier}\`[^.]*\`${name}\`|\`${name}\`[^.]*\`${specifier}\``).test(text);
    const used = code.join('\n').matchAll(/(?<![.\w'`])([a-zA-Z]\w+)(?=[(<])/g);
    const declared = new Set(code.join('\n').match(/(?<=(?:function|const|let) )\w+/g));
    return [...new Set([...used].map(([, name = '']) => name))].flatMap((name) => {
      const from = owners.get(name) ?? [];
      const lost = from.length > 0 && !declared.has(name) && !from.some((one) => imported(name, one));
      return lost ? [`${page}: ${name} of ${from.join(', ')}`] : [];
    });
  });
  expect(missing).toEqual([]);
});

test('no code of a page is imported from the sources', () => {
  const sources = PAGES.flatMap((page) =>
    blocksOf(page).flatMap(({ code }) => code.match(/from '\.\.\/[^']*'/g) ?? []),
  );
  expect(sources).toEqual([]);
});

/** Names in code that belong to others: other libraries, clouds, file formats, protocols. */
const FOREIGN = new Set([
  ...['accessibleBy', '$elemMatch', 'isolatedDeclarations', 'pgPolicy', 'pg_surgery'],
  ...['fromKysely', 'reschedule_jobs', 'job_key'], // of the queues
  ...['requestID', 'requestParameters', 'errorCode', 'KeyWrap', 'KeyUnwrap', 'identity_claim_appid_g'],
  ...['protoPayload', 'authenticationInfo', 'principalEmail'], // of the clouds' logs
  ...['audit.event_actor'], // an index
  ...['readMargin', 'bldg_live_', 'customerKek', 'destroyedKek'], // of examples
]);

test('every name in the prose of a page is a name of the code', () => {
  const code = globSync(
    [
      '{packages,examples}/*/{src,test,integration,python,bench}/**/*.{ts,py}',
      'tools/**/*.ts',
      '{.,packages/*}/package.json',
    ],
    { cwd: root },
  )
    .filter((file) => file !== join('tools', 'doc-code.test.ts'))
    .map(read)
    .join('\n');
  const words = new Set(code.match(/[A-Za-z_$][\w$]*/g));
  const dotted = new Set(code.match(/\b(?:tenancy|crypto|audit|authz|cli|ringfence)\.[a-z_]+/g));
  let looked = 0;
  const unknown = PAGES.flatMap((page) => {
    const prose = read(page).replaceAll(/^ *```[\s\S]*?^ *```/gm, '');
    return [...prose.matchAll(/`([^`\n]+)`/g)].flatMap(([, span = '']) => {
      const names = (span.match(/[A-Za-z_$][\w$]*/g) ?? []).filter((name) =>
        /[a-z][A-Z]|^[a-z]+_[a-z_]+$/.test(name),
      );
      const qualified = span.match(/\b(?:tenancy|crypto|audit|authz|cli|ringfence)\.[a-z_]+/g) ?? [];
      looked += names.length + qualified.length;
      return [
        ...names.filter((name) => !words.has(name) && !FOREIGN.has(name)),
        ...qualified.filter((name) => !dotted.has(name) && !FOREIGN.has(name)),
      ].map((name) => `${page}: ${name}`);
    });
  });
  expect(looked).toBeGreaterThan(1_000);
  expect(unknown).toEqual([]);
});

test('every file that a page names is there', () => {
  const files = globSync('{.,.ci,docs,tools,packages,examples}/**/*.{ts,py,json,md}', {
    cwd: root,
    exclude: ['**/node_modules/**', '**/dist/**'],
  });
  const ends = new Set(
    files.flatMap((file) => file.split('/').map((_, at, parts) => parts.slice(at).join('/'))),
  );
  // Of the reader's application, or of a cloud.
  const theirs = /^(?:\.\/application|app|setup|ringfence\.\w+\.config)\.ts$|^policy\.(?:json|mjs|ts)$|\*/;
  const named = PAGES.flatMap((page) =>
    [...read(page).matchAll(/`([\w./*-]+\.(?:ts|py|json|md))`/g)].map(([, file = '']) => ({ page, file })),
  );
  expect(named.length).toBeGreaterThan(200);
  expect(named.filter(({ file }) => !theirs.test(file) && !ends.has(file))).toEqual([]);
});

test('every subpath has a row in the README of its package, and no other has', () => {
  for (const name of PACKAGES) {
    const [, table = ''] =
      /^## Subpaths\n\n\| subpath \| holds \| guide \|\n\|---\|---\|---\|\n((?:\|.*\n)+)/m.exec(
        read(`packages/${name}/README.md`),
      ) ?? [];
    const rows = table.split('\n').map((row) => row.split('|')[1] ?? '');
    const listed = rows.flatMap((cell) =>
      [...cell.matchAll(/`(\.|\/[a-z0-9-]+)`/g)].map(([, path = '']) => path),
    );
    const there = [...entriesOf(name).keys()].map((subpath) => (subpath === '.' ? '.' : subpath.slice(1)));
    expect(listed.sort(), name).toEqual(there.sort());
  }
});

test('every flag that a page names exists, and every flag has its page', LONG, async () => {
  for (const name of PACKAGES) {
    const main = join(root, 'packages', name, 'src/cli/main.ts');
    const args = ['--conditions=@ringfence/source', main, '--help'];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const flags = (text: string) => text.match(/(?<![\w-])--[a-z][a-z-]+/g) ?? [];
    const there = new Set(flags(stdout));
    const commands = PAGES.flatMap((page) =>
      [...read(page).matchAll(new RegExp(`npx @ringfence/${name} ([^\\n\`#|]*)`, 'g'))].map(
        ([, text = '']) => text,
      ),
    );
    const page = read(`docs/${name}-cli.md`);
    const spans = [...page.matchAll(/`(?!pnpm )([^`\n]+)`/g)].map(([, span = '']) => span);
    const named = new Set([...commands, ...spans].flatMap(flags));
    expect(
      [...named].filter((flag) => !there.has(flag)),
      name,
    ).toEqual([]);
    const written = new Set(PAGES.map(read).flatMap(flags));
    expect(
      [...there].filter((flag) => !written.has(flag)),
      name,
    ).toEqual([]);
  }
});

/** What blocks that are no region of a test take for granted, by page: name and type. */
const GIVEN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'packages/tenancy/README.md': {
    createTenancy: `typeof import('@ringfence/tenancy').createTenancy`,
    pool: `import('pg').Pool`,
    contextKey: `import('@ringfence/tenancy').ContextKey`,
    orgId: `import('@ringfence/tenancy').OrgId`,
    requestId: 'string',
    insertNote: `import('kysely').Compilable`,
    insertTag: `import('kysely').Compilable`,
    Database: `{ 'app.note': { id: string } }`,
  },
  'docs/context.md': {
    tenancy: `import('@ringfence/tenancy').Tenancy<{ 'app.note': { id: string } }>`,
    org: `import('@ringfence/tenancy').OrgId`,
    insertNote: `import('kysely').Compilable`,
    insertTag: `import('kysely').Compilable`,
  },
  'docs/policies.md': {
    owner: `import('kysely').Kysely<unknown>`,
    schema: `import('@ringfence/tenancy/policies').TenancySchema`,
    Database: `{ 'app.folder': object; 'app.note': object; 'app.currency': object; 'app.migration': object }`,
  },
  'docs/probe.md': {
    owner: `import('kysely').Kysely<unknown>`,
    schema: `import('@ringfence/tenancy/policies').TenancySchema`,
    expectIsolation: `typeof import('@ringfence/tenancy/testing').expectIsolation`,
    test: '(name: string, run: () => Promise<unknown>) => void',
  },
  'docs/mutation-score.md': {
    owner: `import('kysely').Kysely<unknown>`,
    schema: `import('@ringfence/tenancy/policies').TenancySchema`,
    test: '(name: string, run: () => Promise<unknown>, timeout: number) => void',
    expect: '(value: unknown) => { toEqual(other: unknown): void }',
  },
  'docs/storage.md': { org: `import('@ringfence/tenancy').OrgId`, invoiceId: 'string', pdf: 'Uint8Array' },
  'docs/crypto-cli.md': { audit: '{ record(document: unknown): Promise<void> }' },
};

/** Declares what is given, but for what the block declares or imports itself. */
function given(page: string, code: string): string {
  return Object.entries(GIVEN[page] ?? {})
    .filter(([name]) => !new RegExp(`(?:const|interface) ${name}\\b|import [^;]*\\b${name}\\b`).test(code))
    .map(([name, type]) =>
      /^[A-Z]/.test(name) ? `interface ${name} ${type}` : `declare const ${name}: ${type};`,
    )
    .join('\n');
}

/** The module that the page of the command line takes its parts from. */
const KEYS = `
  import type { Kysely } from 'kysely'; import type { Kms, KeyringOptions, RevocationChannel } from '@ringfence/crypto';
  import type { CryptoDatabase } from '@ringfence/crypto/postgres';
  export declare const db: Kysely<CryptoDatabase>; export declare const kms: KeyringOptions['kms'];
  export declare const kekFor: KeyringOptions['kekFor']; export declare const revocations: NonNullable<KeyringOptions['revocations']>;`;

test('every block of TypeScript that is no region of a test compiles', LONG, () => {
  const files = new Map<string, string>([[join(root, 'packages/crypto/src/keys.ts'), KEYS]]);
  const label = new Map<string, string>();
  const run = new Set(
    PAGES.flatMap(blocksOf).flatMap(({ code, regions }) => (regions.length > 0 ? [code] : [])),
  );
  for (const page of PAGES) {
    const [, own = 'tenancy'] = /^(?:packages\/|docs\/)(crypto|audit|authz|tenancy)\b/.exec(page) ?? [];
    for (const [at, { code, line, regions }] of blocksOf(page).entries()) {
      if (regions.length > 0 || run.has(code)) continue;
      // The ledger has all packages; each of them has itself.
      const packages = new Set(code.match(/(?<=from '@ringfence\/)\w+/g));
      const folder = packages.size > 1 ? 'examples/ledger' : join('packages', own);
      const file = join(root, folder, `doc-${page.replaceAll(/\W/g, '-')}-${at}.ts`);
      files.set(file, `${code}\nexport {};\n${given(page, code)}`);
      label.set(file, `${page}:${line}`);
    }
  }
  expect(label.size).toBeGreaterThan(10);
  const { config } = ts.readConfigFile(join(root, 'tsconfig.base.json'), ts.sys.readFile) as {
    config: object;
  };
  const { options } = ts.parseJsonConfigFileContent({ ...config, files: [] }, ts.sys, root);
  const host = ts.createCompilerHost({ ...options, noEmit: true });
  const { readFile, fileExists } = host;
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.fileExists = (name) => files.has(name) || fileExists(name);
  const program = ts.createProgram(
    [...label.keys()],
    { ...options, noEmit: true, isolatedDeclarations: false, declaration: false, composite: false },
    host,
  );
  const messages = [...label].flatMap(([file, where]) =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(file))
      .map(({ messageText }) => `${where}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`),
  );
  expect(messages).toEqual([]);
});
