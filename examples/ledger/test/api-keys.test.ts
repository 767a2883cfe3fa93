import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { BANK_FEED, createKey, type NewKey, revokeKey } from '../src/api-keys.ts';
import { enqueueImport, imported, statementLines } from '../src/bank-import.ts';
import { approveEntry, postEntry, readEntry } from '../src/entries.ts';
import { workImports } from '../src/import-job.ts';
import { giveRoles } from '../src/members.ts';
import type { Role } from '../src/policy.ts';
import { IRONBRIDGE, NORTHWIND } from '../src/provision.ts';
import { STATEMENT_IMPORT } from '../src/queues.ts';
import { enterWithKey, onBehalfOf } from '../src/session.ts';
import { requireSecondFactor } from '../src/settings.ts';
import { ENTRY, type Fixture, fixture, superuserOf } from './fixture.ts';

let f: Fixture;
let superuser: pg.Client;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { admissionMaxAgeMs: 0 });
  superuser = await superuserOf(f);
});
afterAll(async () => {
  await superuser?.end();
  await f?.close();
});

let number = 0;
/** A statement of one line nobody has imported yet. */
const statement = () =>
  `booking_date,bank_transaction_id,counterparty,description,reference,amount,balance,currency
2026-01-05,K${number++},Staples,Paper,PO-1,-12.30,100.00,USD`;
const feedKey = async (part: Partial<NewKey> = {}) =>
  await createKey(f.ledger, f.owner, { ...BANK_FEED, ...part });
const handIn = async (key: string) =>
  await enqueueImport(f.ledger, await enterWithKey(f.ledger, key), 'feed.csv', statement());
const ownerRoles = (roles: readonly Role[]) =>
  superuser.query('update ledger.member set roles = $2 where user_id = $1', [NORTHWIND.owner.userId, roles]);
const lastEvent = async (action: string) => {
  const { rows } = await superuser.query(
    `select actor, canon::jsonb as record from audit.event where action = $1
      order by at desc, id desc limit 1`,
    [action],
  );
  const { event, request } = rows[0]?.record ?? {};
  return { actor: rows[0]?.actor, request, ...event };
};
/** Events about the refusal of a key, of whatever organisation, once there is one; they are written after the answer. */
const refusalsOf = async (id: string) =>
  await vi.waitFor(
    async () => {
      const { rows } = await superuser.query(
        `select org_id as org, actor, canon::jsonb -> 'event' as event from audit.event
          where action = 'api_key.refused' and canon::jsonb -> 'event' -> 'target' ->> 'id' = $1 order by at, id`,
        [id],
      );
      expect(rows.length).toBeGreaterThan(0);
      return rows;
    },
    { timeout: 20_000 },
  );
/** Runs a worker for as long as the statement takes. */
const worked = async (id: string) => {
  await workImports(f.ledger);
  try {
    await imported(f.ledger, f.bookkeeper, id);
  } finally {
    await f.ledger.queue.offWork(STATEMENT_IMPORT);
  }
};

