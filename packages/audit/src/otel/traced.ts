/**
 * Spans and metrics around an audit log.
 *
 * Invariant: attributes hold names of events, counts and error codes, nothing else. No organisation, actor, target, id or
 * text of an error leaves by them, since an error of the driver can quote a row.
 */
import type { Audit } from '../audit.ts';
import { RingfenceAuditError } from '../errors.ts';
import type { EventCatalogue } from '../event-catalogue.ts';
import { measureLag } from './lag-metrics.ts';
import type { Telemetry, TelemetryAttributes, TelemetrySpan } from './telemetry.ts';

/** An audit log with spans and metrics. */
export interface TracedAudit<E extends EventCatalogue> extends Audit<E> {
  /** Takes the gauges out of the meter; call it before the pool is ended. */
  stopMetrics(): void;
}

const ERROR = 2;
const DURATION = 'ringfence.audit.operation.duration';

/**
 * The same audit log, with a span around each operation and, given a meter, the age and number of unsealed events.
 *
 * Spans: `audit.record`, `audit.sealed`, `audit.seal_pending`, `audit.verify`. Metrics: `ringfence.audit.unsealed.age` (ms)
 * and `ringfence.audit.unsealed.events`, read from the database when the meter asks (`measureLag` has those of signing and
 * copying), and `ringfence.audit.operation.duration` (ms). Alarm on the age.
 *
 * @example
 * ```ts
 * const audit = traced(createAudit({ events, db }), { tracer: trace.getTracer('app'), meter: metrics.getMeter('app') });
 * ```
 */
export function traced<E extends EventCatalogue>(
  audit: Audit<E>,
  { tracer, meter }: Telemetry,
  now: () => number = () => performance.now(),
): TracedAudit<E> {
  const duration = meter?.createHistogram(DURATION, {
    unit: 'ms',
    description: 'Duration of an operation on the audit log',
  });

  const lag = meter === undefined ? undefined : measureLag(meter, { audit });

  async function spanned<T>(
    operation: string,
    attributes: TelemetryAttributes,
    run: () => Promise<T>,
    describe: (result: T) => TelemetryAttributes = () => ({}),
  ): Promise<T> {
    const startMs = now();
    const inside = async (span?: TelemetrySpan): Promise<T> => {
      let failure: string | undefined;
      try {
        const result = await run();
        for (const [name, value] of Object.entries(describe(result))) span?.setAttribute(name, value);
        return result;
      } catch (error) {
        failure = error instanceof RingfenceAuditError ? error.code : 'other';
        span?.setAttribute('error.type', failure);
        span?.setStatus({ code: ERROR });
        throw error;
      } finally {
        duration?.record(now() - startMs, {
          'ringfence.audit.operation': operation,
          ...(failure === undefined ? {} : { 'error.type': failure }),
        });
        span?.end();
      }
    };
    return tracer === undefined
      ? await inside()
      : await tracer.startActiveSpan(`audit.${operation}`, { attributes }, inside);
  }

  return {
    ...audit,
    sealed: (receipt, result) =>
      spanned('sealed', { 'ringfence.audit.event': receipt.type }, () => audit.sealed(receipt, result)),
    record: (executor, type, event) =>
      // Named once it is recorded: until then nothing says that it is a name of the catalogue.
      spanned(
        'record',
        {},
        () => audit.record(executor, type, event),
        () => ({ 'ringfence.audit.event': type }),
      ),
    sealPending: () => spanned('seal_pending', {}, () => audit.sealPending()),
    verify: (executor, org, options) =>
      spanned(
        'verify',
        {},
        () => audit.verify(executor, org, options),
        ({ ok, checked, findingCount }) => ({
          'ringfence.audit.ok': ok,
          'ringfence.audit.checked': checked,
          'ringfence.audit.findings': findingCount,
        }),
      ),
    stopMetrics: () => lag?.stop(),
  };
}
