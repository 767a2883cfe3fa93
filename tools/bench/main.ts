/**
 * `pnpm bench [suite …] [--case ID] [--json FILE] [--long]`: runs the suites and prints values and ratios.
 * A benchmark is not a test: it never fails on a figure, it states it.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type BenchRow, runCase, type Suite } from './suite.ts';

const SUITES: Readonly<Record<string, () => Promise<Suite>>> = {
  tenancy: async () => (await import('../../packages/tenancy/bench/suite.ts')).suite,
  crypto: async () => (await import('../../packages/crypto/bench/suite.ts')).suite,
  audit: async () => (await import('../../packages/audit/bench/suite.ts')).suite,
  authz: async () => (await import('../../packages/authz/bench/suite.ts')).suite,
  app: async () => (await import('../../examples/ledger/bench/app.ts')).suite,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, case: { type: 'string' }, long: { type: 'boolean', default: false } },
});

const names = positionals.length > 0 ? positionals : Object.keys(SUITES);
const rows: BenchRow[] = [];
for (const name of names) {
  const load = SUITES[name];
  if (load === undefined) {
    console.error(`no suite ${name}: there are ${Object.keys(SUITES).join(', ')}`);
    process.exit(2);
  }
  const suite = await load();
  for (const bench of suite.cases) {
    if (values.case !== undefined && bench.id !== values.case) continue;
    if (bench.long === true && !values.long) continue;
    const measured = await runCase(suite.name, bench);
    rows.push(...measured);
    for (const row of measured) console.log(line(row));
  }
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);

function line(row: BenchRow): string {
  const value = row.value.toLocaleString('en', { maximumFractionDigits: row.value < 10 ? 3 : 0 });
  const start = `${row.suite.padEnd(8)} ${row.case.padEnd(18)} ${row.subject.padEnd(22)} ${value.padStart(12)} ${row.unit}`;
  const parts: string[] = [];
  if (row.ratioToLimit !== undefined) parts.push(`${row.ratioToLimit.toFixed(2)} of the limit`);
  for (const [peer, ratio] of Object.entries(row.ratioTo ?? {})) parts.push(`${ratio.toFixed(2)} x ${peer}`);
  return parts.length === 0 ? start : `${start.padEnd(72)} ${parts.join(', ')}`;
}
