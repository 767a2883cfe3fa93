/**
 * The parts of the OpenTelemetry API (version 1) that this package calls, as structural types: `trace.getTracer(…)` and
 * `metrics.getMeter(…)` of `@opentelemetry/api` fit, and nothing depends on it.
 */

/** What an attribute can hold here. */
export type TelemetryValue = string | number | boolean;

/** Attributes by name. */
export type TelemetryAttributes = Record<string, TelemetryValue>;

/** A span that was started. */
export interface TelemetrySpan {
  /** Sets one attribute. */
  setAttribute(name: string, value: TelemetryValue): unknown;
  /** Sets the status; code 2 is ERROR. */
  setStatus(status: { code: number }): unknown;
  /** Ends the span. */
  end(): void;
}

/** A tracer. */
export interface TelemetryTracer {
  /** Runs a function inside a new span. */
  startActiveSpan<T>(
    name: string,
    options: { attributes: TelemetryAttributes },
    run: (span: TelemetrySpan) => T,
  ): T;
}

/** A histogram. */
export interface TelemetryHistogram {
  /** Records one value. */
  record(value: number, attributes?: TelemetryAttributes): void;
}

/** A gauge that is asked for its value. */
export interface TelemetryGauge {
  /** Adds what answers. */
  addCallback(callback: (result: TelemetryResult) => void | Promise<void>): void;
  /** Removes it. */
  removeCallback(callback: (result: TelemetryResult) => void | Promise<void>): void;
}

/** Where a gauge's value goes. */
export interface TelemetryResult {
  /** Reports the value. */
  observe(value: number, attributes?: TelemetryAttributes): void;
}

/** A meter. */
export interface TelemetryMeter {
  /** Makes a histogram. */
  createHistogram(name: string, options: { unit: string; description: string }): TelemetryHistogram;
  /** Makes a gauge that is asked for its value. */
  createObservableGauge(name: string, options: { unit: string; description: string }): TelemetryGauge;
}

/** The API handed in. */
export interface Telemetry {
  /** Makes spans. Default: none are made. */
  readonly tracer?: TelemetryTracer;
  /** Makes metrics. Default: none are made. */
  readonly meter?: TelemetryMeter;
}
