/**
 * `verify-retired`: counts what still names the versions of an organisation that seal no more; with `--retire`, retires
 * those that nothing names, by the verified retirement of the key operations.
 */
import { RingfenceCryptoError } from '../errors.ts';
import type { DekState } from '../key-store.ts';
import type { ReferenceCounter, RetirementProof } from '../operations/retirement.ts';
import type { OrgId } from '../org-id.ts';
import { usage } from './arguments.ts';
import { type ShownError, shownError } from './cli-error.ts';
import { type Command, type CommandContext, singleOrg } from './command.ts';
import { columns, printable } from './terminal.ts';

interface VersionFinding {
  readonly keyId: string;
  readonly version: number;
  readonly state: DekState;
  readonly references: Readonly<Record<string, number>>;
  /** Set by `--retire`. */
  readonly retired?: boolean;
  readonly proof?: RetirementProof;
  readonly error?: ShownError;
}

/** Runs `verify-retired`. */
export const verifyRetiredCommand: Command = async (context) => {
  const { args, config, terminal } = context;
  const org = singleOrg(context);
  const references = config.references ?? [];
  if (references.length === 0) throw usage('verify-retired needs `references` in the configuration');
  const records = await config.store.load(org);
  if (records.length === 0) {
    throw new RingfenceCryptoError('crypto.org_unknown', 'the organisation has no keys', { org });
  }
  const findings: VersionFinding[] = [];
  for (const { keyId, version, state } of records) {
    if (state !== 'retired' && state !== 'decrypt_only') continue;
    const counts: Record<string, number> = {};
    for (const { name, count } of references) counts[name] = await count(org, keyId);
    const finding: VersionFinding = { keyId, version, state, references: counts };
    const free = Object.values(counts).every((n) => n === 0);
    if (!args.on.has('retire') || state === 'retired' || !free) {
      findings.push(finding);
      continue;
    }
    findings.push({ ...finding, ...(await retire(context, org, keyId, references)) });
  }
  const broken = findings.filter(({ state, references: of }) => state === 'retired' && sum(of) > 0);
  const failed = findings.filter(({ error }) => error !== undefined);
  const rows = findings.map((one) => [
    String(one.version),
    one.state,
    one.keyId,
    Object.entries(one.references)
      .map(([name, n]) => `${printable(name)}: ${n}`)
      .join(', '),
    verdict(one),
  ]);
  const lines = [
    ...(rows.length === 0
      ? [`${org}: no version is retired or could be`]
      : columns([['version', 'state', 'key id', 'still named by', 'verdict'], ...rows])),
    ...broken.map(({ version }) =>
      terminal.paint('red', `version ${version} is retired but still named: what names it cannot be opened`),
    ),
    ...failed.map(({ version, error }) =>
      terminal.paint('red', `version ${version}: ${error?.code}: ${printable(error?.message ?? '')}`),
    ),
  ];
  const exit = broken.length > 0 || failed.length > 0 ? 1 : 0;
  return { exit, document: { command: 'verify-retired', org, versions: findings }, lines };
};

/** Retires a version. A proof that could not be recorded is an error, but the version is retired. */
async function retire(
  { operations, config }: CommandContext,
  org: OrgId,
  keyId: string,
  references: readonly ReferenceCounter[],
): Promise<Partial<VersionFinding>> {
  let proof: RetirementProof;
  try {
    proof = await operations.retire(org, keyId, references);
  } catch (error) {
    return { retired: false, error: shownError(error) };
  }
  const done = { state: 'retired', retired: true, proof } as const;
  try {
    await config.record?.({ ...proof });
    return done;
  } catch (error) {
    return { ...done, error: shownError(error) };
  }
}

function verdict({ state, references, retired }: VersionFinding): string {
  if (state === 'retired')
    return sum(references) > 0 ? 'BROKEN' : retired === true ? 'retired now' : 'verified';
  return sum(references) > 0 ? 'in use' : 'can be retired';
}

function sum(references: Readonly<Record<string, number>>): number {
  return Object.values(references).reduce((total, n) => total + n, 0);
}
