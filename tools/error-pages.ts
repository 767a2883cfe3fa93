/**
 * Generates `docs/errors.md` from the `errors.ts` of each package: every code of the union carries a comment
 * `cause. Fix: what to do.`, and a code without one fails the check. `--check` compares instead of writing.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const PACKAGES = ['tenancy', 'crypto', 'audit', 'authz'];
const OUT = 'docs/errors.md';
const UNION = /export type (\w+ErrorCode) =\n([\s\S]*?);\n/;
const MEMBER = /(?:\/\*\*([\s\S]*?)\*\/\s*)?\| '([a-z_]+\.[a-z_]+)'/g;

const lines = [
  '# Error codes',
  '',
  'Generated from the source (`pnpm errors`). Every error has a stable `code`; messages name ids, never secrets or content.',
  '',
];
const missing: string[] = [];
for (const name of PACKAGES) {
  const union = UNION.exec(readFileSync(`packages/${name}/src/errors.ts`, 'utf8'));
  if (union === null) throw new Error(`packages/${name}/src/errors.ts: no exported union of error codes`);
  lines.push(`## @ringfence/${name}`, '', '| code | cause | fix |', '|---|---|---|');
  for (const [, comment, code] of (union[2] ?? '').matchAll(MEMBER)) {
    const text = (comment ?? '').replaceAll(/\s*\n\s*\*\s*/g, ' ').trim();
    const [cause, fix] = text.split(' Fix: ');
    if (cause === undefined || cause === '' || fix === undefined) missing.push(`${name}: ${code}`);
    lines.push(`| \`${code}\` | ${cell(cause ?? '')} | ${cell(fix ?? '')} |`);
  }
  lines.push('');
}
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

function cell(markdown: string): string {
  return markdown.replaceAll('|', '\\|');
}
