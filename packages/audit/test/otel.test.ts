/** Spans and metrics by the real OpenTelemetry SDK, and what may not be in them. */
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import { type TracedAudit, traced } from '../src/otel/index.ts';
import { errorOf, type events, type Fixture, fixture, ORG_A } from './fixture.ts';

let f: Fixture;
let audit: TracedAudit<typeof events>;
/** How often the gauges read the database. */
let reads = 0;
const spans = new InMemorySpanExporter();
const tracing = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
const points = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: points, exportIntervalMillis: 3_600_000 });
const metrics = new MeterProvider({ readers: [reader] });

beforeAll(async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  f = await fixture(inject('databaseUrl'));
  const stats = () => {
    reads++;
    return f.audit.stats();
  };
  audit = traced(
    { ...f.audit, stats },
    { tracer: tracing.getTracer('test'), meter: metrics.getMeter('test') },
  );
});

afterEach(() => {
  spans.reset();
  points.reset();
});

afterAll(async () => {
  audit.stopMetrics();
  await metrics.shutdown();
  await f.close();
});

const seen = () =>
  spans.getFinishedSpans().map(({ name, attributes, status }) => ({ name, attributes, code: status.code }));

async function metricsNow(): Promise<Map<string, unknown>> {
  await reader.forceFlush();
  const all = points
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
  return new Map(all.map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints[0]?.value]));
}

test('makes a span of sealing, of verification and of sealing what waits', async () => {
  const receipt = audit.prepare('entry.approved', {
    target: 'secret-target',
    outcome: 'success',
    reason: 'secret-reason',
  });
  const result = await f.inOrg(ORG_A, (trx) => trx.executeQuery(receipt.query), {
    actor: 'user:secret-actor',
  });
  await audit.sealed(receipt, result);
  await audit.sealPending();
  await f.inOrg(ORG_A, (trx) => audit.verify(trx, ORG_A));
  expect(seen()).toEqual([
    { name: 'audit.sealed', attributes: { 'ringfence.audit.event': 'entry.approved' }, code: 0 },
    { name: 'audit.seal_pending', attributes: {}, code: 0 },
    {
      name: 'audit.verify',
      attributes: { 'ringfence.audit.ok': true, 'ringfence.audit.checked': 1, 'ringfence.audit.findings': 0 },
      code: 0,
    },
  ]);
});

test('names an event that was recorded, and of an error the code alone', async () => {
  const db = { isTransaction: false, executeQuery: f.app.executeQuery.bind(f.app) };
  await errorOf(audit.record(db, 'entry.approved', { target: 'secret-target', outcome: 'success' }));
  await errorOf(audit.record(db, 'secret-name' as 'login.succeeded', { outcome: 'success' }));
  const broken = { isTransaction: false, executeQuery: () => Promise.reject(new Error('secret-row')) };
  await errorOf(audit.record(broken, 'login.succeeded', { outcome: 'success' }));
  expect(seen()).toEqual(
    ['audit.no_context', 'audit.invalid_event', 'audit.outcome_unknown'].map((code) => ({
      name: 'audit.record',
      attributes: { 'error.type': code },
      code: 2,
    })),
  );
});

test('no span and no metric holds who, what, which organisation, or the text of an error', async () => {
  const receipt = audit.prepare('entry.approved', {
    target: 'secret-target',
    outcome: 'success',
    reason: 'secret-reason',
  });
  await errorOf(audit.sealed(receipt));
  await errorOf(audit.verify(f.app, ORG_A));
  await metricsNow();
  const all = spans
    .getFinishedSpans()
    .map(({ name, attributes, status, events, links }) => ({ name, attributes, status, events, links }));
  expect(all).toHaveLength(2);
  const text = JSON.stringify([all, points.getMetrics().map(({ scopeMetrics }) => scopeMetrics)]);
  expect(text).toContain('audit.not_sealed');
  expect(text).not.toMatch(/secret/);
  for (const hidden of [ORG_A, receipt.id, 'user:alice']) expect(text).not.toContain(hidden);
});

test('keeps the span active while the log works, so that spans of the driver are its children', async () => {
  let parent: string | undefined;
  const watching = {
    isTransaction: false,
    executeQuery: () => {
      parent = trace.getActiveSpan()?.spanContext().spanId;
      return Promise.reject(new Error('enough'));
    },
  };
  await errorOf(audit.record(watching, 'login.succeeded', { outcome: 'success' }));
  expect(parent).toBe(spans.getFinishedSpans()[0]?.spanContext().spanId);
});

test('measures the age and number of unsealed events, and no longer once it is stopped', async () => {
  await f.inOrg(ORG_A, (trx) =>
    sql`select audit.append(gen_random_uuid(), '{"type":"a.b"}', false)`.execute(trx),
  );
  const waiting = await metricsNow();
  expect(waiting.get('ringfence.audit.unsealed.events')).toBe(1);
  expect(waiting.get('ringfence.audit.unsealed.age')).toBeGreaterThan(0);
  await audit.sealPending();
  points.reset();
  const sealed = await metricsNow();
  expect(sealed.get('ringfence.audit.unsealed.events')).toBe(0);
  expect(sealed.get('ringfence.audit.unsealed.age')).toBe(0);
  expect(sealed.get('ringfence.audit.operation.duration')).toMatchObject({ count: expect.any(Number) });
  audit.stopMetrics();
  const before = reads;
  expect(before).toBeGreaterThan(0);
  await metricsNow();
  expect(reads).toBe(before);
});

test('works with a tracer alone, with a meter alone, and with neither', async () => {
  for (const api of [{ tracer: tracing.getTracer('t') }, { meter: metrics.getMeter('m') }, {}]) {
    const one = traced(f.audit, api);
    await one.sealPending();
    one.stopMetrics();
  }
  expect(seen()).toHaveLength(1);
});