describe('the key of a bank feed', () => {
  test('hands in bank lines for its creator; the log names the key beside them', async () => {
    const { id, key } = await feedKey();
    const text = await handIn(key.reveal());
    await imported(f.ledger, f.bookkeeper, text);
    expect(await statementLines(f.ledger, f.bookkeeper, text)).toHaveLength(1);
    for (const event of [await lastEvent('statement.received'), await lastEvent('statement.imported')])
      expect(event).toMatchObject({ actor: f.owner.actor, request: `key:${id}` });
  });

  test('does nothing else, and the refusal names it', async () => {
    const { id, key } = await feedKey();
    const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
    const session = await enterWithKey(f.ledger, key.reveal());
    for (const run of [
      () => readEntry(f.ledger, session, entry),
      () => postEntry(f.ledger, session, ENTRY),
      () => approveEntry(f.ledger, session, entry, 'x'),
      () => createKey(f.ledger, session, BANK_FEED),
      () => giveRoles(f.ledger, session, NORTHWIND.auditor.userId, ['owner']),
    ])
      await expect(run()).rejects.toMatchObject({ code: 'authz.denied' });
    expect(await lastEvent('access.denied')).toMatchObject({ actor: f.owner.actor, request: `key:${id}` });
  });

  test('is in the log when it is made, with all it may do, and never as it is', async () => {
    const { id, key, expiresAt } = await feedKey();
    const event = await lastEvent('api_key.created');
    expect(event).toMatchObject({
      actor: f.owner.actor,
      target: { id },
      data: {
        name: 'bank feed',
        roles: ['integration'],
        actions: ['bankLine.import'],
        expiresAt: new Date(expiresAt).toISOString(),
      },
    });
    const { rows } = await superuser.query('select canon from audit.event');
    const secret = key.reveal().slice(-30);
    expect(rows.some(({ canon }) => canon.includes(secret))).toBe(false);
  });

  test('is not handed out when it cannot be recorded', async () => {
    const signature =
      'audit.append(uuid, text, boolean), audit.append_from_template(uuid, text, bytea, boolean, text, bigint[], boolean)';
    await superuser.query(`revoke execute on function ${signature} from ${f.database.app}`);
    try {
      await expect(feedKey()).rejects.toMatchObject({ code: '42501' });
    } finally {
      await superuser.query(`grant execute on function ${signature} to ${f.database.app}`);
    }
  });

  test('ends when an owner revokes it, in a session that is held too; that is recorded', async () => {
    const { id, key } = await feedKey();
    const held = await enterWithKey(f.ledger, key.reveal());
    await revokeKey(f.ledger, f.owner, id);
    expect(await lastEvent('api_key.revoked')).toMatchObject({ actor: f.owner.actor, target: { id } });
    const use = enqueueImport(f.ledger, held, 'feed.csv', statement());
    await expect(use).rejects.toMatchObject({ code: 'authz.key_refused', reason: 'revoked' });
    expect(await lastEvent('access.denied')).toMatchObject({
      request: `key:${id}`,
      data: { code: 'authz.key_refused' },
    });
    await expect(handIn(key.reveal())).rejects.toMatchObject({ code: 'authz.key_refused' });
  });

  test('opens nothing once its creator is a member no more; the log has who knocked', async () => {
    const { id, key } = await feedKey();
    const { subject } = NORTHWIND.owner;
    const rename = (from: string, to: string) =>
      superuser.query('update ledger.member set subject = $2 where subject = $1', [from, to]);
    await rename(subject, 'somebody.else');
    try {
      const run = enterWithKey(f.ledger, key.reveal());
      await expect(run).rejects.toMatchObject({ code: 'authz.key_refused', reason: 'member' });
    } finally {
      await rename('somebody.else', subject);
    }
    expect(await refusalsOf(id)).toMatchObject([
      {
        org: NORTHWIND.id,
        actor: `key:${id}`,
        event: { outcome: 'denied', data: { code: 'authz.key_refused', reason: 'member', attempts: 1 } },
      },
    ]);
  });

  test('that was revoked stands in the log of its organisation when it is used again, once for a flood', async () => {
    const { id, key } = await feedKey();
    await revokeKey(f.ledger, f.owner, id);
    const knock = async (times: number) => {
      for (let n = 0; n < times; n += 1)
        await expect(enterWithKey(f.ledger, key.reveal())).rejects.toMatchObject({ reason: 'revoked' });
    };
    await knock(1);
    const first = await refusalsOf(id);
    await knock(200);
    await f.ledger.apiKeys.flush(); // as when the process stops; else after a minute
    const all = await refusalsOf(id);
    expect(first).toHaveLength(1);
    expect(all.map(({ org, event }) => [org, event.data.reason, event.data.attempts])).toEqual([
      [NORTHWIND.id, 'revoked', 1],
      [NORTHWIND.id, 'revoked', 200],
    ]);
    expect(JSON.stringify(all)).not.toContain(key.reveal().slice(-30));
  });

  test('that is no key of this application is in no log', async () => {
    const count = async () =>
      (await superuser.query('select count(*)::int as n from audit.event')).rows[0]?.n;
    const { key } = await feedKey();
    const error = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    try {
      const before = await count();
      for (const text of ['nonsense', `${key.reveal().slice(0, -1)}~`])
        await expect(enterWithKey(f.ledger, text)).rejects.toMatchObject({ reason: 'malformed' });
      await f.ledger.apiKeys.flush();
      expect(await count()).toBe(before);
      expect(JSON.stringify(error.mock.calls)).not.toContain(key.reveal().slice(9, 25));
    } finally {
      error.mockRestore();
    }
  });

  test('is not ended by an owner of another organisation', async () => {
    const { id, key } = await feedKey();
    const stranger = await f.enter(IRONBRIDGE.owner, { mfa: true }, IRONBRIDGE);
    const run = revokeKey(f.ledger, stranger, id);
    await expect(run).rejects.toMatchObject({ code: 'ledger.key_not_found' });
    await handIn(key.reveal());
  });

  test('works on when its organisation asks for a second factor: it was made with one', async () => {
    const { key } = await feedKey();
    await requireSecondFactor(f.ledger, f.owner, 'on');
    try {
      await handIn(key.reveal());
    } finally {
      await requireSecondFactor(f.ledger, f.owner, 'off');
    }
  });
});

