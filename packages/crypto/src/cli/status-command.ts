/**
 * `status`: versions, wraps and KEK states of organisations. Reads only.
 */
import type { OrgKeyStatus } from '../operations/status.ts';
import { type Command, namedOrAllOrgs } from './command.ts';
import { Progress } from './progress.ts';
import { columns, printable, type Terminal } from './terminal.ts';

/** Runs `status`. */
export const statusCommand: Command = async (context) => {
  const { operations, terminal, args } = context;
  const orgs = await namedOrAllOrgs(context);
  const progress = args.orgs.length === 0 ? new Progress(terminal, 'organisations', orgs.length) : undefined;
  const states: OrgKeyStatus[] = [];
  for (const org of orgs) {
    states.push(await operations.status(org));
    progress?.show(states.length);
  }
  progress?.end();
  const lines = args.orgs.length === 0 ? overview(states) : states.flatMap((one) => details(terminal, one));
  const unknown = states.some(({ state }) => state === 'unknown');
  return { exit: unknown ? 1 : 0, document: { command: 'status', orgs: states }, lines };
};

function overview(states: readonly OrgKeyStatus[]): readonly string[] {
  const rows = states.map(({ org, state, versions, keks }) => [
    org,
    state,
    String(versions.length),
    keks.map(({ kekUri, state: kek }) => `${printable(kekUri)} (${kek})`).join(' ') || '-',
  ]);
  return columns([['organisation', 'state', 'versions', 'KEKs'], ...rows]);
}

function details(terminal: Terminal, status: OrgKeyStatus): readonly string[] {
  const { org, state, kekFor, versions, keks } = status;
  const style = state === 'live' ? 'green' : 'red';
  const head = `${terminal.paint('bold', org)}  ${terminal.paint(style, state)}`;
  if (state === 'unknown') return [head, '  has no keys'];
  const rows = [...versions]
    .reverse()
    .map(({ version, state: of, keyId, createdAt, kekUris }) => [
      String(version),
      of,
      keyId,
      new Date(createdAt).toISOString(),
      kekUris.map(printable).join(' ') || '-',
    ]);
  const table = columns([['version', 'state', 'key id', 'created', 'wrapped under'], ...rows]);
  const due = keks.some(({ kekUri }) => kekUri !== kekFor);
  return [
    head,
    ...table.map((line) => `  ${line}`),
    ...keks.map(({ kekUri, state: kek }) => {
      return `  KEK ${printable(kekUri)}: ${terminal.paint(kek === 'enabled' ? 'green' : 'red', kek)}`;
    }),
    ...(due
      ? [terminal.paint('yellow', `  kekFor names ${printable(kekFor)}: a move or rewrap is due`)]
      : []),
  ];
}
