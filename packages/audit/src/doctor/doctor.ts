/**
 * Examines the guards of a live log: reads the catalogs in one statement, and compares them with what the migrations
 * make. Reads only. It says whether somebody could pass the guards, not whether somebody did: that is verification.
 */
import { type CaptureOptions, captureOf } from '../capture/capture-triggers.ts';
import type { QueryExecutor } from '../executor.ts';
import { type AuditMigrationOptions, auditMigrations } from '../migrations.ts';
import { accessRules } from './access-rules.ts';
import { codeRules } from './code-rules.ts';
import { expectedSchema } from './expected-schema.ts';
import { type Facts, readFacts } from './facts.ts';
import type { DoctorFinding, DoctorLevel, Rule } from './rule.ts';
import { tableRules } from './table-rules.ts';

/** What the doctor compares with: the settings of the migrations that were run. */
export interface AuditDoctorOptions extends AuditMigrationOptions {
  /** Tables whose changes are captured. */
  readonly captures?: readonly CaptureOptions[];
}

/** What the doctor found; plain data, and the document of `--json`. */
export interface AuditDoctorReport {
  /** Database examined. */
  readonly database: string;
  /** `server_version_num`. */
  readonly serverVersion: number;
  /** Rules applied. */
  readonly rules: number;
  /** Findings, errors first. */
  readonly findings: readonly DoctorFinding[];
  /** Findings by level. */
  readonly counts: Readonly<Record<DoctorLevel, number>>;
  /** Login roles that are superusers. They can switch every guard off, for a moment and unseen by the doctor: keep heads outside. */
  readonly superusers: readonly string[];
}

const MISSING: Rule = {
  name: 'schema-missing',
  level: 'error',
  rationale: 'there is no log here',
  *check({ facts }) {
    if (facts.owner === null)
      yield { object: 'audit', message: 'there is no schema audit', remedy: '-- run the migrations' };
  },
};

/** Every rule, in the order of the report. */
export const AUDIT_RULES: readonly Rule[] = [MISSING, ...tableRules, ...codeRules, ...accessRules];

/** Judges facts that were read before. */
export function examineAudit(facts: Facts, options: AuditDoctorOptions): AuditDoctorReport {
  const expected = expectedSchema(auditMigrations(options), facts.owner ?? '');
  const captures = (options.captures ?? []).map(captureOf);
  const examined = { facts, expected, captures, app: options.appRole };
  const rules = facts.owner === null ? [MISSING] : AUDIT_RULES;
  const findings = rules.flatMap((rule) => [...rule.check(examined)].map((hit) => findingOf(rule, hit)));
  const of = (level: DoctorLevel) => findings.filter((finding) => finding.level === level);
  return {
    database: facts.database,
    serverVersion: facts.version,
    rules: AUDIT_RULES.length,
    findings: [...of('error'), ...of('warning')],
    counts: { error: of('error').length, warning: of('warning').length },
    superusers: facts.superusers.map(printable),
  };
}

function findingOf(
  { name, level }: Rule,
  { object, message, remedy }: { object: string; message: string; remedy: string },
): DoctorFinding {
  return {
    rule: name,
    level,
    object: printable(object),
    message: printable(message),
    remedy: remedy.replaceAll(CONTROL, ' '),
  };
}

/** Names come from whoever could create objects: no control character of theirs reaches a terminal. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}](?<!\n)/gu;

function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/**
 * Examines the guards of the log in a database. Any role can run it; it reads catalogs only.
 *
 * @throws RingfenceAuditError `audit.invalid_identifier` when a name of the options is not plain; the driver's error.
 * @example
 * ```ts
 * const report = await auditDoctor(db, { appRole: 'ledger_app', context: 'tenancy.context()' });
 * if (report.counts.error > 0) throw new Error(formatAuditDoctor(report));
 * ```
 */
export async function auditDoctor(
  db: QueryExecutor,
  options: AuditDoctorOptions,
): Promise<AuditDoctorReport> {
  return examineAudit(await readFacts(db, options.appRole), options);
}
