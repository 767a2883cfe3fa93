/** Revocations between processes: what one revokes ends in the others, whatever becomes of notifications and sessions. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { within } from '../../../tools/within.ts';
import { parseOrgId, type RingfenceAuthzError } from '../src/index.ts';
import type { ApiKeyRecord } from '../src/keys/index.ts';
import {
  type ListeningClient,
  type PostgresRevocationsOptions,
  postgresRevocations,
} from '../src/postgres/index.ts';
import { API_KEY_ISSUER, Revocations } from '../src/session/index.ts';
import { KeyDatabase, refusalOf } from './postgres-fixture.ts';

/** For a machine that does much else. */
const LONG = { timeout: 20_000 };
let db: KeyDatabase;
const stops: (() => Promise<void>)[] = [];
beforeAll(async () => {
  db = await KeyDatabase.create('authz_feed');
});
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});
afterAll(async () => await db?.drop());

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: db.database.keysUrl });
  await client.connect();
  return client;
}

/** A process with a register of its own. */
async function process(part: Partial<PostgresRevocationsOptions> = {}): Promise<Revocations> {
  const feed = postgresRevocations({ db: db.system, connect, pollMs: 60_000, ...part });
  const revocations = new Revocations({ publish: feed.publish });
  stops.push(await feed.follow(revocations));
  return revocations;
}

const session = (subject: string, org?: string) => ({
  evidence: {
    door: 'bearer' as const,
    issuer: 'https://id.example.com',
    subject,
    issuedAt: Date.now() - 60_000,
    issuedNotBefore: Date.now() - 60_000,
    expiresAt: Date.now() + 60_000,
    tokenId: undefined,
    sessionId: undefined,
    mfa: false,
    acr: undefined,
    authenticatedAt: undefined,
    ssoConnection: undefined,
  },
  org,
});
const ends = (revocations: Revocations, subject: string, issuer = 'https://id.example.com'): boolean =>
  revocations.ends({ ...session(subject).evidence, issuer });

function key(): ApiKeyRecord {
  return {
    id: randomUUID().replaceAll('-', '').slice(0, 16),
    org: parseOrgId(randomUUID()),
    name: 'feed',
    mac: new Uint8Array(32),
    pepper: 'p1',
    creator: { issuer: 'https://id.example.com', subject: 'ada' },
    origin: { mfa: false },
    scope: { roles: ['feed'], actions: ['entry.post'] },
    requestId: 'r',
    createdAt: 1_800_000_000_000,
    expiresAt: 1_800_000_001_000,
  };
}

