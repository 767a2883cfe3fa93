/**
 * Policies and declarations from files: JSON, or a module of the application. A module is code of its caller and runs as
 * such. Whatever it exports, the policy goes through `policyFromJSON` again: nothing is believed because of its class.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import type { AnalysisOptions } from '../analyze/index.ts';
import { type Policy, policyFromJSON } from '../policy.ts';
import { CliError, messageOf } from './command.ts';

/** What a file holds. */
export interface Loaded {
  /** The policy. */
  readonly policy: Policy;
  /** What the module declares about it, as `analysis`. */
  readonly analysis: AnalysisOptions;
}

const names = z.array(z.string());
const declarations = z.strictObject({
  sensitive: names.optional(),
  duties: z
    .array(z.strictObject({ actions: z.tuple([z.string(), z.string()]), owner: z.string().optional() }))
    .optional(),
  combinations: z.union([z.array(names), z.literal('any')]).optional(),
  approvals: z.array(z.strictObject({ action: z.string(), owner: z.string() })).optional(),
  limit: z.int().min(1).optional(),
});

/**
 * Loads a policy and, from `declared` or the module itself, the declarations of its analysis.
 *
 * @throws CliError `cli.file`; RingfenceAuthzError `authz.invalid_policy`.
 */
export async function loadPolicy(
  directory: string,
  path: string,
  declared?: string | undefined,
): Promise<Loaded> {
  const { policy: exported, analysis } = await contents(directory, path, 'policy');
  const document = hasToJson(exported) ? exported.toJSON() : exported;
  if (document === undefined)
    throw new CliError('cli.file', `${path}: exports neither \`policy\` nor a default`);
  const own = declared === undefined ? analysis : (await contents(directory, declared, 'analysis')).analysis;
  return { policy: policyFromJSON(document), analysis: checked(declared ?? path, own) };
}

/** Writes a file whose path is relative to the folder. @throws CliError `cli.file`. */
export async function store(directory: string, path: string, text: string): Promise<void> {
  try {
    await writeFile(resolve(directory, path), text);
  } catch (error) {
    throw new CliError('cli.file', messageOf(error));
  }
}

/** A JSON file is what is wanted of it; a module exports it by name or as default. */
async function contents(
  directory: string,
  path: string,
  wanted: 'policy' | 'analysis',
): Promise<{ readonly policy?: unknown; readonly analysis?: unknown }> {
  const file = resolve(directory, path);
  try {
    if (path.endsWith('.json')) return { [wanted]: JSON.parse(await readFile(file, 'utf8')) as unknown };
    const module: Readonly<Record<string, unknown>> = await import(pathToFileURL(file).href);
    return {
      ...(module['analysis'] === undefined ? {} : { analysis: module['analysis'] }),
      [wanted]: module[wanted] ?? module['default'],
    };
  } catch (error) {
    throw new CliError('cli.file', `${path} cannot be loaded: ${messageOf(error)}`);
  }
}

function checked(path: string, analysis: unknown): AnalysisOptions {
  if (analysis === undefined) return {};
  const result = declarations.safeParse(analysis);
  if (result.success) return result.data as AnalysisOptions;
  const [issue] = result.error.issues;
  throw new CliError('cli.file', `${path}: \`analysis\` ${issue?.path.join('.')}: ${issue?.message}`);
}

function hasToJson(value: unknown): value is { toJSON(): unknown } {
  return (
    typeof value === 'object' && value !== null && 'toJSON' in value && typeof value.toJSON === 'function'
  );
}
