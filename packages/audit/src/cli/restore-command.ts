/**
 * `restore`: puts a log back into a database from its write-once copy, and says what is lost. The one command that writes:
 * it adds what is missing behind the database's own end, and changes nothing that is there.
 */
import { type RestoreReport, restoreLog } from '../write-once/restore-log.ts';
import { COPY_OPTIONS, notesOf, orgOf, orUsage, parsed } from './arguments.ts';
import { CliError, type CliIo, type Command, type ExitCode } from './command.ts';
import { copyStore } from './copy-store.ts';
import { withDatabase } from './database.ts';

const OPTIONS = { ...COPY_OPTIONS, checkpointer: { type: 'string' } } as const;

/** The command. */
export const restoreCommand: Command = {
  usage: `  restore --bucket <s3://name/prefix> --org <uuid> --origin <name> --key <verifier key>
          --database <url> --checkpointer <url>
                                   put back what a database misses of a log, from its write-once copy. Stop the app before
    --database <url>               as the owner of schema audit, whose migrations have run
    --checkpointer <url>           the same database, as the role that adds checkpoints
    --directory <path>             a copy in a directory instead
    --endpoint <url>               an S3 server other than Amazon's
    --note <file>                  the note of a checkpoint that was kept, e.g. by a witness: tells what the copy lacks
    --json                         one JSON document on stdout`,
  run: async (args, io) => {
    const { values } = parsed(args, { options: OPTIONS });
    const { org, origin, key: keys = [], database, checkpointer } = values;
    if (org === undefined || origin === undefined || keys.length === 0) {
      throw new CliError('a log is restored with --org, --origin and --key');
    }
    if (database === undefined || checkpointer === undefined) {
      throw new CliError('restore needs --database (the owner) and --checkpointer');
    }
    const keptNotes = await notesOf(values.note, io.directory);
    const { store, close } = await copyStore(values, io);
    try {
      const report = await withDatabase(database, (db) =>
        withDatabase(checkpointer, (checkpoints) =>
          orUsage(() => restoreLog({ db, checkpoints, store, org: orgOf(org), origin, keys, keptNotes })),
        ),
      );
      return tell(report, keptNotes.length, values.json, io);
    } finally {
      close();
    }
  },
};

function tell(report: RestoreReport, notes: number, json: boolean | undefined, { stdout }: CliIo): ExitCode {
  const { events, checkpoints, head, lostEvents, withoutPersonalValues } = report;
  const exitCode = lostEvents > 0 ? 1 : 0;
  if (json === true) {
    stdout.write(`${JSON.stringify({ command: 'restore', ...report })}\n`);
    return exitCode;
  }
  stdout.write(`put back: ${events} events, ${checkpoints} checkpoints\n`);
  if (lostEvents > 0) stdout.write(`LOST: ${lostEvents} events that the kept notes cover\n`);
  if (withoutPersonalValues > 0) {
    stdout.write(
      `without their personal values: ${withoutPersonalValues} events; restore audit.personal from a backup\n`,
    );
  }
  stdout.write(`head ${head.seq}:${head.hash}\n`);
  if (notes === 0) {
    stdout.write('no kept note was given: what was signed and never copied is not known (--note)\n');
  }
  return exitCode;
}
