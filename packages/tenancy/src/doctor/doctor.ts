/**
 * Runs every rule over a database: what is known of it is read in a few statements, and judged without it.
 */
import { type Kysely, sql } from 'kysely';
import type { Catalog } from '../catalog/catalog.ts';
import { readCatalog } from '../catalog/read-catalog.ts';
import type { TenancySchema } from '../policies/declaration.ts';
import { printable } from '../printable.ts';
import { type Facts, readFacts } from './facts.ts';
import { Inspection } from './inspection.ts';
import { checkPlans, type PlanningHandle, type TablePlan } from './plan-check.ts';
import type { Finding, Hit, Level, Rule } from './rule.ts';
import { RULES } from './rules.ts';
import { unsupportedServer } from './server-rules.ts';

/** What `runDoctor` examines. */
export interface DoctorOptions {
  /** Connection of the owner, or of a role that may read the context keys; not the app's. */
  readonly db: Kysely<unknown>;
  /** The declaration. */
  readonly schema: TenancySchema;
  /** Handle of any organisation, for the plan check; without it, RF951 and RF952 have nothing to judge. */
  readonly app?: PlanningHandle;
}

/** What the doctor found; plain data, and the document of `--json`. */
export interface DoctorReport {
  /** Database examined. */
  readonly database: string;
  /** `server_version_num`. */
  readonly serverVersion: number;
  /** Org-owned tables examined. */
  readonly orgTables: number;
  /** Rules applied. */
  readonly rules: number;
  /** Plans examined. */
  readonly plans: number;
  /** Findings, worst first. */
  readonly findings: readonly Finding[];
  /** Findings by level. */
  readonly counts: Readonly<Record<Level, number>>;
}

const LEVELS: readonly Level[] = ['error', 'warning', 'note'];

/**
 * Judges a snapshot: pure, so that a kept one gives the same report again.
 */
export function examine(
  catalog: Catalog,
  schema: TenancySchema,
  facts: Facts,
  plans: readonly TablePlan[] = [],
): DoctorReport {
  const inspection = new Inspection(catalog, schema, facts, plans);
  const findings = RULES.flatMap((rule) => [...rule.check(inspection)].map((hit) => findingOf(rule, hit)));
  const { database, serverVersion } = catalog;
  return report(
    { database, serverVersion, orgTables: inspection.orgTables.length, plans: plans.length },
    findings,
  );
}

function findingOf({ id, name, level }: Rule, hit: Hit): Finding {
  const { object, message, remedy } = hit;
  return {
    rule: id,
    name,
    level,
    object: printable(object),
    message: printable(message),
    remedy: printable(remedy),
  };
}

function report(
  about: Pick<DoctorReport, 'database' | 'serverVersion' | 'orgTables' | 'plans'>,
  findings: readonly Finding[],
): DoctorReport {
  const of = (level: Level) => findings.filter((finding) => finding.level === level);
  return {
    ...about,
    rules: RULES.length,
    findings: LEVELS.flatMap(of),
    counts: { error: of('error').length, warning: of('warning').length, note: of('note').length },
  };
}

/**
 * Examines a live database. Reads only.
 *
 * @throws RingfenceTenancyError when the handle of the plan check is refused.
 * @example
 * ```ts
 * const report = await runDoctor({ db: owner, schema, app: tenancy.forOrg(org, { actor: 'job:doctor' }) });
 * if (report.counts.error > 0) throw new Error(formatReport(report));
 * ```
 */
export async function runDoctor({ db, schema, app }: DoctorOptions): Promise<DoctorReport> {
  const { rows } = await sql<{ version: number; database: string }>`
    select current_setting('server_version_num')::int as version, current_database() as database`.execute(db);
  const { version = 0, database = '' } = rows[0] ?? {};
  const [tooOld] = unsupportedServer(version);
  if (tooOld !== undefined) {
    const rule = RULES.find(({ name }) => name === 'server-unsupported');
    const findings = rule === undefined ? [] : [findingOf(rule, tooOld)];
    return report({ database, serverVersion: version, orgTables: 0, plans: 0 }, findings);
  }
  const catalog = await readCatalog(db);
  const facts = await readFacts(db, schema.appRole);
  const plans = app === undefined ? [] : await checkPlans(app, schema);
  return examine(catalog, schema, facts, plans);
}
