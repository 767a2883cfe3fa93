/**
 * API keys in processes of the operating system that share nothing but PostgreSQL: what one does, the other sees within
 * the time that docs/authz-keys.md states; and a process that is killed in the middle leaves the old key or its successor.
 * Instants are those of the machine's clock, which the processes share; no test depends on how fast it is.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseOrgId } from '../src/index.ts';
import type { ChildSetup, ChildTask, Watch } from './key-child.ts';
import { KeyDatabase } from './postgres-fixture.ts';

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const LONG = { timeout: 60_000 };
const HOUR = 3_600_000;
/** The wall clock may be slewed while the monotonic one is not. */
const SLEW_MS = 50;
const pepper = randomBytes(32).toString('hex');
const children = new Set<KeyProcess>();
let db: KeyDatabase;

interface Issued {
  readonly id: string;
  readonly expiresAt: number;
  readonly key: string;
}

/** A process with keys of its own. */
class KeyProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  readonly ended: Promise<string | null>;
  #n = 0;

  private constructor(setup: ChildSetup, ready: () => void) {
    this.#child = fork(join(import.meta.dirname, 'key-child.ts'), [JSON.stringify(setup)], { execArgv: [] });
    this.#child.on('message', (message: { n: number; value: unknown; refused?: string; ready?: true }) => {
      if (message.ready === true) return ready();
      const waiting = this.#waiting.get(message.n);
      if (message.refused === undefined) waiting?.resolve(message.value);
      else waiting?.reject(new Error(message.refused));
    });
    this.ended = new Promise((resolve) => {
      this.#child.once('exit', (_, signal) => {
        resolve(signal);
        for (const { reject } of this.#waiting.values()) reject(new Error('killed'));
      });
    });
    children.add(this);
  }

  static async start(part: Partial<ChildSetup> = {}): Promise<KeyProcess> {
    const { appUrl, keysUrl: systemUrl } = db.database;
    const setup = { appUrl, systemUrl, pepper, recordMaxAgeMs: 5_000, follows: true, ...part };
    return await new Promise((resolve, reject) => {
      const started: KeyProcess = new KeyProcess(setup, () => resolve(started));
      void started.ended.then(() => reject(new Error('the process ended before it was ready')));
    });
  }

  async ask<T = unknown>(task: ChildTask): Promise<T> {
    this.#n += 1;
    const n = this.#n;
    return await new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(n, { resolve, reject });
      this.#child.send({ n, task });
    }).then((value) => value as T);
  }

  async create(lifetimeMs = HOUR): Promise<Issued> {
    return await this.ask({ op: 'create', requestId: randomUUID(), lifetimeMs });
  }

  async rotate(id: string, overlapMs: number, requestId: string = randomUUID()): Promise<Issued> {
    return await this.ask({ op: 'rotate', id, overlapMs, requestId });
  }

  async state({ key }: Issued): Promise<string> {
    return await this.ask({ op: 'verify', key });
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}

beforeAll(async () => {
  db = await KeyDatabase.create('authz_processes');
});
afterEach(async () => {
  await Promise.all([...children].map((child) => child.kill()));
  children.clear();
});
afterAll(async () => await db?.drop());

const start = async <const T extends readonly Partial<ChildSetup>[]>(...setups: T) =>
  (await Promise.all(setups.map((each) => KeyProcess.start(each)))) as { [K in keyof T]: KeyProcess };

/** When no session of the roles works any more: the server has noticed that its client is gone. */
async function atRest(): Promise<void> {
  await db.asSuperuser(async (client) => {
    await vi.waitFor(async () => {
      const { rows } = await client.query(
        `select 1 from pg_stat_activity where usename = $1 and state <> 'idle'`,
        [db.database.app],
      );
      expect(rows).toEqual([]);
    }, LONG);
  });
}

test('expiry and the end of an overlap are seen at their second by the process that did not set them', {
  timeout: 120_000,
}, async () => {
  const [first, second] = await start({ recordMaxAgeMs: 1_000 }, { recordMaxAgeMs: 1_000 });
  const [old, short] = [await first.create(), await first.create(6_000)];
  for (const each of [old, short]) await second.state(each); // has the record at hand, unless the machine is slow
  const next = await first.rotate(old.id, 8_000);
  const stored = (await db.store.find(old.id))?.overlapUntil ?? Number.NaN;
  for (const [watched, end, reason] of [
    [short, short.expiresAt, 'expired'],
    [old, stored, 'rotated'],
  ] as const) {
    const [refused, alive] = await second.ask<Watch>({ op: 'watch', key: watched.key });
    expect(refused?.outcome).toBe(reason);
    expect(refused?.over).toBeGreaterThanOrEqual(end - SLEW_MS);
    expect(alive === undefined || alive.began < end).toBe(true);
  }
  expect(await second.state(next)).toBe('alive');
});

test('a process that hears of revocations refuses a key that it has at hand for a minute', {
  timeout: 120_000,
}, async () => {
  const [first, second] = await start({}, { recordMaxAgeMs: 60_000 });
  const [revoked, rotated, kept] = [await first.create(), await first.create(), await first.create()];
  for (const each of [revoked, rotated, kept]) expect(await second.state(each)).toBe('alive');
  await first.ask({ op: 'revoke', selection: { kind: 'key', org: ORG, id: revoked.id } });
  expect(await first.state(revoked)).toBe('revoked');
  await first.rotate(rotated.id, 0);
  expect(await first.state(rotated)).toBe('rotated');
  const heard = { timeout: 30_000 }; // long before its records are too old
  await vi.waitFor(async () => expect(await second.state(revoked)).toBe('revoked'), heard);
  await vi.waitFor(async () => expect(await second.state(rotated)).toBe('rotated'), heard);
  expect(await second.state(kept)).toBe('alive');
});

