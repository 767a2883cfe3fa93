/**
 * `verify --bucket` and `verify --directory`: verifies the write-once copy of one log. Reads only. Credentials and region
 * come from where the AWS SDK looks for them; nothing secret is an argument.
 */
import type { QueryExecutor } from '../executor.ts';
import type { CopyReport } from '../write-once/copy-report.ts';
import { verifyWriteOnceCopy } from '../write-once/verify-copy.ts';
import { COPY_OPTIONS, notesOf, orgOf, orUsage, parsed } from './arguments.ts';
import { CliError, type CliIo, type Command, type ExitCode, printable } from './command.ts';
import { copyStore } from './copy-store.ts';
import { withDatabase } from './database.ts';

/** The command, as far as it is about copies. */
export const verifyCopyCommand: Command = {
  usage: `  verify --bucket <s3://name/prefix> --org <uuid> --origin <name> --key <verifier key>
                                   verify the write-once copy of a log
    --directory <path>             a copy in a directory instead
    --endpoint <url>               an S3 server other than Amazon's
    --note <file>                  the note of a checkpoint that was kept; may be given several times
    --database <url>               hold copy and database against each other
    --json                         one JSON document on stdout`,
  run: async (args, io) => {
    const { values } = parsed(args, { options: COPY_OPTIONS });
    const { org, origin, key: keys = [] } = values;
    if (org === undefined || origin === undefined || keys.length === 0) {
      throw new CliError('a copy is verified with --org, --origin and --key');
    }
    const keptNotes = await notesOf(values.note, io.directory);
    const { store, close } = await copyStore(values, io);
    const verify = async (db?: QueryExecutor) => {
      const kept = { store, origin, keys, keptNotes, ...(db === undefined ? {} : { db }) };
      return await orUsage(() => verifyWriteOnceCopy({ ...kept, org: orgOf(org) }));
    };
    try {
      const { database } = values;
      const report = database === undefined ? await verify() : await withDatabase(database, verify);
      return tell(report, keptNotes.length + (database === undefined ? 0 : 1), values.json, io);
    } finally {
      close();
    }
  },
};

function tell(report: CopyReport, witnesses: number, json: boolean | undefined, { stdout }: CliIo): ExitCode {
  const { ok, objects, links, signed, head, findings, findingCount } = report;
  if (json === true) {
    stdout.write(`${JSON.stringify({ command: 'verify', ...report })}\n`);
    return ok ? 0 : 1;
  }
  for (const { class: name, key, detail } of findings) {
    stdout.write(`${name}${key === null ? '' : ` ${printable(key)}`}: ${printable(detail)}\n`);
  }
  if (findingCount > findings.length) stdout.write(`… and ${findingCount - findings.length} more\n`);
  stdout.write(`${ok ? 'ok' : 'NOT OK'}: ${objects} objects, ${links} links, ${findingCount} findings\n`);
  stdout.write(`signed up to ${signed}, head ${head.seq}:${head.hash}\n`);
  if (ok && witnesses === 0) {
    stdout.write(
      'neither a kept note nor the database was given: a copy cut at a checkpoint would look the same (--note, --database)\n',
    );
  }
  return ok ? 0 : 1;
}
