#!/usr/bin/env node
/**
 * The program behind `npx @ringfence/tenancy`.
 */
import { runCli } from './run-cli.ts';

const { argv, env, stdout, stderr } = process;

process.exitCode = await runCli({ args: argv.slice(2), directory: process.cwd(), env, stdout, stderr });
// What the configuration opened and does not close would keep the process; what was written is let out first.
await Promise.all([stdout, stderr].map((stream) => new Promise((written) => stream.write('', written))));
process.exit();
