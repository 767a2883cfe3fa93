/** The report for a person: worst first, objects aligned, each rule's reason once, and the SQL that mends it. */

import { grouped } from '../catalog/grouped.ts';
import type { DoctorReport } from './doctor.ts';
import type { Level } from './rule.ts';
import { RULES } from './rules.ts';

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** Puts text into a style, or leaves it as it is. */
export type Paint = (style: keyof typeof STYLES, text: string) => string;

const STYLE_OF: Readonly<Record<Level, keyof typeof STYLES>> = {
  error: 'red',
  warning: 'yellow',
  note: 'dim',
};
const INDENT = ' '.repeat(9);

/** Settings of `formatReport`. */
export interface ReportFormat {
  /** Colours, for a terminal. Default false. */
  readonly colour?: boolean;
}

/**
 * The report as text.
 *
 * @example
 * ```ts
 * process.stdout.write(formatReport(report, { colour: process.stdout.isTTY }));
 * ```
 */
export function formatReport(report: DoctorReport, { colour = false }: ReportFormat = {}): string {
  const paint: Paint = (style, text) => (colour ? `\u001b[${STYLES[style]}m${text}\u001b[0m` : text);
  return `${reportLines(report, paint).join('\n')}\n`;
}

/** The report line by line. */
export function reportLines(report: DoctorReport, paint: Paint): readonly string[] {
  const { counts, database, serverVersion, orgTables, rules, plans } = report;
  const found = grouped(report.findings, ({ rule }) => rule);
  const lines: string[] = [];
  for (const { id, name, level, title, rationale } of worstFirst()) {
    const findings = found.get(id) ?? [];
    if (findings.length === 0) continue;
    lines.push(`${paint(STYLE_OF[level], level.padEnd(7))}  ${paint('bold', `${id} ${name}`)}  ${title}`);
    lines.push(INDENT + paint('dim', rationale));
    const width = Math.max(...findings.map(({ object }) => object.length));
    for (const { object, message, remedy } of findings) {
      lines.push(`${INDENT}${object.padEnd(width)}  ${message}`);
      lines.push(`${INDENT}${' '.repeat(width)}  ${paint('dim', remedy)}`);
    }
    lines.push('');
  }
  const version = `${Math.floor(serverVersion / 10_000)}.${serverVersion % 10_000}`;
  const about = [counted(orgTables, 'org-owned table'), counted(rules, 'rule'), counted(plans, 'plan')];
  const { error, warning, note } = counts;
  lines.push(
    `${database}, PostgreSQL ${version}: ${about.join(', ')}`,
    `${paint(error > 0 ? 'red' : 'green', counted(error, 'error'))}, ${counted(warning, 'warning')}, ${counted(note, 'note')}`,
  );
  return lines;
}

function worstFirst() {
  return (['error', 'warning', 'note'] as const).flatMap((level) =>
    RULES.filter((rule) => rule.level === level),
  );
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
