#!/usr/bin/env node
/** The program behind `npx @ringfence/audit`. */
import { runCli } from './run-cli.ts';

const { argv, stdout, stderr } = process;

process.exitCode = await runCli(argv.slice(2), { directory: process.cwd(), stdout, stderr });
