/**
 * `doctor`: examines the database against the declaration. Reads only.
 *   --sarif    writes the findings as a SARIF 2.1.0 log, too
 *   --strict   warnings, too, are findings for the exit code
 */
import { writeFile } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { type DoctorReport, runDoctor } from '../doctor/doctor.ts';
import { type SarifLog, toSarif } from '../doctor/sarif-report.ts';
import { type Paint, reportLines } from '../doctor/text-report.ts';
import { CliError, causeText } from './cli-error.ts';
import type { Command } from './command.ts';

/** Runs `doctor`. */
export const doctorCommand: Command = async ({ args, directory, configFile, config, db, terminal }) => {
  const { schema, app } = config;
  const report = await runDoctor(app === undefined ? { db, schema } : { db, schema, app: app() });
  const exit = exitOf(report, args.on.has('strict'));
  const sarif = args.text['sarif'];
  if (sarif !== undefined) {
    const declarationFile = relative(directory, configFile).replaceAll('\\', '/'); // a URI
    await store(resolve(directory, sarif), toSarif(report, { declarationFile }));
  }
  const paint: Paint = (style, text) => terminal.paint(style, text);
  return { exit, document: { command: 'doctor', ...report }, lines: reportLines(report, paint) };
};

/** A log that was asked for and is not there must not pass for a clean one. */
async function store(file: string, log: SarifLog): Promise<void> {
  try {
    await writeFile(file, `${JSON.stringify(log, undefined, 2)}\n`);
  } catch (error) {
    throw new CliError('cli.file', causeText(error));
  }
}

function exitOf({ counts }: DoctorReport, strict: boolean): 0 | 1 {
  return counts.error > 0 || (strict && counts.warning > 0) ? 1 : 0;
}
