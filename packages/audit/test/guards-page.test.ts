/** The page docs/audit-guards.md shows code that compiles, and the rules there are. */
import { readFileSync, writeFileSync } from 'node:fs';
import { metrics, trace } from '@opentelemetry/api';
import { expect, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { type CaptureOptions, captureTriggers } from '../src/capture/index.ts';
import { AUDIT_RULES } from '../src/doctor/doctor.ts';
import { auditDoctor, formatAuditDoctor } from '../src/doctor/index.ts';
import type { Audit, EventCatalogue, QueryExecutor } from '../src/index.ts';
import { traced } from '../src/otel/index.ts';

const PAGE = new URL('../../../docs/audit-guards.md', import.meta.url);

// #region capture
const ENTRY: CaptureOptions = {
  table: 'ledger.entry',
  target: 'entry',
  exclude: ['updated_at'],
  redact: ['iban'],
};
const { name, up } = captureTriggers(ENTRY);
// #endregion

export async function examine(db: QueryExecutor): Promise<void> {
  // #region doctor
  const report = await auditDoctor(db, { appRole: 'ledger_app', captures: [ENTRY] });
  process.stdout.write(formatAuditDoctor(report));
  if (report.counts.error > 0) process.exitCode = 1;
  // #endregion
}

export function observe(log: Audit<EventCatalogue>): Audit<EventCatalogue> {
  // #region telemetry
  const audit = traced(log, { tracer: trace.getTracer('app'), meter: metrics.getMeter('app') });
  // #endregion
  return audit;
}

test('shows code that compiles', () => {
  expect(snippetDrift(PAGE, [new URL(import.meta.url)])).toEqual([]);
  expect(name).toBe('audit_capture_ledger_entry');
  expect(up.match(/ENABLE ALWAYS TRIGGER/g)).toHaveLength(2);
});

test('lists every rule of the doctor', () => {
  const rows = AUDIT_RULES.map(
    ({ name: rule, level, rationale }) => `| \`${rule}\` | ${level} | ${rationale} |`,
  );
  const text = ['| rule | level | why |', '|---|---|---|', ...rows].join('\n');
  const page = readFileSync(PAGE, 'utf8');
  const [begin, end] = ['<!-- rules -->\n', '\n<!-- end of rules -->'];
  const [from, to] = [page.indexOf(begin) + begin.length, page.indexOf(end)];
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, page.slice(0, from) + text + page.slice(to));
  else expect(page.slice(from, to)).toBe(text);
});
