/**
 * Generates `docs/errors.md` from the `errors.ts` of each package: every code of the union carries a comment
 * `cause. Fix: what to do.`, and a code without one fails the check; so does a code of a command line that has no row here. `--check` compares instead of writing.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';

const PACKAGES = ['tenancy', 'crypto', 'audit', 'authz'];
const OUT = 'docs/errors.md';
const UNION = /export type (\w+ErrorCode) =\n([\s\S]*?);\n/;
const MEMBER = /(?:\/\*\*([\s\S]*?)\*\/\s*)?\| '([a-z_]+\.[a-z_]+)'/g;
/** Codes of the command lines: cause and fix. */
const CLI_CODES = {
  'cli.usage': ['The arguments are wrong; nothing was done.', 'see `--help`.'],
  'cli.config': [
    'There is no configuration, or one that does not load.',
    'see the message; `--config` names another file.',
  ],
  'cli.file': [
    'A file or folder is not there, or cannot be read, written or understood.',
    'see the message.',
  ],
  'cli.database': [
    'The database is not there, does not let the role in, or does not hold what is asked for.',
    'look at the URL and the role; run the migrations.',
  ],
  'cli.not_confirmed': [
    'The id that was typed is not that of the organisation; nothing was done.',
    'type it again.',
  ],
  'cli.unexpected': ['An error without a code, of the database for one.', 'see the message.'],
} as const;

const lines = [
  '# Error codes',
  '',
  'Generated from the source (`pnpm errors`). Every error has a stable `code`; messages name ids, never secrets or content.',
  '',
  '[tenancy](#ringfencetenancy) · [crypto](#ringfencecrypto) · [audit](#ringfenceaudit) · [authz](#ringfenceauthz) ·',
  '[command lines](#command-lines)',
  '',
];
const missing: string[] = [];
for (const name of PACKAGES) {
  const union = UNION.exec(readFileSync(`packages/${name}/src/errors.ts`, 'utf8'));
  if (union === null) throw new Error(`packages/${name}/src/errors.ts: no exported union of error codes`);
  lines.push(`## @ringfence/${name}`, '');
  for (const [, comment, code] of (union[2] ?? '').matchAll(MEMBER)) {
    const text = (comment ?? '').replaceAll(/\s*\n\s*\*\s*/g, ' ').trim();
    const [cause, fix] = text.split(' Fix: ');
    if (cause === undefined || cause === '' || fix === undefined) missing.push(`${name}: ${code}`);
    lines.push(`- **\`${code}\`** ${cause ?? ''}`, `  <br>Fix: ${fix ?? ''}`);
  }
  lines.push('');
}
lines.push('## Command lines', '', 'Besides those of its package a command line has these.', '');
const told = new Map(
  PACKAGES.map((name) => {
    const sources = globSync(`packages/${name}/src/{cli,checkpoint}/*.ts`).map((file) =>
      readFileSync(file, 'utf8'),
    );
    return [name, new Set([...sources.join('').matchAll(/'(cli\.[a-z_]+)'/g)].map(([, code]) => code))];
  }),
);
for (const [code, [cause, fix]] of Object.entries(CLI_CODES)) {
  const of = PACKAGES.filter((name) => told.get(name)?.has(code));
  if (of.length === 0) missing.push(`no command line: ${code}`);
  lines.push(`- **\`${code}\`** (${of.join(', ')}) ${cause}`, `  <br>Fix: ${fix}`);
}
for (const [name, codes] of told)
  for (const code of codes) if (!Object.hasOwn(CLI_CODES, code ?? '')) missing.push(`${name}: ${code}`);
lines.push('');
if (missing.length > 0) {
  console.error(`codes without "cause. Fix: what to do." in the source:\n  ${missing.join('\n  ')}`);
  process.exit(1);
}
const text = `${lines.join('\n')}`;
if (process.argv.includes('--check')) {
  if (readFileSync(OUT, 'utf8') !== text) {
    console.error(`${OUT} is out of date: run \`pnpm errors\``);
    process.exit(1);
  }
} else {
  writeFileSync(OUT, text);
}
