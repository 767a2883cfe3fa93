/** `@ringfence/authz/analyze`: what a policy allows, decided completely. */
export {
  type AnalysisLimit,
  type Holding,
  holdingImplies,
  type Implication,
  implies,
} from '../implication.ts';
export type { DecisionInputs } from '../record-inputs.ts';
export { type AnalysisOptions, analyze } from './analyze.ts';
export type { Duty, SelfApproval } from './declared.ts';
export { type Change, diff } from './diff.ts';
export type { RecordCounts, RecordedDecision } from './evidence.ts';
export type { Finding, FindingId, FindingLevel, Rule } from './finding.ts';
export { matrixHtml } from './matrix.ts';
export { type SarifFormat, type SarifLog, toSarif } from './sarif-report.ts';
export { type Shrinkage, type ShrinkOptions, type ShrinkProof, type Shrunk, shrink } from './shrink.ts';
