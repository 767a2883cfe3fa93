/** `witness`: runs a witness until it is interrupted. */
import { run, USAGE } from '../checkpoint/witness-command.ts';
import type { Command } from './command.ts';

/** The command. */
export const witnessCommand: Command = {
  usage: USAGE,
  run: async (args, { stdout, stderr }) => {
    const end = new AbortController();
    const interrupted = () => end.abort();
    process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
    try {
      return (await run(args, { stdout, stderr, signal: end.signal })) as 0 | 1 | 2;
    } finally {
      process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    }
  },
};
