/** The end of keys by revocation: what it names and nothing else, in every process, also when not everybody can be told. */
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { ApiKeys } from '../src/keys/index.ts';
import { API_KEY_ISSUER, createSessionGuard, Revocations } from '../src/session/index.ts';
import { KeyWorld, type keyResources } from './keys-fixture.ts';
import { ORG_A, ORG_B, TestIssuer } from './session-fixture.ts';

const issuer = await TestIssuer.start();
afterAll(async () => await issuer.close());
let world: KeyWorld;
let keys: ApiKeys<typeof keyResources>;
const entry = { org: ORG_A, id: 'entry:1', createdBy: 'user:bob', amountCents: 500, locked: false } as const;

beforeEach(() => {
  world = new KeyWorld(issuer);
  keys = world.keys();
});

async function made(subject = 'olga'): Promise<string> {
  return (await keys.create(await world.creation(subject))).key.reveal();
}

describe('revocation', () => {
  test('of a key, of a creator, of an organisation and everywhere ends what it names and nothing else', async () => {
    const of = async () => [await made('olga'), await made('carl')] as const;
    const state = (key: string) =>
      keys.verify(key).then(
        () => 'alive',
        (error: { reason: string }) => error.reason,
      );
    const olga = { issuer: issuer.url, subject: 'olga' };
    const first = await of();
    expect(await keys.revoke({ kind: 'key', org: ORG_B, id: first[0].slice(9, 25) })).toBe(0);
    expect(await state(first[0])).toBe('alive');
    expect(await keys.revoke({ kind: 'key', org: ORG_A, id: first[0].slice(9, 25) })).toBe(1);
    expect([await state(first[0]), await state(first[1])]).toEqual(['revoked', 'alive']);
    const second = await of();
    await keys.revoke({ kind: 'creator', org: ORG_A, creator: olga });
    expect([await state(second[0]), await state(second[1])]).toEqual(['revoked', 'alive']);
    await keys.revoke({ kind: 'org', org: ORG_A });
    expect(await state(second[1])).toBe('revoked');
    const third = await of();
    await keys.revoke({ kind: 'everywhere' });
    expect([await state(third[0]), await state(third[1])]).toEqual(['revoked', 'revoked']);
  });

  test('ends a key that was admitted a moment ago', async () => {
    const key = await made();
    const access = await keys.admit(key);
    await keys.revoke({ kind: 'org', org: ORG_A });
    expect(access.authorize('entry.read', entry).effect).toBe('deny');
  });

  test('reaches another process through the register, whatever its clock says', async () => {
    const key = await made();
    const elsewhere = new KeyWorld(issuer);
    elsewhere.members.set('olga', ['owner']);
    const other = elsewhere.keys({ store: world.store, peppers: world.peppers });
    await other.verify(key); // it has the record at hand
    await world.store.revoke({ kind: 'key', org: ORG_A, id: key.slice(9, 25) }, world.clock.wall);
    await other.verify(key); // and nobody has told it
    const at = world.clock.wall - 3_600_000; // by a clock an hour behind
    elsewhere.revocations.receive({ kind: 'subject', issuer: API_KEY_ISSUER, id: key.slice(9, 25), at });
    await expect(other.verify(key)).rejects.toMatchObject({ reason: 'revoked' });
  });

  test('is in the store and in force here even when nobody else can be told', async () => {
    const key = await made();
    await keys.verify(key);
    const revocations = new Revocations({
      ...world.clock,
      publish: async () => Promise.reject(new Error('the bus is down')),
    });
    const mute = world.keys({ revocations });
    await mute.verify(key);
    await expect(mute.revoke({ kind: 'org', org: ORG_A })).rejects.toThrow('the bus is down');
    await expect(mute.verify(key)).rejects.toMatchObject({ reason: 'revoked' });
  });

  test('is not overtaken by a read that began before it', async () => {
    const key = await made();
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { store } = world;
    const find: typeof store.find = async (id) => {
      const record = await store.find(id);
      await gate;
      return record;
    };
    const slow = world.keys({ store: { ...store, find, revoke: (s, at) => store.revoke(s, at) } });
    const reading = slow.verify(key).catch((error: unknown) => error);
    await slow.revoke({ kind: 'org', org: ORG_A });
    release();
    await reading; // the read itself began before the revocation
    await expect(slow.verify(key)).rejects.toMatchObject({ reason: 'revoked' });
  });

  test('of an organisation in the register ends its people, not its keys: those are ended where they are stored', async () => {
    const key = await made();
    const access = await keys.admit(key);
    const people = createSessionGuard({ ...world, directory: world.directory });
    const session = await world.session('olga');
    await people.admit(session, ORG_A);
    world.clock.pass(1_000);
    await world.revocations.revokeOrg(ORG_A);
    await expect(people.admit(session, ORG_A)).rejects.toMatchObject({ reason: 'ended' });
    expect(access.authorize('entry.read', entry).effect).toBe('deny'); // it was admitted before
    world.clock.pass(1_000);
    expect((await keys.admit(key)).authorize('entry.read', entry).effect).toBe('allow');
    expect(await keys.revoke({ kind: 'org', org: ORG_A })).toBe(1);
    await expect(keys.admit(key)).rejects.toMatchObject({ reason: 'revoked' });
    world.clock.pass(26 * 3_600_000); // the register has forgotten, the store has not
    const again = world.keys({ revocations: new Revocations(world.clock) });
    await expect(again.admit(key)).rejects.toMatchObject({ reason: 'revoked' });
  });

  test('of an organisation that is gone from the directory is that of its keys too', async () => {
    const key = await made();
    world.settings.delete(ORG_A);
    await expect(keys.admit(key)).rejects.toMatchObject({ reason: 'org' });
  });
});
