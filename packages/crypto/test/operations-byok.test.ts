/**
 * The life of a customer's own key, against loopback servers of the three clouds' protocols and the official clients. The
 * parts on Key Vault need openssl for a certificate.
 */
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import type { KmsProvider, OrgId } from '../src/index.ts';
import { postgresRevocations } from '../src/postgres/index.ts';
import { Clouds } from './clouds-setup.ts';
import { CELL, codeOf, codeOfAsync } from './keyring-setup.ts';
import { anyOrg, type KeyDatabase, keks, keyDatabase, station } from './operations-setup.ts';

const LEASE_MS = 300_000;
const DENIED_MS = 5000;

const servers = new Clouds();
const { aws, all: clouds } = servers;
const awsKey = () => servers.awsKey();
const gcpKey = () => servers.gcpKey();
let kms: KmsProvider[];
let database: KeyDatabase;

beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'byok');
  kms = [keks('platform'), ...(await servers.listen())];
});
afterAll(async () => {
  await servers.close();
  await database.close();
});
afterEach(() => servers.heal());

async function newOrg(kekUri = 'local:platform') {
  const org = anyOrg();
  const parts = station(database.store, kms, () => kekUri);
  await parts.keyring.createOrg(org);
  return { org, ...parts };
}

const kekOf = async (org: OrgId) =>
  (await database.store.load(org)).map(({ wraps }) => wraps.map(({ kekUri }) => kekUri));

describe('an organisation moves live', () => {
  it(`from the platform to ${clouds.map(([name]) => name).join(', ')} and back, and no operation fails meanwhile`, async () => {
    const { org, operations, another, clock } = await newOrg();
    const reader = another();
    const first = (await reader.org(org)).sealText(CELL, 'first');
    let moving = true;
    let served = 0;
    const serve = (async () => {
      let latest = first;
      while (moving) {
        // Each round takes a new lease, so that it meets the wraps as they are in the middle of the move.
        clock.advance(LEASE_MS);
        const keys = await reader.org(org);
        expect(keys.openText(CELL, first)).toBe('first');
        expect(keys.openText(CELL, latest)).toMatch(/^first$|^round /);
        latest = keys.sealText(CELL, `round ${served}`);
        served += 1;
      }
    })();
    const stops = [...clouds.map(([, make]) => make().uri), 'local:platform'];
    let from = 'local:platform';
    for (const to of stops) {
      const before = served;
      const report = await operations.moveKek(org, { from, to });
      expect(report).toMatchObject({ org, from, to, added: 1, removed: 1, kmsCalls: 4 });
      expect(await kekOf(org)).toEqual([[to]]);
      await vi.waitFor(() => expect(served).toBeGreaterThan(before + 1));
      from = to;
    }
    moving = false;
    await serve;
    expect(reader.stats().deniedHits).toBe(0);
  });

  it('takes rotated and retired versions along, so that nothing stays under the KEK it left', async () => {
    const { org, operations, clock } = await newOrg();
    const { keyId } = await operations.rotate(org);
    await operations.rotate(org);
    clock.advance(2 * LEASE_MS);
    await operations.retire(org, keyId, [{ name: 'none', count: async () => 0 }]);
    const { uri } = awsKey();
    expect(await operations.moveKek(org, { from: 'local:platform', to: uri })).toMatchObject({
      added: 3,
      removed: 3,
    });
    expect(await kekOf(org)).toEqual([[uri], [uri], [uri]]);
  });

  it('not without its key: a disabled source refuses the move, a disabled target too, and nothing changes', async () => {
    const { org, operations } = await newOrg();
    const [one, two] = [awsKey(), gcpKey()];
    await operations.moveKek(org, { from: 'local:platform', to: one.uri });
    one.disable();
    expect(await codeOfAsync(operations.moveKek(org, { from: one.uri, to: two.uri }))).toBe(
      'crypto.key_revoked',
    );
    expect(await codeOfAsync(operations.addWrap(org, 'local:platform'))).toBe('crypto.key_revoked');
    expect(await codeOfAsync(operations.rotate(org))).toBe('crypto.key_revoked');
    one.enable();
    two.disable();
    expect(await codeOfAsync(operations.moveKek(org, { from: one.uri, to: two.uri }))).toBe(
      'crypto.key_revoked',
    );
    expect(await kekOf(org)).toEqual([[one.uri]]);
    two.enable();
    await operations.moveKek(org, { from: one.uri, to: two.uri });
    expect(await kekOf(org)).toEqual([[two.uri]]);
  });
});

