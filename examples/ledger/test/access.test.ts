import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { BANK_FEED, createKey } from '../src/api-keys.ts';
import { identityProvider } from '../src/demo/identity-provider.ts';
import { approveEntry, postEntry, readEntry } from '../src/entries.ts';
import { readLog, verifyLog } from '../src/log-access.ts';
import { giveRoles } from '../src/members.ts';
import type { Role } from '../src/policy.ts';
import { IRONBRIDGE, NORTHWIND, type SeededMember } from '../src/provision.ts';
import { reviewEntry, reviewsOf } from '../src/reviews.ts';
import { type Session, signIn } from '../src/session.ts';
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

const setRoles = (who: SeededMember, roles: readonly Role[]) =>
  superuser.query('update ledger.member set roles = $2 where user_id = $1', [who.userId, roles]);
const rolesOf = async (who: SeededMember): Promise<string[]> =>
  (await superuser.query('select roles from ledger.member where user_id = $1', [who.userId])).rows[0].roles;
/** The newest event of a kind. */
const lastEvent = async (action: string) => {
  const { rows } = await superuser.query(
    'select actor, canon::jsonb -> $2 as event from audit.event where action = $1 order by at desc, id desc limit 1',
    [action, 'event'],
  );
  return { actor: rows[0]?.actor, ...rows[0]?.event };
};
const posted = () => postEntry(f.ledger, f.bookkeeper, ENTRY);
const approve = (session: Session, entry: string) => approveEntry(f.ledger, session, entry, 'fine');

describe('a sign-in', () => {
  const enter = (token: string, org = NORTHWIND) => signIn(f.ledger, org.id, token);

  test('takes no user id, and no token of an issuer that is not configured', async () => {
    for (const text of [NORTHWIND.owner.userId, NORTHWIND.owner.subject, `user:${NORTHWIND.owner.userId}`])
      await expect(enter(text)).rejects.toMatchObject({ code: 'authz.token_refused', reason: 'malformed' });
    const other = await identityProvider();
    const token = await other.tokenFor(NORTHWIND.owner.subject, { mfa: true });
    await expect(enter(token)).rejects.toMatchObject({ code: 'authz.token_refused', reason: 'issuer' });
    await other.close();
  });

  test('takes no token that says it is of the issuer and is signed by another key', async () => {
    const genuine = await f.provider.tokenFor(NORTHWIND.owner.subject, { mfa: true });
    const [header = '', payload = ''] = genuine.split('.');
    const { privateKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
      'sign',
    ]);
    const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString());
    const forged = await new SignJWT(read(payload)).setProtectedHeader(read(header)).sign(privateKey);
    await expect(enter(forged)).rejects.toMatchObject({ code: 'authz.token_refused', reason: 'signature' });
  });

  test('of a member of another organisation is refused, and in the log of the one they asked for', async () => {
    const { subject } = IRONBRIDGE.controller;
    const run = enter(await f.provider.tokenFor(subject));
    await expect(run).rejects.toMatchObject({ code: 'authz.session_refused', reason: 'member' });
    const event = await lastEvent('session.refused');
    const data = { code: 'authz.session_refused', issuer: f.provider.issuer.issuer };
    expect(event).toMatchObject({ actor: 'system:sign-in', data });
    expect(JSON.stringify(event)).not.toContain(subject); // they are nobody here
  });

  test('is known by issuer and subject: the same subject at another issuer is somebody else', async () => {
    const { directory } = f.ledger.identity;
    const { subject, userId } = NORTHWIND.owner;
    const { issuer } = f.provider.issuer;
    const [here, there] = await Promise.all(
      [issuer, 'https://id.elsewhere.example'].map((each) =>
        directory.member(NORTHWIND.id, { issuer: each, subject }),
      ),
    );
    expect([here?.id, there]).toEqual([`user:${userId}`, undefined]);
  });

  test('is recorded, with how the member authenticated', async () => {
    await f.enter(NORTHWIND.controller, { mfa: true });
    const data = { issuer: f.provider.issuer.issuer, mfa: true };
    expect(await lastEvent('session.opened')).toMatchObject({ actor: f.controller.actor, data });
  });
});

