/** What several commands take from their arguments. Everything that was typed wrong is a `CliError`: exit code 2. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { type OrgId, parseOrgId } from '../org-id.ts';
import { CliError, messageOf } from './command.ts';

/** Options that name a log in a write-once copy, and who vouches for it. */
export const COPY_OPTIONS = {
  bucket: { type: 'string' },
  directory: { type: 'string' },
  endpoint: { type: 'string' },
  org: { type: 'string' },
  origin: { type: 'string' },
  key: { type: 'string', multiple: true },
  note: { type: 'string', multiple: true },
  database: { type: 'string' },
  json: { type: 'boolean' },
} as const;

/** Parses the arguments of a command. */
export function parsed<C extends ParseArgsConfig>(
  args: readonly string[],
  config: C,
): ReturnType<typeof parseArgs<C & { args: string[]; strict: true }>> {
  try {
    return parseArgs({ ...config, args: [...args], strict: true });
  } catch (error) {
    // Node goes on about arguments that begin with a dash, of which there are none here.
    throw new CliError(messageOf(error).replace(/\. To specify a positional .*$/s, ''));
  }
}

/** The organisation of `--org`. */
export function orgOf(text: string): OrgId {
  try {
    return parseOrgId(text);
  } catch {
    throw new CliError('--org is the UUID of an organisation');
  }
}

/** The texts of `--note`. */
export async function notesOf(paths: readonly string[] | undefined, directory: string): Promise<string[]> {
  return await Promise.all((paths ?? []).map((path) => readFile(resolve(directory, path), 'utf8')));
}

/** Keys and notes that were typed wrong are wrong usage. */
export async function orUsage<T>(run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw error instanceof TypeError ? new CliError(error.message) : error;
  }
}
