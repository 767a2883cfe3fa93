/**
 * `probe`: attacks every table of the live schema, in one transaction that is rolled back. For CI and staging: it takes
 * locks on the tables while it runs.
 */
import { formatProbeReport } from '../probe/index.ts';
import { probe } from '../probe/probe.ts';
import type { Command } from './command.ts';

/** Runs `probe`. */
export const probeCommand: Command = async ({ config, db }) => {
  const { schema, probe: { rows, accepted } = {} } = config;
  const report = await probe({
    owner: db,
    schema,
    ...(rows === undefined ? {} : { rows }),
    ...(accepted === undefined ? {} : { accepted }),
  });
  return {
    exit: report.clean ? 0 : 1,
    document: { command: 'probe', ...report },
    lines: [formatProbeReport(report)],
  };
};
