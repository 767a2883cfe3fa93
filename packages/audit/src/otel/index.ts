/**
 * OpenTelemetry for the audit log, by an API object that is handed in.
 *
 * @packageDocumentation
 */
export { type LagMetrics, type LagSources, measureLag } from './lag-metrics.ts';
export type {
  Telemetry,
  TelemetryAttributes,
  TelemetryGauge,
  TelemetryHistogram,
  TelemetryMeter,
  TelemetryResult,
  TelemetrySpan,
  TelemetryTracer,
  TelemetryValue,
} from './telemetry.ts';
export { type TracedAudit, traced } from './traced.ts';
