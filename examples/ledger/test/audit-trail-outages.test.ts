/** The duties of the audit trail while the database or the store is away, for a moment or for an hour. */
import { AssertionError } from 'node:assert';
import { generateKeyPairSync } from 'node:crypto';
import { localSigner } from '@ringfence/audit/checkpoint';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { failing } from '../../../packages/audit/test/loopback-s3.ts';
import { within } from '../../../tools/within.ts';
import { AUDIT_ORIGIN, connectCopying, connectSigning } from '../src/audit-trail.ts';
import { copyLogs, type DutyOptions, signLogs } from '../src/audit-trail-duty.ts';
import { NORTHWIND } from '../src/provision.ts';
import { type OutageProxy, outageProxy, type Weather } from './outage-proxy.ts';
import { type Line, type TrailFixture, trailFixture } from './trail-fixture.ts';

let f: TrailFixture;
let proxy: OutageProxy;
beforeAll(async () => {
  f = await trailFixture(inject('databaseUrl'));
});
afterAll(async () => {
  await f?.close();
});

const SILENCE_MS = 1_500;
const HOUR_MS = 3_600_000;

/** Lines of a duty, and a way to wait for the next one that fits. */
function reporter() {
  const lines: Line[] = [];
  const waiting = new Set<() => void>();
  return {
    lines,
    report: (line: string, values: Readonly<Record<string, unknown>>) => {
      lines.push({ line, ...values });
      for (const wake of waiting) wake();
    },
    next: async (fits: (one: Line) => boolean): Promise<void> => {
      for (let at = lines.length; ; ) {
        for (; at < lines.length; at += 1) if (fits(lines[at] as Line)) return;
        await new Promise<void>((wake) => waiting.add(wake));
      }
    },
  };
}

const duty = (signal: AbortSignal, report: DutyOptions['report']) => ({
  ...{ pollMs: 20, watchMs: 20, everyMs: 1, alarmMs: HOUR_MS, report, signal },
});
const signedBy = async (): Promise<number> =>
  Number(
    (
      await f.superuser.query('select max(size) as size from audit.checkpoint where org_id = $1', [
        NORTHWIND.id,
      ])
    ).rows[0]?.size,
  );

test.each<[string, Weather]>([
  ['refuses connections', 'refusing'],
  ['says nothing', 'silent'],
])(
  'a database that %s is an alarm; when it is back, signing and copying go on by themselves',
  {
    timeout: 120_000,
  },
  async (_, weather) => {
    const end = new AbortController();
    proxy = await outageProxy(f.database.checkpointerUrl);
    const copierUrl = new URL(f.database.copierUrl);
    copierUrl.port = new URL(proxy.url).port;
    const signing = connectSigning({ databaseUrl: proxy.url, signer: f.signer, silenceMs: SILENCE_MS });
    const copying = connectCopying({
      ...{ databaseUrl: copierUrl.href, store: f.bucket(weather), keys: [f.logKey], silenceMs: SILENCE_MS },
    });
    const [signer, copier] = [reporter(), reporter()];
    const running = Promise.all([
      signLogs(signing, duty(end.signal, signer.report)),
      copyLogs(copying, duty(end.signal, copier.report)),
    ]);
    await f.record(2);
    await copier.next(({ line, org }) => line === 'copied' && org === NORTHWIND.id);
    const unreadable = ({ line, what }: Line) => line === 'alarm' && what === 'unreadable';
    const alarms = [signer.next(unreadable), copier.next(unreadable)];
    proxy.become(weather);
    await within('an alarm about a database that is away', Promise.all(alarms));
    await f.record(2); // the app's way to the database is another
    const clear = ({ line, what }: Line) => line === 'clear' && what === 'unreadable';
    const cleared = [signer.next(clear), copier.next(clear)];
    const length = await f.length();
    const copied = copier.next(
      ({ line, org, size }) => line === 'copied' && org === NORTHWIND.id && size === length,
    );
    proxy.become('open');
    await within('a connection is made anew', Promise.all([...cleared, copied]), 45_000);
    end.abort();
    await running;
    await Promise.all([signing.close(), copying.close()]);
    await proxy.close();
    expect(await signedBy()).toBe(length);
    expect(await f.verify(f.bucket(weather))).toMatchObject({ ok: true, findings: [], signed: length });
  },
);