describe.each(clouds)('a customer with a key in %s', (_, make) => {
  it('disables it: refused when the lease ends, not a message later; enables it: service resumes by itself', async () => {
    const { org, operations, another, clock } = await newOrg();
    const key = make();
    await operations.moveKek(org, { from: 'local:platform', to: key.uri });
    const process = another();
    const keys = await process.org(org);
    const sealed = keys.sealText(CELL, 'x');
    key.disable();
    clock.advance(LEASE_MS - 1);
    expect(keys.openText(CELL, sealed)).toBe('x'); // the documented remainder
    clock.advance(1);
    expect(codeOf(() => keys.openText(CELL, sealed))).toBe('crypto.lease_expired');
    expect(await codeOfAsync(process.org(org))).toBe('crypto.key_revoked');
    expect((await operations.status(org)).keks).toEqual([{ kekUri: key.uri, state: 'disabled' }]);
    key.enable();
    expect(await codeOfAsync(process.org(org))).toBe('crypto.key_revoked'); // the refusal is remembered for a while
    clock.advance(DENIED_MS);
    expect((await process.org(org)).openText(CELL, sealed)).toBe('x');
    expect((await operations.status(org)).keks).toEqual([{ kekUri: key.uri, state: 'enabled' }]);
  });

  it('deletes it, takes the permission away, or its cloud falls silent: each ends with the lease, by its own name', async () => {
    const { org, operations, another, clock } = await newOrg();
    const key = make();
    await operations.moveKek(org, { from: 'local:platform', to: key.uri });
    const process = another();
    const sealed = (await process.org(org)).sealText(CELL, 'x');
    for (const [change, undo, code] of [
      [() => key.answer('throttled'), () => key.answer(undefined), 'crypto.kms_unavailable'],
      [() => key.answer('denied'), () => key.answer(undefined), 'crypto.key_denied'],
      [() => key.scheduleDeletion(), () => key.enable(), 'crypto.key_destroyed'],
    ] as const) {
      const keys = await process.org(org);
      change();
      clock.advance(LEASE_MS - 1);
      expect(keys.openText(CELL, sealed)).toBe('x');
      clock.advance(1);
      expect(codeOf(() => keys.openText(CELL, sealed))).toBe('crypto.lease_expired');
      expect(await codeOfAsync(process.org(org))).toBe(code);
      undo();
      clock.advance(DENIED_MS);
      expect((await process.org(org)).openText(CELL, sealed)).toBe('x');
    }
  });

  it('disables it and the platform says so: every process refuses at once', async () => {
    const connectListener = async () => {
      const client = new pg.Client({ connectionString: database.appUrl });
      client.on('error', () => {}); // the server may stop while the session closes
      await client.connect();
      return client;
    };
    const org = anyOrg();
    const revocations = postgresRevocations({ connect: connectListener, reconnectMs: 10 });
    const key = make();
    const { keyring, another } = station(database.store, kms, () => key.uri, { revocations });
    await keyring.createOrg(org);
    const processes = [another(), another()];
    const held = await Promise.all(processes.map((process) => process.org(org)));
    const sealed = held[0]?.sealText(CELL, 'x') ?? '';
    key.disable();
    await keyring.revokeEverywhere(org);
    await vi.waitFor(() => {
      for (const keys of held) expect(codeOf(() => keys.openText(CELL, sealed))).toBe('crypto.lease_expired');
    });
    for (const process of processes) expect(await codeOfAsync(process.org(org))).toBe('crypto.key_revoked');
    await Promise.all([keyring, ...processes].map((one) => one.close()));
  });

  it('is obeyed in the middle of a move too: with two wraps, the refusal of the first is final', async () => {
    const { org, operations, another } = await newOrg(make().uri);
    const key = make();
    const [[former]] = (await kekOf(org)) as [[string]];
    await operations.addWrap(org, key.uri);
    await operations.removeWrap(org, former);
    await operations.addWrap(org, 'local:platform');
    key.disable();
    expect(await kekOf(org)).toEqual([[key.uri, 'local:platform']]);
    expect(await codeOfAsync(another().org(org))).toBe('crypto.key_revoked');
    expect(await codeOfAsync(operations.addWrap(org, 'local:platform'))).toBe('did not reject'); // nothing to do
    expect(await codeOfAsync(operations.addWrap(org, awsKey().uri))).toBe('crypto.key_revoked');
    expect(await codeOfAsync(operations.rotate(org))).toBe('crypto.key_revoked');
  });
});

describe('two customers with keys of their own', () => {
  async function two() {
    const one = { ...(await newOrg(awsKey().uri)) };
    const other = { ...(await newOrg(awsKey().uri)) };
    return { one, other };
  }

  it('can not be confused: wraps exchanged with their KEK URIs open for neither', async () => {
    const { one, other } = await two();
    const [a, b] = [await database.store.load(one.org), await database.store.load(other.org)];
    await sql`delete from crypto.dek_wrap where org_id in (${one.org}, ${other.org})`.execute(database.db);
    for (const [to, from] of [
      [a[0], b[0]],
      [b[0], a[0]],
    ]) {
      const wrap = from?.wraps[0];
      await sql`insert into crypto.dek_wrap (org_id, key_id, kek_uri, wrapped, binding, position) values (${to?.org},
        ${Buffer.from(to?.keyId ?? '', 'hex')}, ${wrap?.kekUri}, ${Buffer.from(wrap?.wrapped ?? [])},
        ${Buffer.from(wrap?.binding ?? [])}, 0)`.execute(database.db);
    }
    for (const { org, another, operations } of [one, other]) {
      expect(await codeOfAsync(another().org(org))).toBe('crypto.wrap_tampered');
      expect(await codeOfAsync(operations.addWrap(org, gcpKey().uri))).toBe('crypto.wrap_tampered');
    }
  });

  it('can not be confused by a KMS that answers with another key, neither on lease nor in a move', async () => {
    const { one } = await two();
    const before = await database.store.load(one.org);
    const [[uri]] = (await kekOf(one.org)) as [[string]];
    aws.fault = 'other_org_key';
    expect(await codeOfAsync(one.another().org(one.org))).toBe('crypto.wrap_tampered');
    expect(await codeOfAsync(one.operations.moveKek(one.org, { from: uri, to: gcpKey().uri }))).toBe(
      'crypto.wrap_tampered',
    );
    expect(await database.store.load(one.org)).toEqual(before);
  });

  it('can not read each other: a message names its key, and under another key it does not open', async () => {
    const { one, other } = await two();
    const mine = await one.keyring.org(one.org);
    const theirs = await other.keyring.org(other.org);
    const message = theirs.seal(CELL, new Uint8Array(8));
    expect(codeOf(() => mine.open(CELL, message))).toBe('crypto.unknown_key_version');
    message.set(Buffer.from(mine.activeKeyId, 'hex'), 2);
    expect(codeOf(() => mine.open(CELL, message))).toBe('crypto.decrypt_failed');
  });
});
