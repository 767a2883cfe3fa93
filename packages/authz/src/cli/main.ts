#!/usr/bin/env node
/** The program behind `npx @ringfence/authz`. */
import { runCli } from './run-cli.ts';

const { argv, env, stderr, stdin, stdout } = process;

process.exitCode = await runCli(argv.slice(2), { directory: process.cwd(), env, stdin, stdout, stderr });