test('a checkpointer cut off inside its transaction holds back the next one no longer than the silence', {
  timeout: 60_000,
}, async () => {
  proxy = await outageProxy(f.database.checkpointerUrl);
  await f.record(1);
  const cut = connectSigning({
    databaseUrl: proxy.url,
    silenceMs: SILENCE_MS,
    signer: {
      ...f.signer,
      sign: (note) => {
        proxy.become('silent'); // the server hears no more of it, and of its end neither
        return f.signer.sign(note);
      },
    },
  });
  const signed = within('a silent connection is ended', cut.checkpointer.checkpoint(NORTHWIND.id));
  await expect(signed).rejects.not.toBeInstanceOf(AssertionError);
  const next = connectSigning({ databaseUrl: f.database.checkpointerUrl, signer: f.signer });
  const held = within('the server ends an idle transaction', next.checkpointer.checkpoint(NORTHWIND.id));
  expect((await held)?.size).toBe(await f.length());
  await next.close();
  await cut.close();
  await proxy.close();
});

test('a store that is down for an hour: few tries, no more of them the longer the backlog; then all of it is copied', {
  timeout: 120_000,
}, async () => {
  const store = f.bucket('hour');
  const signing = connectSigning({ databaseUrl: f.database.checkpointerUrl, signer: f.signer });
  const copying = connectCopying({ databaseUrl: f.database.copierUrl, store, keys: [f.logKey] });
  await f.record(1);
  await signing.checkpointer.checkpoint(NORTHWIND.id);
  const end = new AbortController();
  const { lines, report, next } = reporter();
  f.s3.fault = failing(503, 'SlowDown');
  const before = f.s3.seen.length;
  const backlog: number[] = [];
  let passedMs = 0;
  let tries = 0;
  let requests = 0;
  await copyLogs(copying, {
    ...duty(end.signal, report),
    alarmMs: 1,
    sleep: async (ms) => {
      if (f.s3.fault === undefined) {
        await next(({ line, what }) => line === 'clear' && what === 'oldestMs');
        end.abort();
        return;
      }
      passedMs += ms;
      tries += 1;
      await f.record(1); // the app goes on, and so does signing
      await signing.checkpointer.checkpoint(NORTHWIND.id);
      backlog.push((await copying.copy.lag()).checkpoints);
      if (passedMs < HOUR_MS) return;
      await next(({ line, what }) => line === 'alarm' && what === 'oldestMs');
      requests = f.s3.seen.length - before;
      f.s3.fault = undefined;
    },
  });
  expect(tries).toBeLessThanOrEqual(20);
  // A try asks for the first object that waits, and for nothing behind it.
  expect(requests).toBe(tries);
  expect(backlog.at(-1)).toBeGreaterThanOrEqual((backlog[0] ?? 0) + tries - 1);
  const length = await f.length();
  const copied = lines.filter(({ line, org }) => line === 'copied' && org === NORTHWIND.id);
  expect(copied).toMatchObject([{ size: length }]);
  expect(lines.filter(({ line }) => line === 'failed')).toHaveLength(tries);
  expect(await copying.copy.lag()).toMatchObject({ checkpoints: 0, events: 0, oldestMs: 0 });
  expect(await f.verify(store)).toMatchObject({ ok: true, findings: [], signed: length });
  await Promise.all([signing.close(), copying.close()]);
});

test('a failure that mends itself is told apart from one that does not', async () => {
  const signer = localSigner({ name: AUDIT_ORIGIN, privateKey: generateKeyPairSync('ed25519').privateKey });
  const signing = connectSigning({ databaseUrl: f.database.checkpointerUrl, signer });
  const end = new AbortController();
  const { report, next } = reporter();
  await f.record(1);
  const alarm = next(
    ({ line, what, org }) => line === 'alarm' && what === 'audit.history_changed' && org !== undefined,
  );
  const running = signLogs(signing, duty(end.signal, report));
  await alarm;
  end.abort();
  await running;
  await signing.close();
});
