/**
 * The command line's configuration: a module of the application that wires providers and store the way the application
 * does. Secrets come from wherever that code takes them; the command line itself reads none, neither from arguments nor
 * from the environment.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { KeyStore } from '../key-store.ts';
import type { KeyUseSink } from '../key-use/key-use-ledger.ts';
import type { KmsProvider } from '../kms.ts';
import type { ReferenceCounter } from '../operations/retirement.ts';
import type { OrgId } from '../org-id.ts';
import type { RevocationChannel } from '../revocation.ts';
import { CliError, causeText } from './cli-error.ts';

/** What `ringfence.crypto.config` exports, as default or as `config`. */
export interface CryptoCliConfig {
  /** Application name, the same as the keyring's. */
  readonly app: string;
  /** KMS providers, one per URI scheme. */
  readonly kms: readonly KmsProvider[];
  /** The keyring's key store, with a role that may delete wraps. */
  readonly store: KeyStore;
  /** URI of the KEK an organisation should be under. */
  readonly kekFor: (org: OrgId) => string;
  /** What may name a data-key version, for `verify-retired`. */
  readonly references?: readonly ReferenceCounter[];
  /** All organisations with keys, ascending, for `rewrap` and `status` without an organisation: `() => orgsWithKeys(db)`. */
  readonly orgs?: () => AsyncIterable<OrgId> | Iterable<OrgId>;
  /** Channel on which keyrings listen, so that they follow at once. */
  readonly revocations?: RevocationChannel;
  /** Ledger that gets the request ids of the KMS calls; flushed before `close`. */
  readonly keyUse?: KeyUseSink;
  /** Time limit of one KMS call, ms. Default 10 000. */
  readonly kmsTimeoutMs?: number;
  /** Longest lease of any keyring of the application, ms. Default 300 000. */
  readonly maxLeaseAgeMs?: number;
  /** Takes certificates and proofs, e.g. into the audit log; a rejection fails the command, the document is printed still. */
  readonly record?: (document: Readonly<Record<string, unknown>>) => void | Promise<void>;
  /** Closes what the module opened, such as a connection pool. */
  readonly close?: () => void | Promise<void>;
}

const NAMES = ['ringfence.crypto.config.ts', 'ringfence.crypto.config.mjs', 'ringfence.crypto.config.js'];

/** Loads the configuration: the file named, or the first of the known names in `directory`. */
export async function loadConfig(directory: string, named: string | undefined): Promise<CryptoCliConfig> {
  const paths = (named === undefined ? NAMES : [named]).map((name) => resolve(directory, name));
  const path = paths.find((one) => existsSync(one));
  if (path === undefined) {
    throw new CliError('cli.config', missing(directory, named), 2);
  }
  let module: Readonly<Record<string, unknown>>;
  try {
    module = await import(pathToFileURL(path).href);
  } catch (error) {
    throw new CliError('cli.config', `${path} cannot be loaded: ${causeText(error)}`, 2);
  }
  const config = module['default'] ?? module['config'];
  const problem = problemOf(config);
  if (problem !== undefined) throw new CliError('cli.config', `${path}: ${problem}`, 2);
  return config as CryptoCliConfig;
}

function missing(directory: string, named: string | undefined): string {
  if (named !== undefined) return `there is no file ${resolve(directory, named)}`;
  return `no configuration: there is no ${NAMES.join(', ')} in ${directory}; it exports app, kms, store and kekFor as default, and --config names another file`;
}

function problemOf(config: unknown): string | undefined {
  if (typeof config !== 'object' || config === null) return 'exports neither a default nor `config`';
  const members = config as Readonly<Record<string, unknown>>;
  if (typeof members['app'] !== 'string') return '`app` must be a string';
  if (!Array.isArray(members['kms'])) return '`kms` must be a list of KMS providers';
  if (typeof members['store'] !== 'object' || members['store'] === null) return '`store` must be a key store';
  if (typeof members['kekFor'] !== 'function') return '`kekFor` must be a function';
  if (members['references'] !== undefined && !Array.isArray(members['references']))
    return '`references` must be a list of reference counters';
  for (const name of ['orgs', 'record', 'close']) {
    const member = members[name];
    if (member !== undefined && typeof member !== 'function') return `\`${name}\` must be a function`;
  }
  return undefined;
}
