/** The report as SARIF 2.1.0 (OASIS), for code-scanning services: one run, one result per finding. */
import type { DoctorReport } from './doctor.ts';
import { RULES } from './rules.ts';

const SCHEMA = 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json';

/** Settings of `toSarif`. */
export interface SarifFormat {
  /**
   * Path of the declaration within the repository. Findings lie in a database, and some services show only results that
   * lie in a file: with it, each result points to the declaration as well.
   */
  readonly declarationFile?: string;
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

/**
 * The report as a SARIF log.
 *
 * @example
 * ```ts
 * await writeFile('doctor.sarif', JSON.stringify(toSarif(report, { declarationFile: 'src/tenancy-schema.ts' })));
 * ```
 */
export function toSarif(report: DoctorReport, { declarationFile }: SarifFormat = {}): SarifLog {
  const indexOf = new Map(RULES.map(({ id }, index) => [id as string, index]));
  const physical =
    declarationFile === undefined
      ? {}
      : { physicalLocation: { artifactLocation: { uri: declarationFile }, region: { startLine: 1 } } };
  const rules = RULES.map(({ id, name, level, title, rationale, source }) => ({
    id,
    name,
    shortDescription: { text: title },
    fullDescription: { text: rationale },
    help: { text: `${rationale} Source: ${source}.` },
    defaultConfiguration: { level },
  }));
  const results = report.findings.map(({ rule, level, object, message, remedy }) => ({
    ruleId: rule,
    ruleIndex: indexOf.get(rule),
    level,
    message: { text: `${object}: ${message}. Remedy: ${remedy}` },
    locations: [{ ...physical, logicalLocations: [{ fullyQualifiedName: object, kind: 'object' }] }],
    partialFingerprints: { 'ringfence/v1': `${rule}:${object}:${message}` },
  }));
  return {
    $schema: SCHEMA,
    version: '2.1.0',
    runs: [{ tool: { driver: { name: '@ringfence/tenancy doctor', rules } }, results }],
  };
}
