#!/usr/bin/env node
/**
 * The program behind `npx @ringfence/crypto`. A second interrupt ends it at once, as it would any program; all its
 * operations stand that.
 */
import { runCli } from './run-cli.ts';

const { argv, env, stdin, stdout, stderr } = process;

// A reader that has seen enough (`| head`) is no failure to tell of; 141 is what a shell gives for a closed pipe.
const closed = ({ code }: NodeJS.ErrnoException) => process.exit(code === 'EPIPE' ? 141 : 2);
for (const stream of [stdout, stderr]) stream.on('error', closed);
process.exitCode = await runCli({
  args: argv.slice(2),
  directory: process.cwd(),
  env,
  stdin,
  stdout,
  stderr,
  onInterrupt: (interrupted) => {
    process.once('SIGINT', interrupted);
    return () => process.off('SIGINT', interrupted);
  },
});
// A pool that the configuration opened and does not close would keep the process; what was written is let out first.
await Promise.all([stdout, stderr].map((stream) => new Promise((written) => stream.write('', written))));
process.exit();
