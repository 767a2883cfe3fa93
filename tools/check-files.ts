/**
 * House rules a formatter cannot see: no file over 400 lines, each package source file opens with a header that says
 * what it does, and no mark of unfinished work stays behind.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const MAX_LINES = 400;
const MARKS = /\b(?:TODO|FIXME|XXX|HACK)\b|@ts-ignore|\bas any[^ \w]|\.(?:only|todo)\(/;

const listed = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts', '*.py'],
  {
    encoding: 'utf8',
  },
);
const files = listed.split('\n').filter((file) => file !== '' && existsSync(file));
const problems: string[] = [];
for (const file of files) {
  const text = readFileSync(file, 'utf8');
  const lines = text.split('\n');
  if (lines.length > MAX_LINES + 1) problems.push(`${file}: ${lines.length - 1} lines, at most ${MAX_LINES}`);
  if (/^packages\/[a-z]+\/src\//.test(file) && !text.startsWith('/**') && !text.startsWith('#!')) {
    problems.push(`${file}: opens without a header that says what it does`);
  }
  for (const [index, line] of lines.entries()) {
    if (file !== 'tools/check-files.ts' && MARKS.test(line))
      problems.push(`${file}:${index + 1}: ${line.trim()}`);
  }
}
for (const problem of problems) console.error(problem);
console.log(`${files.length} files checked, ${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
