#!/usr/bin/env node
/** The program behind `npx @ringfence/authz`. */
import { runCli } from './run-cli.ts';

const { argv, env, stderr, stdin, stdout } = process;

// A reader that has seen enough (`| head`) is no failure to tell of; 141 is what a shell gives for a closed pipe.
const closed = ({ code }: NodeJS.ErrnoException) => process.exit(code === 'EPIPE' ? 141 : 2);
for (const stream of [stdout, stderr]) stream.on('error', closed);
process.exitCode = await runCli(argv.slice(2), { directory: process.cwd(), env, stdin, stdout, stderr });
