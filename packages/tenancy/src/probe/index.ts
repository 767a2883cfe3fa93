/** The probe: attacks every org-owned table of a live schema, in one transaction that is rolled back. */
export { type ProbeOptions, probe } from './probe.ts';
export {
  type Acceptance,
  type AttackName,
  type AttackResult,
  formatProbeReport,
  type Outcome,
  type ProbeReport,
  type Unprobed,
} from './report.ts';
export type { ProbeValue, RowValues } from './seed-values.ts';