test('a process that hears nothing verifies with no record older than recordMaxAgeMs', {
  timeout: 120_000,
}, async () => {
  const recordMaxAgeMs = 1_500;
  const [first, deaf] = await start({}, { follows: false, recordMaxAgeMs });
  const [revoked, rotated] = [await first.create(), await first.create()];
  for (const [key, end, reason] of [
    [
      revoked,
      () => first.ask({ op: 'revoke', selection: { kind: 'key', org: ORG, id: revoked.id } }),
      'revoked',
    ],
    [rotated, () => first.rotate(rotated.id, 0), 'rotated'],
  ] as const) {
    const watching = deaf.ask<Watch>({ op: 'watch', key: key.key });
    expect(await deaf.state(key)).toBe('alive');
    await end();
    expectSeenWithin(await watching, Date.now() + recordMaxAgeMs, reason);
  }
});

describe('a process that is killed while it rotates a key', { timeout: 180_000 }, () => {
  test('and whose statement waits in the server, leaves the old key or its successor', async () => {
    const [victim, survivor] = await start({}, { recordMaxAgeMs: 0 });
    const old = await victim.create();
    const requestId = randomUUID();
    await db.owner.query('begin');
    await db.owner.query('select from authz.api_key where id = $1 for update', [old.id]);
    const rotating = victim.rotate(old.id, HOUR / 2, requestId).catch((error: Error) => error.message);
    await db.asSuperuser(async (client) => {
      await vi.waitFor(async () => {
        const waiting = `select 1 from pg_stat_activity where usename = $1 and wait_event_type = 'Lock'`;
        expect((await client.query(waiting, [db.database.app])).rowCount).toBe(1);
      }, LONG);
    });
    await victim.kill();
    expect(await rotating).toBe('killed');
    await db.owner.query('rollback');
    await oldOrNew(old, requestId, survivor);
  });

  test('at any moment, leaves the old key or its successor', async () => {
    const delays = [0, 2, 4, 8, 16, 32];
    const [survivor, ...victims] = await start({ recordMaxAgeMs: 0 }, ...delays.map(() => ({})));
    const seen = new Set<string>();
    for (const [n, victim] of victims.entries()) {
      const old = await survivor.create();
      expect(await victim.state(old)).toBe('alive'); // connected, and compiled
      const requestId = randomUUID();
      const rotating = victim.rotate(old.id, HOUR / 2, requestId).then(
        () => 'answered',
        () => 'killed',
      );
      await new Promise((resolve) => setTimeout(resolve, delays[n]));
      await victim.kill();
      const outcome = await oldOrNew(old, requestId, survivor);
      seen.add(outcome);
      if ((await rotating) === 'answered') expect(outcome).toBe('new');
    }
    expect(seen.size).toBeGreaterThan(0);
  });

  test('after it is stored and before anybody is told, leaves the successor, and the old key to nobody', async () => {
    const recordMaxAgeMs = 1_500;
    const [victim, other] = await start({ diesWhenRotated: true }, { recordMaxAgeMs });
    const old = await other.create();
    const watching = other.ask<Watch>({ op: 'watch', key: old.key });
    expect(await other.state(old)).toBe('alive');
    const requestId = randomUUID();
    await expect(victim.rotate(old.id, 0, requestId)).rejects.toThrow('killed');
    expect(await victim.ended).toBe('SIGKILL');
    expectSeenWithin(await watching, Date.now() + recordMaxAgeMs, 'rotated');
    const records = await db.store.list(ORG);
    const successor = records.find((record) => record.requestId === requestId);
    expect(records.find(({ id }) => id === old.id)?.successor).toBe(successor?.id);
    expect(successor?.id).toBeDefined();
    // Its secret died with the process; whoever holds the rights rotates once more, or ends it.
    const next = await other.rotate(successor?.id ?? '', 0);
    expect(await other.state(next)).toBe('alive');
  });
});

/** Refused for the reason, and by no verification alive that began later than the instant. */
function expectSeenWithin([refused, alive]: Watch, until: number, reason: string): void {
  expect(refused?.outcome).toBe(reason);
  expect(alive === undefined || alive.began < until + SLEW_MS).toBe(true);
}

/** What a killed rotation has left, which is all of one or all of the other. */
async function oldOrNew(old: Issued, requestId: string, survivor: KeyProcess): Promise<'old' | 'new'> {
  await atRest();
  const records = await db.store.list(ORG);
  const before = records.find(({ id }) => id === old.id);
  const after = records.find((record) => record.requestId === requestId);
  expect(await survivor.state(old)).toBe('alive'); // in both: it has its overlap
  if (before?.successor === undefined) {
    expect([after, before?.overlapUntil]).toEqual([undefined, undefined]);
    const again = await survivor.rotate(old.id, HOUR / 2, requestId); // the same request, sent again
    expect(await survivor.state(again)).toBe('alive');
    return 'old';
  }
  expect(after?.id).toBe(before.successor);
  expect(before.overlapUntil).toBeGreaterThan(Date.now());
  expect([after?.revokedAt, after?.successor, after?.scope]).toEqual([undefined, undefined, before.scope]);
  await expect(survivor.rotate(old.id, HOUR / 2, requestId)).rejects.toThrow('rotated'); // makes no second
  return 'new';
}
