/**
 * Isolation as one line of your own test suite, whichever runner it is: throws with a readable report.
 *
 * @packageDocumentation
 */
import { RingfenceTenancyError } from '../errors.ts';
import { formatProbeReport, type ProbeOptions, type ProbeReport, probe } from '../probe/index.ts';

export { RingfenceTenancyError, type TenancyErrorCode } from '../errors.ts';
export type { OrgId } from '../org-id.ts';
export type {
  Exception,
  GlobalTableDeclaration,
  OrgTableDeclaration,
  Reference,
  SystemTableDeclaration,
  TenancySchema,
  ViewDeclaration,
} from '../policies/declaration.ts';
export type { TablePrivilege } from '../policies/table-policy.ts';
export {
  type Acceptance,
  type AttackName,
  type AttackResult,
  formatProbeReport,
  type Outcome,
  type ProbeOptions,
  type ProbeReport,
  type ProbeValue,
  probe,
  type RowValues,
  type Unprobed,
} from '../probe/index.ts';
export {
  type Detector,
  type Mutant,
  type MutationScore,
  type MutationScoreOptions,
  mutationScore,
  type SkippedMutation,
} from './mutation-score.ts';
export type { MutationLayer, MutationTarget, SchemaMutation } from './mutations/mutation.ts';
export { schemaMutations } from './mutations/schema-mutations.ts';

/**
 * Probes a database and expects it to be clean; resolves with the report.
 *
 * @throws RingfenceTenancyError `tenancy.isolation_failed` when an attack crossed, stayed inconclusive or was not possible;
 * the message is the report. `tenancy.probe_refused` when the probe cannot run.
 * @throws TypeError when `rows` names a table that is not in the database.
 * @example
 * ```ts
 * test('no organisation reaches another', () => expectIsolation({ owner, schema }));
 * ```
 */
export async function expectIsolation<DB>(options: ProbeOptions<DB>): Promise<ProbeReport> {
  const report = await probe(options);
  if (!report.clean) throw new RingfenceTenancyError('tenancy.isolation_failed', formatProbeReport(report));
  return report;
}
