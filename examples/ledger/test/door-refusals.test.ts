/** People of one organisation who knock at another: what its log has of them. */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { DoorRefusals, type Knock } from '../src/door-refusals.ts';
import { IRONBRIDGE, NORTHWIND } from '../src/provision.ts';
import { signIn } from '../src/session.ts';
import { type Fixture, fixture, superuserOf } from './fixture.ts';

let f: Fixture;
let superuser: pg.Client;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  superuser = await superuserOf(f);
});
afterAll(async () => {
  await superuser?.end();
  await f?.close();
});

const { subject: STRANGER } = IRONBRIDGE.bookkeeper;
const refusals = async () => {
  const { rows } = await superuser.query(
    `select org_id as org, canon, canon::jsonb #> '{event,data}' as data from audit.event
      where action = 'session.refused' order by at, id`,
  );
  return rows;
};

test('a flood of genuine tokens of another organisation is one event, and one with their number', async () => {
  const token = await f.provider.tokenFor(STRANGER);
  for (let n = 0; n < 101; n += 1)
    await expect(signIn(f.ledger, NORTHWIND.id, token)).rejects.toMatchObject({ reason: 'member' });
  expect((await refusals()).map(({ org, data }) => [org, data.attempts])).toEqual([[NORTHWIND.id, 1]]);
  await f.ledger.atTheDoor.flush(); // as when the process stops; else with the next attempt behind a minute
  expect((await refusals()).map(({ data }) => data.attempts)).toEqual([1, 100]);
});

test('who it was is not found by guessing: the digest is none of issuer and subject alone', async () => {
  const { issuer } = f.provider.issuer;
  const [{ canon, data }] = await refusals();
  expect(canon).not.toContain(STRANGER);
  for (const guess of [STRANGER, `${issuer}\n${STRANGER}`, `${NORTHWIND.id}\n${issuer}\n${STRANGER}`])
    expect(data.subject).not.toBe(createHash('sha256').update(guess).digest('hex'));
});

const person = { issuer: 'https://id.example', subject: 'mallory' };
const knock = { org: NORTHWIND.id, by: { actor: 'system:sign-in' }, code: 'c', reason: 'r' };

test('a person has the same digest in an organisation, and another in each and under each secret', async () => {
  const seen: string[] = [];
  const door = (secret: number) =>
    new DoorRefusals(new Uint8Array(32).fill(secret), async ({ subject }) => void seen.push(subject));
  await door(1).note(knock, person);
  await door(1).note(knock, person);
  await door(1).note({ ...knock, org: IRONBRIDGE.id }, person);
  await door(2).note(knock, person);
  await door(1).note(knock, { ...person, issuer: 'https://id.elsewhere.example' });
  expect(seen[1]).toBe(seen[0]);
  expect(new Set(seen).size).toBe(4);
});

test('what could not be told is told with the next attempt, and what was counted once the minute is over, whoever knocks', async () => {
  const told: Pick<Knock, 'attempts'>[] = [];
  let works = false;
  const door = new DoorRefusals(new Uint8Array(32), async ({ attempts }) => {
    if (!works) throw new Error('the log takes nothing');
    told.push({ attempts });
  });
  const at = (now: number) => door.note(knock, person, now);
  await expect(at(0)).rejects.toThrow('takes nothing');
  works = true;
  await at(1);
  await at(2);
  await door.note(knock, { ...person, subject: 'somebody else' }, 60_001); // time passes for mallory too
  await at(60_002);
  await door.note(knock, { ...person, subject: 'somebody else' }, 180_001);
  await at(180_002);
  await at(300_000);
  expect(told.map(({ attempts }) => attempts)).toEqual([2, 1, 1, 1, 1, 2]);
});
