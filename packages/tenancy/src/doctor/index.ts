/**
 * The doctor: every known way past row-level security as a named rule over the live catalog.
 *
 * @packageDocumentation
 */
export { type DoctorOptions, type DoctorReport, examine, runDoctor } from './doctor.ts';
export type { Facts, Guarded, InstalledFunction, OwnedObject, PolicyUse } from './facts.ts';
export { readFacts } from './facts.ts';
export { checkPlans, type PlanningHandle, type TablePlan } from './plan-check.ts';
export type { Finding, Hit, Level } from './rule.ts';
export { type SarifFormat, type SarifLog, toSarif } from './sarif-report.ts';
export { formatReport, type ReportFormat } from './text-report.ts';
