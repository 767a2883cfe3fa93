/** The page docs/audit-guards.md shows code that compiles, and the rules there are. */
// #region doctor_imports
import { auditDoctor, formatAuditDoctor } from '@ringfence/audit/doctor';
// #endregion

// #region capture_imports
import { type CaptureOptions, captureTriggers } from '@ringfence/audit/capture';
// #endregion

// #region telemetry_imports
import { metrics, trace } from '@opentelemetry/api';
import { traced } from '@ringfence/audit/otel';
// #endregion

import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { snippetDrift } from '../../../tools/doc-snippets.ts';
import { AUDIT_RULES } from '../src/doctor/doctor.ts';
import type { Audit, EventCatalogue, QueryExecutor } from '../src/index.ts';

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
