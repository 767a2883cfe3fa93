/**
 * `doctor`: examines the database against the declaration. Reads only.
 *   --sarif    a SARIF 2.1.0 log in the place of the report
 *   --strict   warnings, too, are findings for the exit code
 */
import { type DoctorReport, runDoctor } from '../doctor/doctor.ts';
import { toSarif } from '../doctor/sarif-report.ts';
import { type Paint, reportLines } from '../doctor/text-report.ts';
import type { Command } from './command.ts';

/** Runs `doctor`. */
export const doctorCommand: Command = async ({ args, config, db, terminal }) => {
  const { schema, app } = config;
  const report = await runDoctor(app === undefined ? { db, schema } : { db, schema, app: app() });
  const exit = exitOf(report, args.on.has('strict'));
  if (args.on.has('sarif')) {
    const log = toSarif(report);
    return { exit, document: { ...log }, lines: [JSON.stringify(log, undefined, 2)] };
  }
  const paint: Paint = (style, text) => terminal.paint(style, text);
  return { exit, document: { command: 'doctor', ...report }, lines: reportLines(report, paint) };
};

function exitOf({ counts }: DoctorReport, strict: boolean): 0 | 1 {
  return counts.error > 0 || (strict && counts.warning > 0) ? 1 : 0;
}