describe('a session that is held', () => {
  test('ends with its revocation at the provider', async () => {
    const sessionId = randomUUID();
    const held = await f.enter(NORTHWIND.bookkeeper, { sessionId });
    const entry = await postEntry(f.ledger, held, ENTRY);
    await f.ledger.identity.revocations.revokeSession(f.provider.issuer.issuer, sessionId);
    const read = readEntry(f.ledger, held, entry);
    await expect(read).rejects.toMatchObject({ code: 'authz.session_refused', reason: 'ended' });
    expect(await lastEvent('access.denied')).toMatchObject({ data: { code: 'authz.session_refused' } });
    await readEntry(f.ledger, f.bookkeeper, entry); // another session of the same member goes on
  });

  test('has the roles of its member, not those it was opened with', async () => {
    const entry = await posted();
    await setRoles(NORTHWIND.reviewer, ['integration']);
    try {
      const read = readEntry(f.ledger, f.reviewer, entry);
      await expect(read).rejects.toMatchObject({ code: 'authz.denied' });
    } finally {
      await setRoles(NORTHWIND.reviewer, ['reviewer']);
    }
    await readEntry(f.ledger, f.reviewer, entry);
  });

  test('is admitted once for requests that follow each other, and again after any revocation', async () => {
    const entry = await posted();
    const patient = { ...f.ledger, admissionMaxAgeMs: 3_600_000 };
    const admit = vi.spyOn(f.ledger.identity.guard, 'admit');
    const held = await signIn(patient, NORTHWIND.id, await f.provider.tokenFor(NORTHWIND.bookkeeper.subject));
    for (let i = 0; i < 3; i++) await readEntry(patient, held, entry);
    expect(admit).toHaveBeenCalledTimes(1);
    await f.ledger.identity.revocations.revokeToken(f.provider.issuer.issuer, 'the token of somebody else');
    await readEntry(patient, held, entry);
    expect(admit).toHaveBeenCalledTimes(2);
    admit.mockRestore();
  });

  test('of a member with a role the policy does not know is denied, whatever else they hold', async () => {
    const entry = await posted();
    await setRoles(NORTHWIND.auditor, ['auditor', 'superhero' as Role]);
    try {
      const read = readEntry(f.ledger, f.auditor, entry);
      await expect(read).rejects.toMatchObject({ code: 'authz.denied' });
    } finally {
      await setRoles(NORTHWIND.auditor, ['auditor']);
    }
  });
});

describe('an approval', () => {
  test('needs a second factor, and its refusal is recorded with what is missing', async () => {
    const entry = await posted();
    const run = approve(await f.enter(NORTHWIND.controller), entry);
    await expect(run).rejects.toMatchObject({ code: 'authz.step_up_required' });
    const event = await lastEvent('access.denied');
    expect(event).toMatchObject({
      actor: f.controller.actor,
      outcome: 'denied',
      data: { action: 'entry.approve', code: 'authz.step_up_required' },
    });
    expect(event.reason).toContain('missing: multi-factor authentication');
    await approve(f.controller, entry);
  });

  test('needs an authentication of the last 15 minutes, however strong an older one was', async () => {
    const entry = await posted();
    const old = await f.enter(NORTHWIND.controller, { mfa: true, agoMs: 16 * 60_000 });
    await expect(approve(old, entry)).rejects.toMatchObject({
      code: 'authz.step_up_required',
      decision: { forbid: 'recent-for-approval', stepUp: { maxAge: 900, mfa: false } },
    });
    await approve(await f.enter(NORTHWIND.controller, { mfa: true, agoMs: 13 * 60_000 }), entry);
  });

  test('that lacks both asks for both at once', async () => {
    const old = await f.enter(NORTHWIND.controller, { agoMs: 3_600_000 });
    await expect(approve(old, await posted())).rejects.toMatchObject({
      decision: { stepUp: { maxAge: 900, mfa: true } },
    });
  });
});

