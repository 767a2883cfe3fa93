/** Whoever goes through ids that are not theirs: what they are told, and what the log has of it. */
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { BANK_FEED, createKey, revokeKey } from '../src/api-keys.ts';
import { attachFile, readAttachment } from '../src/attachments.ts';
import { imported, importStatement, statementLines } from '../src/bank-import.ts';
import { approveEntry, postEntry, readEntry } from '../src/entries.ts';
import { giveRoles } from '../src/members.ts';
import { IRONBRIDGE, NORTHWIND } from '../src/provision.ts';
import { reviewEntry, reviewsOf } from '../src/reviews.ts';
import { enterWithKey, type Session } from '../src/session.ts';
import { ENTRY, type Fixture, fixture, superuserOf } from './fixture.ts';

let f: Fixture;
let superuser: pg.Client;
/** Of Northwind, whose ids are gone through. */
let theirs: Readonly<Record<Kind, string>>;

type Kind = 'entry' | 'attachment' | 'statement';

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { admissionMaxAgeMs: 0 });
  superuser = await superuserOf(f);
  const entry = await postEntry(f.ledger, f.bookkeeper, ENTRY);
  const attachment = await attachFile(f.ledger, f.bookkeeper, entry, 'r.txt', Readable.from(['paid']));
  const csv = `booking_date,bank_transaction_id,counterparty,description,reference,amount,balance,currency
2026-01-05,N1,Staples,Paper,PO-1,-12.30,100.00,USD`;
  await importStatement(f.ledger, f.bookkeeper, 'a.csv', csv);
  const { rows } = await superuser.query('select id from ledger.statement');
  theirs = { entry, attachment, statement: rows[0].id };
});
afterAll(async () => {
  await superuser?.end();
  await f?.close();
});

type Ask = (session: Session, id: string) => Promise<unknown>;
const ASKS: readonly (readonly [string, Kind, Ask])[] = [
  ['reads an entry', 'entry', (session, id) => readEntry(f.ledger, session, id)],
  ['approves an entry', 'entry', (session, id) => approveEntry(f.ledger, session, id, 'fine')],
  ['reviews an entry', 'entry', (session, id) => reviewEntry(f.ledger, session, id, 'seen')],
  ['reads the reviews of an entry', 'entry', (session, id) => reviewsOf(f.ledger, session, id)],
  [
    'attaches to an entry',
    'entry',
    (session, id) => attachFile(f.ledger, session, id, 'x', Readable.from(['x'])),
  ],
  ['reads an attachment', 'attachment', (session, id) => readAttachment(f.ledger, session, id, 0, 1)],
  ['reads the lines of a statement', 'statement', (session, id) => statementLines(f.ledger, session, id)],
];
const codeOf = async (run: Promise<unknown>): Promise<string> =>
  await run.then(
    () => 'went through',
    ({ code }: { readonly code: string }) => code,
  );
/** What was recorded of an organisation's access attempts since the last call. */
const attempts = async (org: string): Promise<{ actor: string; code: string }[]> => {
  const { rows } = await superuser.query(
    `select actor, canon::jsonb #>> '{event,data,code}' as code from audit.event
      where action = 'access.denied' and org_id = $1 and id > $2 order by id`,
    [org, seen.get(org) ?? '00000000-0000-0000-0000-000000000000'],
  );
  const { rows: last } = await superuser.query(
    'select id from audit.event where org_id = $1 order by id desc limit 1',
    [org],
  );
  seen.set(org, last[0].id);
  return rows;
};
const seen = new Map<string, string>();

test.each(ASKS)(
  'whoever may not, and %s, is told the same whether it is there or not',
  async (_, kind, ask) => {
    const { key } = await createKey(f.ledger, f.owner, BANK_FEED);
    const feed = await enterWithKey(f.ledger, key.reveal());
    await attempts(NORTHWIND.id);
    expect(await codeOf(ask(feed, theirs[kind]))).toBe('authz.denied');
    expect(await codeOf(ask(feed, randomUUID()))).toBe('authz.denied');
    expect(await attempts(NORTHWIND.id)).toEqual(Array(2).fill({ actor: feed.actor, code: 'authz.denied' }));
  },
);

test.each(ASKS)(
  'a session that has ended, and %s, is told the same whether it is there or not',
  async (_, kind, ask) => {
    const sessionId = randomUUID();
    const ended = await f.enter(NORTHWIND.bookkeeper, { sessionId });
    await f.ledger.identity.revocations.revokeSession(f.provider.issuer.issuer, sessionId);
    for (const id of [theirs[kind], randomUUID()])
      expect(await codeOf(ask(ended, id))).toBe('authz.session_refused');
  },
);

test.each(ASKS)(
  'another organisation, which %s, is told that there is none; that stands in its own log',
  async (_, kind, ask) => {
    const members = ['bookkeeper', 'controller', 'reviewer'] as const;
    const sessions = await Promise.all(
      members.map((who) => f.enter(IRONBRIDGE[who], { mfa: true }, IRONBRIDGE)),
    );
    await Promise.all([attempts(NORTHWIND.id), attempts(IRONBRIDGE.id)]);
    const told = async (id: string) => {
      const codes: string[] = [];
      for (const session of sessions) codes.push(await codeOf(ask(session, id)));
      return codes;
    };
    const codes = await told(theirs[kind]);
    expect(codes).toContain(`ledger.${kind}_not_found`);
    expect(await told(randomUUID())).toEqual(codes);
    const recorded = (await attempts(IRONBRIDGE.id)).map(({ actor, code }) => [actor, code]);
    const each = sessions.map(({ actor }, at) => [actor, codes[at]]);
    expect(recorded).toEqual([...each, ...each]);
    expect(await attempts(NORTHWIND.id)).toEqual([]);
  },
);

test.each<[string, string, (session: Session) => Promise<unknown>]>([
  ['of a statement', 'statement', (session) => imported(f.ledger, session, theirs.statement)],
  [
    'of a key',
    'key',
    async (session) => {
      const { id } = await createKey(f.ledger, f.owner, BANK_FEED);
      await revokeKey(f.ledger, session, id);
    },
  ],
  ['of a member', 'member', (session) => giveRoles(f.ledger, session, NORTHWIND.auditor.userId, [])],
])('an owner of another organisation, with the id %s, is told that there is none', async (_, kind, ask) => {
  const owner = await f.enter(IRONBRIDGE.owner, { mfa: true }, IRONBRIDGE);
  await attempts(IRONBRIDGE.id);
  const code = `ledger.${kind}_not_found`;
  expect(await codeOf(ask(owner))).toBe(code);
  expect(await attempts(IRONBRIDGE.id)).toEqual([{ actor: owner.actor, code }]);
});