describe('a revocation', () => {
  test('reaches the other processes by notification', async () => {
    const [first, second] = [await process(), await process()];
    await first.revokeSubject('https://id.example.com', 'ada');
    await vi.waitFor(() => expect(ends(second, 'ada')).toBe(true), LONG);
    expect(ends(second, 'bob')).toBe(false);
  });

  test('reaches them without any notification, at the next read', async () => {
    const deaf = async (): Promise<ListeningClient> => {
      const client = await connect();
      await client.query('listen nothing');
      return {
        query: (text, values) => client.query(text.startsWith('listen') ? 'select' : text, values),
        on: (event, listener) => client.on(event as 'end', listener),
        end: () => client.end(),
      };
    };
    const [first, second] = [await process(), await process({ connect: deaf, pollMs: 10 })];
    await first.revokeSubject('https://id.example.com', 'carl');
    await vi.waitFor(() => expect(ends(second, 'carl')).toBe(true), LONG);
  });

  test('of a process that came later was read before it begins', async () => {
    const first = await process();
    await first.revokeSubject('https://id.example.com', 'dora');
    expect(ends(await process(), 'dora')).toBe(true);
  });

  test('is read though it was committed after one that began later', async () => {
    const second = await process();
    await db.owner.query('begin');
    await db.owner.query(`select authz.publish_revocation('subject', 'https://id.example.com', 'slow', $1)`, [
      Date.now(),
    ]);
    const first = await process();
    await first.revokeSubject('https://id.example.com', 'quick');
    await vi.waitFor(() => expect(ends(second, 'quick')).toBe(true), LONG);
    expect(ends(second, 'slow')).toBe(false);
    const { version } = second;
    await first.revokeSubject('https://id.example.com', 'quicker');
    await vi.waitFor(() => expect(ends(second, 'quicker')).toBe(true), LONG);
    expect(second.version).toBe(version + 1); // what was read before is not taken anew
    await db.owner.query('commit');
    await vi.waitFor(() => expect(ends(second, 'slow')).toBe(true), LONG);
  });

  test('of a key is told by the database itself, once, when the key is revoked', async () => {
    const second = await process();
    const record = key();
    await db.store.insert(record);
    const { version } = second;
    await db.store.revoke({ kind: 'org', org: record.org }, 1_800_000_000_500);
    await vi.waitFor(() => expect(second.version).toBe(version + 1), LONG);
    await db.store.revoke({ kind: 'org', org: record.org }, 1_800_000_000_600);
    const first = await process();
    await first.revokeSubject('https://id.example.com', 'eve');
    await vi.waitFor(() => expect(ends(second, 'eve')).toBe(true), LONG);
    expect(second.version).toBe(version + 2);
    const evidence = {
      ...session(record.id).evidence,
      issuer: API_KEY_ISSUER,
      issuedAt: Number.MIN_SAFE_INTEGER,
      issuedNotBefore: Number.MIN_SAFE_INTEGER,
    };
    expect(second.ends(evidence)).toBe(true);
  });

  test('that is rolled back with the change it belongs to ends nothing', async () => {
    const second = await process({ pollMs: 10 });
    const record = key();
    await db.store.insert(record);
    await db.owner.query('begin');
    await db.owner.query('update authz.api_key set revoked_at = now() where id = $1', [record.id]);
    await db.owner.query('rollback');
    const first = await process();
    await first.revokeSubject('https://id.example.com', 'finn');
    await vi.waitFor(() => expect(ends(second, 'finn')).toBe(true), LONG);
    expect(ends(second, record.id, API_KEY_ISSUER)).toBe(false);
  });
});

describe('a process that lost its session', () => {
  test('says so, reads what it missed, and listens again', async () => {
    const errors: RingfenceAuthzError[] = [];
    const second = await process({ pollMs: 20, onError: (error) => errors.push(error) });
    await db.asSuperuser(async (superuser) => {
      await superuser.query(
        `select pg_terminate_backend(pid, 5000) from pg_stat_activity
          where usename = $1 and query like '%read_revocations%' and pid <> pg_backend_pid()`,
        [db.database.keys],
      );
    });
    const first = await process();
    await first.revokeSubject('https://id.example.com', 'gil');
    await vi.waitFor(() => expect(ends(second, 'gil')).toBe(true), LONG);
    await first.revokeSubject('https://id.example.com', 'hal');
    await vi.waitFor(() => expect(ends(second, 'hal')).toBe(true), LONG);
    for (const error of errors) expect(error.code).toBe('authz.revocations_unread');
  });

  test('to a server that does not answer any more gives it up', async () => {
    let silent = false;
    const errors: RingfenceAuthzError[] = [];
    const mute = async (): Promise<ListeningClient> => {
      const client = await connect();
      return {
        query: async (text, values) =>
          silent ? await new Promise<never>(() => undefined) : await client.query(text, values),
        on: (event, listener) => client.on(event as 'end', listener),
        end: () => client.end(),
      };
    };
    const second = await process({
      connect: mute,
      pollMs: 20,
      answerWithinMs: 500,
      onError: (error) => errors.push(error),
    });
    silent = true;
    await vi.waitFor(() => expect(errors[0]).toMatchObject({ code: 'authz.revocations_unread' }), LONG);
    silent = false; // what asked meanwhile was given up, or the end of this test would wait for it
    const first = await process();
    await first.revokeSubject('https://id.example.com', 'ida');
    await vi.waitFor(() => expect(ends(second, 'ida')).toBe(true), LONG);
  });

  test('does not begin when it cannot read', async () => {
    const refused = postgresRevocations({
      db: db.system,
      connect: () => Promise.reject(new Error('no server')),
    });
    await expect(refused.follow(new Revocations())).rejects.toMatchObject({
      code: 'authz.revocations_unread',
      cause: { message: 'no server' },
    });
    const asApp = async () => {
      const client = new pg.Client({ connectionString: db.database.appUrl });
      await client.connect();
      return client;
    };
    const app = postgresRevocations({ db: db.app, connect: asApp });
    await expect(app.follow(new Revocations())).rejects.toMatchObject({ cause: { code: '42501' } });
    expect(await refusalOf(app.publish({ kind: 'org', issuer: '', id: 'x', at: 0 }))).toBe('42501');
  });
});