describe('a review', () => {
  test('is a sealed note that whoever approves can read; the log has its id only', async () => {
    const entry = await posted();
    const id = await reviewEntry(f.ledger, f.reviewer, entry, 'the vendor is new');
    const expected = [{ id, note: 'the vendor is new', reviewedBy: f.reviewer.actor }];
    expect(await reviewsOf(f.ledger, f.controller, entry)).toEqual(expected);
    const [row] = (await superuser.query('select * from ledger.review where id = $1', [id])).rows;
    expect(JSON.stringify(row)).not.toContain('vendor');
    expect(JSON.stringify(await lastEvent('entry.reviewed'))).not.toContain('vendor');
  });

  test('of an entry one posted is refused, whatever roles one holds', async () => {
    await setRoles(NORTHWIND.bookkeeper, ['bookkeeper', 'reviewer']);
    try {
      const run = reviewEntry(f.ledger, f.bookkeeper, await posted(), 'looks right');
      await expect(run).rejects.toMatchObject({ decision: { forbid: 'no-self-approval' } });
    } finally {
      await setRoles(NORTHWIND.bookkeeper, ['bookkeeper']);
    }
  });
});

describe('giving roles', () => {
  const give = (who: SeededMember, roles: readonly Role[], by = f.owner) =>
    giveRoles(f.ledger, by, who.userId, roles);

  test('is recorded with the roles before and after', async () => {
    await give(NORTHWIND.auditor, ['reviewer']);
    const event = await lastEvent('member.roles_given');
    expect(event).toMatchObject({ actor: f.owner.actor, target: { id: NORTHWIND.auditor.userId } });
    expect(event.changes).toEqual({ roles: { from: ['auditor'], to: ['reviewer'] } });
    await give(NORTHWIND.auditor, ['auditor']);
  });

  test.each<[string, () => Promise<void>, object]>([
    ['by anybody but an owner', () => give(NORTHWIND.auditor, [], f.controller), { code: 'authz.denied' }],
    [
      'to oneself',
      () => give(NORTHWIND.owner, ['owner', 'controller']),
      { decision: { forbid: 'no-own-roles' } },
    ],
    // PostgreSQL reads a uuid in any of these spellings, so each finds the row of the owner who asks.
    ...[
      (id: string) => id.toUpperCase(),
      (id: string) => `{${id}}`,
      (id: string) => id.replaceAll('-', ''),
    ].map((spelt): [string, () => Promise<void>, object] => [
      `to oneself, spelt ${spelt('0199a4c0-00aa')}`,
      () => giveRoles(f.ledger, f.owner, spelt(NORTHWIND.owner.userId), ['controller']),
      { decision: { forbid: 'no-own-roles' } },
    ]),
    [
      'of an integration, which are for keys alone',
      () => give(NORTHWIND.reviewer, ['integration']),
      { code: 'ledger.role_not_appointed' },
    ],
    [
      'with a password alone',
      async () => give(NORTHWIND.auditor, [], await f.enter(NORTHWIND.owner)),
      { code: 'authz.step_up_required' },
    ],
    [
      'that post and approve, to one person',
      () => give(NORTHWIND.reviewer, ['bookkeeper', 'controller']),
      { code: 'ledger.duty_conflict' },
    ],
    [
      'that give roles and approve, to one person',
      () => give(NORTHWIND.reviewer, ['owner', 'controller']),
      { code: 'ledger.duty_conflict' },
    ],
    [
      'that the policy does not have',
      () => give(NORTHWIND.reviewer, ['superhero' as Role]),
      { code: 'authz.ceiling_exceeded', breach: 'unknown' },
    ],
    [
      'to a member of another organisation',
      () => give(IRONBRIDGE.auditor, ['owner']),
      { code: 'ledger.member_not_found' },
    ],
  ])('is refused %s', async (_, run, refusal) => {
    await expect(run()).rejects.toMatchObject(refusal);
    for (const { userId, roles } of [
      NORTHWIND.owner,
      NORTHWIND.reviewer,
      NORTHWIND.auditor,
      IRONBRIDGE.auditor,
    ])
      expect(
        (await superuser.query('select roles from ledger.member where user_id = $1', [userId])).rows,
      ).toEqual([{ roles }]);
  });

  test('leaves an owner, also when two owners take the role from each other at once', async () => {
    await give(NORTHWIND.reviewer, ['owner']);
    const waiting = async () =>
      (
        await superuser.query(
          "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
      ).rowCount;
    try {
      const other = await f.enter(NORTHWIND.reviewer, { mfa: true });
      // Both were let in while both are owners, and wait for the rows.
      await superuser.query('begin');
      await superuser.query('select from ledger.member where org_id = $1 for update', [NORTHWIND.id]);
      const running = Promise.allSettled([
        give(NORTHWIND.reviewer, ['reviewer']),
        give(NORTHWIND.owner, ['auditor'], other),
      ]);
      await expect.poll(waiting, { timeout: 20_000 }).toBe(2);
      await superuser.query('commit');
      const refused = (await running).filter((each) => each.status === 'rejected');
      expect(refused).toHaveLength(1);
      expect(refused[0]?.reason).toMatchObject({ code: 'ledger.last_owner' });
      const left = [...(await rolesOf(NORTHWIND.owner)), ...(await rolesOf(NORTHWIND.reviewer))];
      expect(left.filter((role) => role === 'owner')).toHaveLength(1);
    } finally {
      await superuser.query('rollback');
      await setRoles(NORTHWIND.owner, ['owner']);
      await setRoles(NORTHWIND.reviewer, ['reviewer']);
    }
  });
});

describe('a second factor for everybody', () => {
  test('keeps a password out, at sign-in and in a session that is held, until it is turned off', async () => {
    const entry = await posted();
    await requireSecondFactor(f.ledger, f.owner, 'on');
    try {
      const read = readEntry(f.ledger, f.bookkeeper, entry);
      await expect(read).rejects.toMatchObject({ code: 'authz.session_insufficient', stepUp: { mfa: true } });
      await expect(f.enter(NORTHWIND.auditor)).rejects.toMatchObject({ code: 'authz.session_insufficient' });
      const event = await lastEvent('session.refused');
      expect(event).toMatchObject({ actor: f.auditor.actor, data: { code: 'authz.session_insufficient' } });
      await readEntry(f.ledger, await f.enter(NORTHWIND.bookkeeper, { mfa: true }), entry);
    } finally {
      await requireSecondFactor(f.ledger, f.owner, 'off');
    }
    await readEntry(f.ledger, f.bookkeeper, entry);
    expect(await lastEvent('settings.changed')).toMatchObject({ actor: f.owner.actor });
  });

  test('is turned on by an owner with a second factor alone', async () => {
    const weak = await f.enter(NORTHWIND.owner);
    await expect(requireSecondFactor(f.ledger, weak, 'on')).rejects.toMatchObject({
      code: 'authz.step_up_required',
    });
    const other = requireSecondFactor(f.ledger, f.controller, 'on');
    await expect(other).rejects.toMatchObject({ code: 'authz.denied' });
  });

  test('is refused by a plan that does not include it, and the refusal is recorded', async () => {
    await superuser.query("update ledger.org set plan = 'free' where org_id = $1", [NORTHWIND.id]);
    try {
      const run = requireSecondFactor(f.ledger, f.owner, 'on');
      await expect(run).rejects.toMatchObject({ code: 'authz.assurance_refused', reason: 'plan' });
    } finally {
      await superuser.query("update ledger.org set plan = 'pro' where org_id = $1", [NORTHWIND.id]);
    }
    expect(await lastEvent('access.denied')).toMatchObject({ data: { code: 'authz.assurance_refused' } });
  });
});

test('the audit log is read and verified by whoever may, and that is in it', async () => {
  const page = await readLog(f.ledger, f.controller, { action: 'session.opened' });
  expect(page.events.length).toBeGreaterThan(4);
  const data = { events: page.events.length };
  expect(await lastEvent('audit_log.read')).toMatchObject({ actor: f.controller.actor, data });
  expect(await verifyLog(f.ledger, f.auditor)).toMatchObject({ ok: true });
  expect(await lastEvent('audit_log.verified')).toMatchObject({ actor: f.auditor.actor, data: { ok: true } });
  for (const run of [
    () => readLog(f.ledger, f.bookkeeper, {}),
    () => readLog(f.ledger, f.reviewer, {}),
    () => verifyLog(f.ledger, f.controller),
  ])
    await expect(run()).rejects.toMatchObject({ code: 'authz.denied' });
});

test('a key is made by an owner with a second factor, and by nobody else', async () => {
  const weak = await f.enter(NORTHWIND.owner);
  await expect(createKey(f.ledger, weak, BANK_FEED)).rejects.toMatchObject({
    code: 'authz.step_up_required',
  });
  for (const session of [f.controller, f.bookkeeper, f.reviewer, f.auditor])
    await expect(createKey(f.ledger, session, BANK_FEED)).rejects.toMatchObject({ code: 'authz.denied' });
});
