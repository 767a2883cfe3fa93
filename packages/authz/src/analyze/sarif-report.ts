/** Findings and changes as SARIF 2.1.0 (OASIS), for code-scanning services: one run, one result each. */
import type { Change } from './diff.ts';
import { type Finding, type FindingLevel, RULES } from './finding.ts';

const SCHEMA = 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json';
const REACH = ['allow', 'step_up', 'needs_approval', 'deny'];

/** Settings of `toSarif`. */
export interface SarifFormat {
  /** Path of the policy within the repository: some services show only results that lie in a file. */
  readonly policyFile?: string;
}

/** A SARIF log, as far as this package writes it. */
export interface SarifLog {
  /** Address of the schema. */
  readonly $schema: string;
  /** Version of the format. */
  readonly version: '2.1.0';
  /** The one run. */
  readonly runs: readonly unknown[];
}

interface Result {
  readonly rule: string;
  readonly level: FindingLevel;
  readonly subject: string;
  readonly message: string;
  readonly witness: unknown;
}

/**
 * Findings of `analyze` or changes of `diff` as a SARIF log. A change that opens something is an error, others are notes.
 *
 * @example
 * ```ts
 * await writeFile('authz.sarif', JSON.stringify(toSarif(analyze(policy), { policyFile: 'src/policy.ts' })));
 * ```
 */
export function toSarif(
  found: readonly Finding[] | readonly Change[],
  { policyFile }: SarifFormat = {},
): SarifLog {
  const rules = [
    ...Object.entries(RULES).map(([id, { level, rationale, remedy }]) => ({
      id,
      shortDescription: { text: rationale },
      help: { text: `${rationale} ${remedy}` },
      defaultConfiguration: { level: level as FindingLevel },
    })),
    changeRule('access-opened', 'error', 'Requests are decided nearer to an allow than before.'),
    changeRule('access-closed', 'note', 'Requests are decided farther from an allow than before.'),
  ];
  const indexOf = new Map(rules.map(({ id }, index) => [id, index]));
  const physical =
    policyFile === undefined
      ? {}
      : {
          physicalLocation: {
            artifactLocation: { uri: encodeURI(policyFile.replaceAll('\\', '/')) },
            region: { startLine: 1 },
          },
        };
  const results = found.map(resultOf).map(({ rule, level, subject, message, witness }) => ({
    ruleId: rule,
    ruleIndex: indexOf.get(rule),
    level,
    message: { text: message },
    locations: [{ ...physical, logicalLocations: [{ fullyQualifiedName: subject, kind: 'object' }] }],
    partialFingerprints: { 'ringfence/v1': `${rule}:${subject}:${message}` },
    ...(witness === undefined ? {} : { properties: { witness } }),
  }));
  return {
    $schema: SCHEMA,
    version: '2.1.0',
    runs: [{ tool: { driver: { name: '@ringfence/authz', rules } }, results }],
  };
}

function changeRule(id: string, level: FindingLevel, rationale: string) {
  return {
    id,
    shortDescription: { text: rationale },
    help: { text: rationale },
    defaultConfiguration: { level },
  };
}

function resultOf(found: Finding | Change): Result {
  const { witness } = found;
  if ('id' in found) {
    const { id, level, subject, message, remedy } = found;
    return { rule: id, level, subject, message: `${message}. Remedy: ${remedy}`, witness };
  }
  const { action, after, before, roles } = found;
  const opened = REACH.indexOf(after) < REACH.indexOf(before);
  const who = roles.map((set) => set.join(' with ')).join(', ');
  return {
    rule: opened ? 'access-opened' : 'access-closed',
    level: opened ? 'error' : 'note',
    subject: action,
    message: `${action}: ${before} becomes ${after} for ${who}`,
    witness,
  };
}
