/**
 * Generates `docs/hazards.md` from the rules of the tenancy doctor. `--check` compares instead of writing.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { RULES } from '../packages/tenancy/src/doctor/rules.ts';

const OUT = 'docs/hazards.md';

const lines = [
  '# Hazards of row-level security',
  '',
  'Generated from the rules of `@ringfence/tenancy/doctor` (`pnpm hazards`). `error`: a row or a fact can cross between',
  'organisations. `warning`: one step from it, or a trap. `note`: for the reviewer to know. Every finding carries the SQL that',
  'mends it, or says what a person has to decide.',
  '',
  '    npx @ringfence/tenancy doctor',
  '',
  'examines a database ([command line](tenancy-cli.md#doctor)).',
  '',
  '| rule | level | hazard |',
  '|---|---|---|',
  ...RULES.map(
    ({ id, name, level, title }) => `| [${id}](#${id.toLowerCase()}-${name}) | ${level} | ${title} |`,
  ),
  '',
];
for (const { id, name, level, title, rationale, source } of RULES) {
  lines.push(
    `## ${id} ${name}`,
    '',
    `**${title}** (${level})`,
    '',
    ...wrapped(rationale),
    '',
    ...wrapped(`Source: ${source}.`),
    '',
  );
}
const text = lines.join('\n');
if (process.argv.includes('--check')) {
  if (readFileSync(OUT, 'utf8') !== text) {
    console.error(`${OUT} is out of date: run \`pnpm hazards\``);
    process.exit(1);
  }
} else {
  writeFileSync(OUT, text);
}

/** Prose in lines of at most 120 characters. */
function wrapped(prose: string): readonly string[] {
  const out: string[] = [];
  let line = '';
  for (const word of prose.split(' ')) {
    if (line !== '' && line.length + word.length + 1 > 120) {
      out.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...out, line];
}