describe('a key above its creator', () => {
  test.each<[string, Partial<NewKey>]>([
    ['approves', { roles: ['controller'], actions: ['entry.approve'] }],
    ['posts', { roles: ['bookkeeper'], actions: ['entry.post'] }],
    ['has an action the policy does not have', { actions: ['entry.shred' as 'entry.read'] }],
  ])('that %s is not made, and the attempt is recorded', async (_, part) => {
    await expect(feedKey(part)).rejects.toMatchObject({ code: 'authz.ceiling_exceeded' });
    expect(await lastEvent('access.denied')).toMatchObject({
      actor: f.owner.actor,
      data: { action: 'api_key', code: 'authz.ceiling_exceeded' },
    });
  });

  test('is worth nothing: who makes it lost the right, in each decision and with the record at hand', async () => {
    const { key } = await feedKey();
    const held = await enterWithKey(f.ledger, key.reveal());
    const use = () => enqueueImport(f.ledger, held, 'feed.csv', statement());
    await use();
    await ownerRoles(['auditor']);
    try {
      await expect(use()).rejects.toMatchObject({ code: 'authz.denied' });
    } finally {
      await ownerRoles(['owner']);
    }
    await use();
  });

  test('is no way around the second factor of its creator', async () => {
    const { key } = await feedKey({ roles: ['owner'], actions: ['member.giveRoles'] });
    const session = await enterWithKey(f.ledger, key.reveal());
    const run = giveRoles(f.ledger, session, NORTHWIND.auditor.userId, ['owner']);
    await expect(run).rejects.toMatchObject({ code: 'authz.step_up_required' });
  });
});

describe('a job that a key enqueued', () => {
  beforeAll(() => f.ledger.queue.offWork(STATEMENT_IMPORT));

  test('is refused when the key was revoked meanwhile', async () => {
    const { id, key } = await feedKey();
    const text = await handIn(key.reveal());
    await revokeKey(f.ledger, f.owner, id);
    await expect(worked(text)).rejects.toMatchObject({ code: 'authz.key_refused' });
    expect(await lastEvent('statement.refused')).toMatchObject({ data: { code: 'authz.key_refused' } });
  });

  test('is refused when its creator lost the right meanwhile', async () => {
    const { key } = await feedKey();
    const text = await handIn(key.reveal());
    await ownerRoles(['auditor']);
    try {
      await expect(worked(text)).rejects.toMatchObject({ code: 'authz.denied' });
    } finally {
      await ownerRoles(['owner']);
    }
  });

  test('may do what the key may and no more, though its creator may', async () => {
    const { id } = await feedKey({ roles: ['owner'], actions: ['entry.read'] });
    const { actor } = f.owner;
    const access = await (await onBehalfOf(f.ledger, NORTHWIND.id, { actor, key: id })).admit();
    const resource = { org: NORTHWIND.id, id: 'x' };
    access.require('entry.read', resource);
    expect(() => access.require('bankLine.import', resource)).toThrow(
      expect.objectContaining({ code: 'authz.denied' }),
    );
  });

  test('names a key of its own organisation, or is refused', async () => {
    const { id } = await feedKey();
    const actor = `user:${IRONBRIDGE.owner.userId}`;
    const run = onBehalfOf(f.ledger, IRONBRIDGE.id, { actor, key: id });
    await expect(run).rejects.toMatchObject({ code: 'authz.key_refused', reason: 'unknown' });
  });
});

test('a job has no second factor, whoever enqueued it in whatever session', async () => {
  const { actor } = f.controller;
  const access = await (await onBehalfOf(f.ledger, NORTHWIND.id, { actor })).admit();
  const entry = { org: NORTHWIND.id, id: 'x', status: 'posted', postedBy: f.bookkeeper.actor } as const;
  expect(() => access.require('entry.approve', entry)).toThrow(
    expect.objectContaining({ code: 'authz.step_up_required' }),
  );
});
