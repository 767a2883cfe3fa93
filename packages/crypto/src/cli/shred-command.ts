/**
 * `shred`: destroys an organisation's keys, after its id was typed once more.
 * Invariant: without that confirmation nothing is called that could change anything.
 */
import { RingfenceCryptoError } from '../errors.ts';
import { numberOf, usage } from './arguments.ts';
import { CliError } from './cli-error.ts';
import { type Command, type CommandContext, singleOrg } from './command.ts';
import { printable } from './terminal.ts';

const DAY_MS = 86_400_000;

/** Runs `shred`. */
export const shredCommand: Command = async (context) => {
  const { args, operations, config, terminal } = context;
  const org = singleOrg(context);
  const { reason } = args.text;
  const days = numberOf(args, 'backups-days', false);
  if (reason === undefined || reason.length < 1 || reason.length > 500) {
    throw usage('shred needs --reason, 1 to 500 characters, e.g. a contract or ticket number');
  }
  const records = await config.store.load(org);
  if (records.length === 0) {
    throw new RingfenceCryptoError('crypto.org_unknown', 'the organisation has no keys to destroy', { org });
  }
  const wraps = records.reduce((sum, record) => sum + record.wraps.length, 0);
  const what = `${records.length} data-key versions with ${wraps} wraps of organisation ${org}`;
  if (args.on.has('dry-run')) {
    return {
      exit: 0,
      document: { command: 'shred', org, dryRun: true, versions: records.length, wraps },
      lines: [
        `would destroy ${what}`,
        '  everything sealed with them could never be read again, backups of the data included',
        'dry run: nothing was changed',
      ],
    };
  }
  await confirm(context, org, what);
  const certificate = await operations.shred(org, {
    reason,
    ...(days !== undefined && { keyStoreBackupsMs: days * DAY_MS }),
  });
  const document = { command: 'shred', org, dryRun: false, certificate };
  const lines = [
    `${terminal.paint('red', 'destroyed')}: ${certificate.wrapsDestroyed} wraps of ${certificate.versions.length} versions of ${org}`,
    certificate.notified
      ? '  all processes were told to wipe their keys'
      : '  processes wipe their keys when their leases end',
    '  certificate for the audit log:',
    JSON.stringify(certificate),
  ];
  try {
    await config.record?.({ ...certificate });
  } catch (error) {
    // The keys are gone either way: the certificate must not be lost with the failed record.
    terminal.tell(`the certificate was not recorded: ${printable(String(error))}`);
    return { exit: 1, document: { ...document, recorded: false }, lines };
  }
  return { exit: 0, document, lines };
};

async function confirm({ args, terminal }: CommandContext, org: string, what: string): Promise<void> {
  const given = args.text['confirm'];
  if (given === undefined && !terminal.canAsk) {
    throw usage('without a terminal shred needs --confirm with the id of the organisation once more');
  }
  let typed = given;
  if (typed === undefined) {
    terminal.tell(`This destroys ${what}.`);
    terminal.tell('Everything sealed with them can never be read again, backups of the data included.');
    typed = await terminal.ask('Type the id of the organisation to go on: ');
  }
  if (typed !== org) {
    throw new CliError(
      'cli.not_confirmed',
      'the id given is not that of the organisation; nothing was changed',
      2,
    );
  }
}
