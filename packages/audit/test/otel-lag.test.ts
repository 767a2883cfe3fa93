/** The lag of sealing, signing and copying as metrics of the real OpenTelemetry SDK, over a real log. */
// #region lag_imports
import { metrics } from '@opentelemetry/api';
import { measureLag } from '@ringfence/audit/otel';
// #endregion

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import type { OrgId } from '../src/index.ts';
import { directoryStore, type WriteOnceCopy } from '../src/write-once/index.ts';
import { type CopyFixture, copyFixture } from './copy-fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'audit-lag-'));
const ended: (() => Promise<void>)[] = [];
let f: CopyFixture;
let copy: WriteOnceCopy;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
  copy = f.copyTo(directoryStore({ root: folder }));
});
afterEach(async () => {
  metrics.disable();
  for (const end of ended.splice(0)) await end();
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await f?.close();
});

/** An SDK of its own as the global one, and what a collection of it exports: values by metric and attributes. */
function collecting(temporality = AggregationTemporality.DELTA) {
  const points = new InMemoryMetricExporter(temporality);
  const reader = new PeriodicExportingMetricReader({ exporter: points, exportIntervalMillis: 3_600_000 });
  const provider = new MeterProvider({ readers: [reader] });
  metrics.setGlobalMeterProvider(provider);
  ended.push(() => provider.shutdown());
  const exported = async (): Promise<Record<string, unknown>> => {
    points.reset();
    await reader.forceFlush();
    const all = points
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
      .flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ value, attributes }) => [
          [descriptor.name.replace('ringfence.audit.', ''), ...Object.values(attributes).map(String)].join(
            ' ',
          ),
          value,
        ]),
      );
    return Object.fromEntries(all);
  };
  const text = () => JSON.stringify(points.getMetrics().map(({ scopeMetrics }) => scopeMetrics));
  return { meter: metrics.getMeter('app'), exported, text };
}

const unsealed = async (org: OrgId) =>
  await f.inOrg(org, (trx) =>
    sql`select audit.append(gen_random_uuid(), '{"type":"a.b"}', false)`.execute(trx),
  );
const older = { asymmetricMatch: (value: unknown) => typeof value === 'number' && value > 0 };

test('each step shows what waits in front of it, and nothing once it was taken', async () => {
  const { exported } = collecting();
  const { audit, checkpointer } = f;
  // #region lag
  const lag = measureLag(metrics.getMeter('app'), { audit, checkpointer, copies: { primary: copy } });
  // #endregion
  const org = await f.org(0);
  const other = await f.org(0);
  for (const one of [org, org, other]) await unsealed(one);
  expect(await exported()).toMatchObject({
    'unsealed.age': older,
    'unsealed.events': 3,
    'checkpoint.lag.age': 0,
  });
  await audit.sealPending();
  expect(await exported()).toMatchObject({
    ...{ 'unsealed.age': 0, 'unsealed.events': 0 },
    ...{ 'checkpoint.lag.age': older, 'checkpoint.lag.events': 3, 'checkpoint.lag.orgs': 2 },
    ...{ 'copy.lag.age primary': 0, 'copy.lag.events primary': 0 },
  });
  for (const one of [org, other]) await checkpointer.checkpoint(one);
  expect(await exported()).toMatchObject({
    ...{ 'checkpoint.lag.age': 0, 'checkpoint.lag.events': 0, 'checkpoint.lag.orgs': 0 },
    ...{ 'copy.lag.age primary': older, 'copy.lag.checkpoints primary': 2 },
    ...{ 'copy.lag.events primary': 3, 'copy.lag.orgs primary': 2 },
  });
  await copy.copy(org);
  expect(await exported()).toMatchObject({ 'copy.lag.age primary': older, 'copy.lag.events primary': 1 });
  await copy.copy(other);
  expect(await exported()).toEqual({
    ...{ 'unsealed.age': 0, 'unsealed.events': 0, 'lag.readable unsealed': 1 },
    ...{ 'checkpoint.lag.age': 0, 'checkpoint.lag.events': 0, 'checkpoint.lag.orgs': 0 },
    ...{ 'lag.readable checkpoint': 1, 'lag.readable primary copy': 1, 'copy.lag.age primary': 0 },
    ...{ 'copy.lag.checkpoints primary': 0, 'copy.lag.events primary': 0, 'copy.lag.orgs primary': 0 },
  });
  lag.stop();
  lag.stop();
  expect(await exported()).toEqual({});
});

