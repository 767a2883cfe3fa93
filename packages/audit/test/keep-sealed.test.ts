/** The timer that seals what a dead process left, and its alarm. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import {
  createAudit,
  type KeepSealedOptions,
  parseOrgId,
  type QueryExecutor,
  type Unsealed,
} from '../src/index.ts';
import { events, type Fixture, fixture } from './fixture.ts';

const CHILD = fileURLToPath(new URL('seal-crash-child.ts', import.meta.url));
let f: Fixture;
vi.setConfig({ testTimeout: 120_000 }); // each starts a process

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});
afterAll(() => f.close());

const orgOf = (n: number) => parseOrgId(`0190f5d2-7b1c-7d34-9a57-${String(n).padStart(12, '0')}`);

/** A process commits an event of the organisation, and is killed. */
async function commitAndBeKilled(org: string): Promise<string> {
  const args = ['--conditions=@ringfence/source', CHILD, f.database.appUrl, org];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [id] = (await once(child.stdout, 'data')) as [Buffer];
  child.kill('SIGKILL');
  await once(child, 'exit');
  return id.toString();
}

/** Runs keepSealed until the condition holds after a turn, and gives what it told. */
async function turns(
  audit: Fixture['audit'],
  options: Pick<KeepSealedOptions, 'alarmAfterMs' | 'pollMs'>,
  done: (alarms: readonly Unsealed[]) => Promise<boolean>,
): Promise<{ alarms: Unsealed[]; errors: unknown[] }> {
  const alarms: Unsealed[] = [];
  const errors: unknown[] = [];
  const stop = new AbortController();
  const running = audit.keepSealed({
    signal: stop.signal,
    onUnsealed: (unsealed) => alarms.push(unsealed),
    onError: (error) => errors.push(error),
    ...options,
  });
  while (!(await done(alarms)));
  stop.abort();
  await running;
  return { alarms, errors };
}

const nothingWaits = async () => (await f.audit.stats()).pending === 0;

test('a process killed between COMMIT and the seal: alarm, and the event is sealed by another', async () => {
  const org = orgOf(1);
  const id = await commitAndBeKilled(org);
  expect(await f.audit.stats()).toMatchObject({ pending: 1 });
  const { alarms, errors } = await turns(f.audit, { alarmAfterMs: 0 }, nothingWaits);
  expect(alarms).toMatchObject([{ pending: 1 }]);
  expect(alarms[0]?.oldestPendingAgeMs).toBeGreaterThan(0);
  expect(errors).toEqual([]);
  const { rows } = await sql`select event_id, seq from audit.seal where org_id = ${org}`.execute(f.superuser);
  expect(rows).toEqual([{ event_id: id, seq: '1' }]);
});

test('seals without alarm what has not waited for a minute', async () => {
  await commitAndBeKilled(orgOf(2));
  expect(await turns(f.audit, {}, nothingWaits)).toEqual({ alarms: [], errors: [] });
});

test('tells again in each turn while somebody holds the chain', async () => {
  const org = orgOf(3);
  await f.append(org, f.audit.prepare('login.succeeded', { outcome: 'success' }));
  await f.inOrg(org, async (trx) => {
    await trx.executeQuery(f.audit.prepare('login.succeeded', { outcome: 'success' }).query);
    await commitAndBeKilled(org);
    const { alarms } = await turns(f.audit, { alarmAfterMs: 0, pollMs: 1 }, async (told) => {
      await f.audit.stats();
      return told.length >= 3;
    });
    expect(alarms.length).toBeGreaterThanOrEqual(3);
  });
  await f.audit.sealPending();
  expect(await nothingWaits()).toBe(true);
});

test('goes on when the database was away for a turn', async () => {
  let away = true;
  let failed = 0;
  const flaky: QueryExecutor = {
    isTransaction: false,
    executeQuery: (query) => {
      if (!away) return f.app.executeQuery(query);
      failed++;
      return Promise.reject(new Error('connection lost'));
    },
  };
  await commitAndBeKilled(orgOf(4));
  const audit = createAudit({ events, db: flaky });
  const { errors } = await turns(audit, { pollMs: 1 }, async () => {
    if (failed >= 2) away = false;
    return await nothingWaits();
  });
  expect(errors.length).toBeGreaterThanOrEqual(2);
});