test('a forged notification ends nothing, and whoever listens hears nothing of whom it is about', async () => {
  const [first, second] = [await process(), await process({ pollMs: 10 })];
  const spy = new pg.Client({ connectionString: db.database.appUrl });
  await spy.connect();
  const heard: (string | undefined)[] = [];
  spy.on('notification', ({ payload }) => heard.push(payload));
  await spy.query('listen ringfence_authz_revoked');
  await spy.query(
    `select pg_notify('ringfence_authz_revoked', '{"kind":"org","issuer":"","id":"x","at":9e15}')`,
  );
  await first.revokeSubject('https://id.example.com', 'jon');
  await vi.waitFor(() => expect(ends(second, 'jon')).toBe(true), LONG);
  await vi.waitFor(() => expect(heard).toHaveLength(2), LONG);
  expect(heard[1]).toBe('');
  expect(second.ends(session('x').evidence, 'x')).toBe(false);
  await spy.end();
});

describe('no session is left behind', () => {
  /** A feed whose session is lost, and whose second one is made but not handed over until `release` is called. */
  async function lost(part: Partial<PostgresRevocationsOptions>) {
    const clients: pg.Client[] = [];
    const ended: Promise<void>[] = [];
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    await process({
      pollMs: 10,
      connect: async () => {
        const client = await connect();
        ended.push(new Promise((resolve) => client.once('end', resolve)));
        if (clients.push(client) === 2) await gate;
        return client;
      },
      ...part,
    });
    await clients[0]?.end();
    await vi.waitFor(() => expect(clients.length).toBeGreaterThan(1), LONG);
    return { clients, ended, release };
  }

  test('by a feed that was ended', async () => {
    const client = await connect();
    const ended = new Promise<void>((resolve) => client.once('end', resolve));
    await process({ connect: async () => client });
    for (const stop of stops.splice(0)) await stop();
    await within('the session of the feed is ended', ended);
  });

  test('by a feed that was ended while a session was being made', async () => {
    const { ended, release } = await lost({});
    for (const stop of stops.splice(0)) await stop();
    release();
    await within('the session that came too late is ended', ended[1] as Promise<void>);
  });

  test('by one that came after it was given up', async () => {
    const { clients, ended, release } = await lost({ answerWithinMs: 500 });
    await vi.waitFor(() => expect(clients.length).toBeGreaterThan(2), LONG);
    release();
    await within('the session that came too late is ended', ended[1] as Promise<void>);
  });
});

test('an interval out of its range is a TypeError', () => {
  for (const wrong of [0, 9, 60_001, Number.NaN, 1.5])
    for (const part of [{ pollMs: wrong }, { answerWithinMs: wrong }])
      expect(() => postgresRevocations({ db: db.system, connect, ...part })).toThrow(TypeError);
});
