/** The report for a person: errors first, each rule's reason once, and the SQL that mends it. */
import { AUDIT_RULES, type AuditDoctorReport } from './doctor.ts';

/**
 * The report as text.
 *
 * @example
 * ```ts
 * process.stdout.write(formatAuditDoctor(await auditDoctor(db, options)));
 * ```
 */
export function formatAuditDoctor(report: AuditDoctorReport): string {
  const lines: string[] = [];
  for (const level of ['error', 'warning'] as const) {
    for (const { name, rationale } of AUDIT_RULES) {
      const findings = report.findings.filter((one) => one.rule === name && one.level === level);
      if (findings.length === 0) continue;
      lines.push(`${level.padEnd(7)}  ${name}: ${rationale}`);
      for (const { object, message, remedy } of findings) {
        lines.push(
          `         ${object}: ${message}`,
          ...shortened(remedy).map((line) => `           ${line}`),
        );
      }
      lines.push('');
    }
  }
  const { error, warning } = report.counts;
  const version = `${Math.floor(report.serverVersion / 10_000)}.${report.serverVersion % 10_000}`;
  lines.push(
    `${report.database}, PostgreSQL ${version}: ${report.rules} rules, ${error} error${error === 1 ? '' : 's'}, ${warning} warning${warning === 1 ? '' : 's'}`,
    `note: these logins can switch every guard off, for a moment and unseen by this report: ${report.superusers.join(', ')}. Keep heads outside the database.`,
  );
  return `${lines.join('\n')}\n`;
}

/** A function's whole source belongs into `--json`, not on a screen. */
function shortened(remedy: string): string[] {
  const lines = remedy.split('\n').filter((line) => line.trim() !== '');
  return lines.length <= 4
    ? lines
    : [...lines.slice(0, 2), `… ${lines.length - 2} more lines, see the migrations`];
}
