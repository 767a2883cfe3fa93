/**
 * `verify`: verifies an export, a chain in its database, or a write-once copy. Reads only. The password of the database is best left to
 * PGPASSWORD or a password file, which other users of the machine do not see.
 */
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { type DatabaseReport, verifyInDatabase } from '../database-verification.ts';
import { RingfenceAuditError } from '../errors.ts';
import { nodeSha256 } from '../node-sha256.ts';
import { verifyParallel } from '../parallel/verify-parallel.ts';
import {
  type ChainHead,
  type ChainReport,
  parseVerifierKey,
  type VerifyExportOptions,
  verifyExport,
} from '../verify/index.ts';
import { notesOf, orgOf, orUsage, parsed } from './arguments.ts';
import { CliError, type CliIo, type Command, type ExitCode, printable } from './command.ts';
import { withDatabase } from './database.ts';
import { verifyCopyCommand } from './verify-copy-command.ts';

const OPTIONS = {
  database: { type: 'string' },
  org: { type: 'string' },
  head: { type: 'string', multiple: true },
  origin: { type: 'string' },
  key: { type: 'string', multiple: true },
  note: { type: 'string', multiple: true },
  json: { type: 'boolean' },
} as const;

/** The command. */
export const verifyCommand: Command = {
  usage: `  verify <export.ndjson>           verify an export
  verify --database <url> --org <uuid>
                                   verify an organisation's chain where it lives, as a role that reads it
    --head <seq:hash>              a head that was kept; may be given several times
    --origin <name> --key <verifier key>
                                   with --org: the notes in an export must be checkpoints of this log by these keys
    --note <file>                  the note of a checkpoint that was kept; may be given several times
    --json                         one JSON document on stdout
${verifyCopyCommand.usage}`,
  run: async (args, io) => {
    if (args.some((arg) => /^--(?:bucket|directory)(?:=|$)/.test(arg)))
      return await verifyCopyCommand.run(args, io);
    const { values, positionals } = parsed(args, { options: OPTIONS, allowPositionals: true });
    const [path, ...more] = positionals;
    const expectedHead = (values.head ?? []).map(headOf);
    if (more.length > 0 || (path === undefined) === (values.database === undefined)) {
      throw new CliError('verify takes either one export or --database');
    }
    if (path !== undefined) {
      const org = values.org === undefined ? {} : { org: orgOf(values.org) };
      const signed = await signedOf(values, io);
      const file = createReadStream(resolve(io.directory, path), { highWaterMark: 1 << 20 });
      // The tree over all records is built in their order, so on one thread.
      const report =
        signed === undefined
          ? await verifyParallel(file, { ...org, expectedHead })
          : await orUsage(() => verifyExport(file, { ...org, expectedHead, ...signed, sha256: nodeSha256 }));
      return tell(report, expectedHead.length + (signed?.keptNotes.length ?? 0), values.json, io);
    }
    if ((values.origin ?? values.key ?? values.note) !== undefined) {
      throw new CliError('--origin, --key and --note are about exports and copies');
    }
    if (values.org === undefined) throw new CliError('--database needs --org');
    const report = await inDatabase(values.database ?? '', values.org, expectedHead);
    return tell(report, expectedHead.length, values.json, io);
  },
};

/** Whom to trust, and the notes that were kept; undefined when nothing was said of either. */
async function signedOf(
  { org, origin, key: keys, note: notes }: ReturnType<typeof parsed<{ options: typeof OPTIONS }>>['values'],
  { directory }: CliIo,
): Promise<Required<Pick<VerifyExportOptions, 'trust' | 'keptNotes'>> | undefined> {
  if ((origin ?? keys ?? notes) === undefined) return undefined;
  if (org === undefined || origin === undefined || keys === undefined) {
    throw new CliError('notes are verified with --org, --origin and --key');
  }
  const keptNotes = await notesOf(notes, directory);
  const trusted = await orUsage(() => keys.map(parseVerifierKey));
  const trust = { origin: `${origin}/${orgOf(org)}`, keys: trusted };
  return { trust, keptNotes };
}

async function inDatabase(
  url: string,
  org: string,
  expectedHead: readonly ChainHead[],
): Promise<DatabaseReport> {
  const id = orgOf(org);
  return await withDatabase(url, (db) => verifyInDatabase(db, id, { expectedHead })).catch(
    (error: unknown) => {
      if (!(error instanceof RingfenceAuditError) || error.code !== 'audit.no_context') throw error;
      const message =
        'this role sees only what its context names: connect as the auditor (`auditorRole` of the migrations)';
      throw new RingfenceAuditError('audit.no_context', message);
    },
  );
}

function tell(
  report: ChainReport & Partial<DatabaseReport>,
  kept: number,
  json: boolean | undefined,
  { stdout }: CliIo,
): ExitCode {
  if (json === true) {
    stdout.write(`${JSON.stringify({ command: 'verify', ...report })}\n`);
    return report.ok ? 0 : 1;
  }
  for (const { class: name, seq, eventId, detail } of report.findings) {
    const place = seq === null ? '' : ` ${seq}`;
    stdout.write(`${name}${place}: ${printable(detail)}${eventId === null ? '' : ` (event ${eventId})`}\n`);
  }
  const hidden = report.findingCount - report.findings.length;
  if (hidden > 0) stdout.write(`… and ${hidden} more\n`);
  const verdict = report.ok ? 'ok' : 'NOT OK';
  stdout.write(`${verdict}: ${report.checked} links, ${report.findingCount} findings\n`);
  stdout.write(`head ${report.head.seq}:${report.head.hash}\n`);
  if (report.erased !== undefined && report.erased > 0) {
    stdout.write(`${report.erased} personal values are gone with the erasure of their subjects\n`);
  }
  if (report.pruned > 0) {
    stdout.write(
      `${report.pruned} records were pruned under a retention policy, as the chain says; their links hold\n`,
    );
  }
  if (report.ok && kept === 0) {
    stdout.write('no kept head was given: a cut or wholly rewritten log would look the same (--head)\n');
  }
  return report.ok ? 0 : 1;
}

function headOf(text: string): ChainHead {
  const [matched, seq = '', kept = ''] = /^(0|[1-9]\d{0,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (matched === undefined || !Number.isSafeInteger(Number(seq))) {
    throw new CliError('--head is the number and the hash of a head: 4711:<64 hex digits>');
  }
  return { seq: Number(seq), hash: kept };
}
