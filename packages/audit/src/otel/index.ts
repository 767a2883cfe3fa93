/**
 * OpenTelemetry for the audit log, by an API object that is handed in.
 *
 * @packageDocumentation
 */
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
