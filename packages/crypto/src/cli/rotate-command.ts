/**
 * `rotate`: a new active data-key version.
 */
import { RingfenceCryptoError } from '../errors.ts';
import { type Command, singleOrg } from './command.ts';
import { printable } from './terminal.ts';

/** Runs `rotate`. */
export const rotateCommand: Command = async (context) => {
  const { args, operations, config } = context;
  const org = singleOrg(context);
  if (!args.on.has('dry-run')) {
    const rotated = await operations.rotate(org);
    const follow = rotated.notified ? 'all processes were told' : 'processes follow when their leases end';
    return {
      exit: 0,
      document: { command: 'rotate', org, dryRun: false, ...rotated },
      lines: [`${org}: version ${rotated.version} is active, key id ${rotated.keyId}; ${follow}`],
    };
  }
  const records = await config.store.load(org);
  if (records.length === 0) {
    throw new RingfenceCryptoError('crypto.org_unknown', 'the organisation has no keys', { org });
  }
  if (records.some(({ state }) => state === 'shredded')) {
    throw new RingfenceCryptoError('crypto.key_shredded', 'the keys of this organisation were destroyed', {
      org,
    });
  }
  const former = records.at(-1);
  const version = (former?.version ?? 0) + 1;
  const kekUris = former?.wraps.map(({ kekUri }) => kekUri) ?? [];
  const kmsCalls = 2 * kekUris.length;
  return {
    exit: 0,
    document: { command: 'rotate', org, dryRun: true, version, kekUris, kmsCalls },
    lines: [
      `${org}: would make version ${version} the active one, wrapped under ${kekUris.map(printable).join(' and ')}`,
      `  ${kmsCalls} KMS calls; version ${version - 1} would open on; no data is touched`,
      'dry run: nothing was changed',
    ],
  };
};