test('an age grows from one collection to the next, also while nobody signs or copies', async () => {
  const { meter, exported } = collecting();
  measureLag(meter, { checkpointer: f.checkpointer, copies: { a: copy } });
  await f.grow(await f.signed(2), 1);
  const before = await exported();
  const after = await exported();
  for (const name of ['checkpoint.lag.age', 'copy.lag.age a']) {
    expect(Number(before[name])).toBeGreaterThan(0);
    expect(Number(after[name])).toBeGreaterThan(Number(before[name]));
  }
});

test('a lag that cannot be read is said, is no 0, and silences no other; no text of its error leaves', async () => {
  const { meter, exported, text } = collecting();
  const broken = { stats: () => Promise.reject(new Error('secret-row of user:mallory')) };
  measureLag(meter, { audit: broken, checkpointer: f.checkpointer, copies: { a: copy } });
  expect(await exported()).toMatchObject({ 'lag.readable checkpoint': 1 });
  await sql.raw(`revoke usage on schema audit from ${f.database.keys}`).execute(f.owner);
  try {
    expect(await exported()).toEqual({
      ...{ 'lag.readable unsealed': 0, 'lag.readable checkpoint': 0, 'lag.readable a copy': 1 },
      ...{
        'copy.lag.age a': older,
        'copy.lag.checkpoints a': 1,
        'copy.lag.events a': 2,
        'copy.lag.orgs a': 1,
      },
    });
    expect(text()).toContain('ringfence.audit.lag.readable');
    expect(text()).not.toMatch(/secret|mallory|permission denied/);
  } finally {
    await sql.raw(`grant usage on schema audit to ${f.database.keys}`).execute(f.owner);
  }
  expect(await exported()).toMatchObject({ 'lag.readable checkpoint': 1, 'lag.readable unsealed': 0 });
});

test('whether it could be read is one series, in an SDK that repeats what nobody observes any more too', async () => {
  const { meter, exported } = collecting(AggregationTemporality.CUMULATIVE);
  let away = true;
  measureLag(meter, { audit: { stats: () => (away ? Promise.reject(new Error('away')) : f.audit.stats()) } });
  expect(await exported()).toEqual({ 'lag.readable unsealed': 0 });
  away = false;
  expect(await exported()).toMatchObject({ 'lag.readable unsealed': 1, 'unsealed.events': 0 });
  away = true;
  const { 'lag.readable unsealed': readable, ...others } = await exported();
  expect(readable).toBe(0);
  expect(Object.keys(others).filter((name) => name.startsWith('lag.readable'))).toEqual([]);
});

test('a collection reads each lag once, whatever the number of its gauges', async () => {
  const { meter, exported } = collecting();
  let reads = 0;
  const lag = () => {
    reads++;
    return copy.lag();
  };
  const measured = measureLag(meter, { copies: { a: { lag } } });
  for (const times of [1, 2]) {
    await exported();
    expect(reads).toBe(times);
  }
  measured.stop();
  await exported();
  expect(reads).toBe(2);
});

test('copies to several stores are told apart by the names they were given', async () => {
  const { meter, exported } = collecting();
  const second = f.copyTo(directoryStore({ root: join(folder, 'second') }));
  await copy.copy(await f.signed(4));
  measureLag(meter, { copies: { first: copy, second } });
  const seen = await exported();
  expect(Number(seen['copy.lag.events second'])).toBeGreaterThan(Number(seen['copy.lag.events first']));
});

test('the page names every metric there is', async () => {
  const { meter, exported } = collecting();
  measureLag(meter, { audit: f.audit, checkpointer: f.checkpointer, copies: { a: copy } });
  const page = readFileSync(new URL('../../../docs/audit-operating.md', import.meta.url), 'utf8');
  for (const name of Object.keys(await exported()))
    expect(page).toContain(`\`ringfence.audit.${name.split(' ')[0]}\``);
});
