import { spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type { OrgId } from '../src/index.ts';
import { localKms } from '../src/local/index.ts';
import { isIntactShredCertificate, type ShredCertificate } from '../src/operations/index.ts';
import { CELL, codeOfAsync } from './keyring-setup.ts';
import { type KeyDatabase, keyDatabase, manyOrgs, station } from './operations-setup.ts';

const kekA = randomBytes(32);
const kekB = randomBytes(32);
const kms = [localKms({ keks: { a: kekA, b: kekB } })];
let database: KeyDatabase;
/** Children that were killed before their end, in the running test. */
let kills = 0;
beforeEach(() => {
  kills = 0;
});
beforeAll(async () => {
  database = await keyDatabase(inject('databaseUrl'), 'kill');
});
afterAll(async () => {
  await database.close();
});

/** Runs the child and kills it with SIGKILL some time after its n-th line; gives the lines it came to print. */
async function killedAfter(
  mode: string,
  orgs: readonly OrgId[],
  lines: number,
  delayMs: number = randomInt(0, 12),
): Promise<string[]> {
  const child = spawn(
    process.execPath,
    [
      '--conditions=@ringfence/source',
      fileURLToPath(new URL('./operations-child.ts', import.meta.url)),
      JSON.stringify({
        mode,
        url: database.ownerUrl,
        orgs,
        kekA: kekA.toString('hex'),
        kekB: kekB.toString('hex'),
      }),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const printed: string[] = [];
  const ended = new Promise((resolve) => child.once('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    printed.push(line);
    // Spread over the milliseconds that follow a line, so that kills fall into KMS calls, transactions and pauses.
    if (printed.length === lines) setTimeout(() => child.kill('SIGKILL'), delayMs);
  }
  await ended;
  if (child.signalCode === 'SIGKILL') kills += 1;
  expect(child.signalCode === 'SIGKILL' || printed.at(-1) === 'end').toBe(true);
  return printed;
}

async function populate(count: number) {
  const parts = station(database.store, kms);
  const orgs = manyOrgs(count);
  const sealed = new Map<OrgId, string>();
  for (const org of orgs) {
    await parts.keyring.createOrg(org);
    sealed.set(org, (await parts.keyring.org(org)).sealText(CELL, org));
  }
  const expectAllOpen = async () => {
    const keyring = parts.another();
    for (const org of orgs) {
      const keys = await keyring.org(org);
      expect(keys.openText(CELL, sealed.get(org) ?? '')).toBe(org);
      expect(keys.openText(CELL, keys.sealText(CELL, 'after'))).toBe('after');
    }
  };
  return { ...parts, orgs, expectAllOpen };
}

describe('killed with SIGKILL at random points and started again', () => {
  it('a re-wrap of all organisations loses no key and comes to its end', { timeout: 120_000 }, async () => {
    const { orgs, expectAllOpen, operations } = await populate(40);
    let rounds = 0;
    for (; rounds < 5; rounds += 1) {
      const printed = await killedAfter('rewrap', orgs, randomInt(1, 12));
      await expectAllOpen();
      for (const org of orgs) {
        const [record, ...more] = await database.store.load(org);
        expect(more).toEqual([]);
        expect(record?.wraps).toHaveLength(1);
      }
      // What the mark covers is done.
      const mark = printed.at(-1)?.replace('done ', '') ?? '';
      for (const org of orgs) {
        if (org > mark || !/^[0-9a-f]{8}-/.test(mark)) continue;
        expect((await database.store.load(org))[0]?.wraps[0]?.kekUri).toBe('local:b');
      }
      if (printed.at(-1) === 'end') break;
    }
    expect(kills).toBeGreaterThan(0);
    await operations.rewrapAll({ orgs, to: () => 'local:b' });
    for (const org of orgs) expect((await database.store.load(org))[0]?.wraps[0]?.kekUri).toBe('local:b');
    await expectAllOpen();
  });

  it('a rotation leaves the old version active or the new one, never none or two', {
    timeout: 120_000,
  }, async () => {
    const { orgs, expectAllOpen, operations } = await populate(10);
    for (let round = 0; round < 5; round += 1) {
      await killedAfter('rotate', orgs, randomInt(2, 12));
      for (const org of orgs) {
        const records = await database.store.load(org);
        expect(records.filter(({ state }) => state === 'active')).toHaveLength(1);
        expect(records.at(-1)?.state).toBe('active');
        expect(records.map(({ version }) => version)).toEqual(records.map((_, i) => i + 1));
        for (const { wraps } of records) expect(wraps).toHaveLength(1);
      }
      await expectAllOpen();
    }
    expect(kills).toBeGreaterThan(0);
    for (const org of orgs) await operations.rotate(org);
    await expectAllOpen();
  });

  it('a shred destroys all of an organisation or nothing, and the next call certifies it', {
    timeout: 120_000,
  }, async () => {
    for (let round = 0; round < 4; round += 1) {
      const { orgs, operations, keyring, another } = await populate(6);
      for (const org of orgs) {
        await operations.addWrap(org, 'local:b');
        await operations.rotate(org);
      }
      await keyring.close();
      const printed = await killedAfter('shred', orgs, randomInt(2, 10));
      const reader = another();
      for (const org of orgs) {
        const records = await database.store.load(org);
        const states = new Set(records.map(({ state }) => state === 'shredded'));
        expect(states.size).toBe(1);
        const wraps = records.reduce((sum, record) => sum + record.wraps.length, 0);
        expect(wraps).toBe(states.has(true) ? 0 : 4);
        if (printed.includes(`done ${org}`)) expect(states.has(true)).toBe(true);
        const certificate = await operations.shred(org, { reason: 'kill test' });
        expect(certificate).toMatchObject({
          wrapsDestroyed: 4,
          versions: [{ version: 1 }, { version: 2 }],
        });
        expect(await codeOfAsync(reader.org(org))).toBe('crypto.key_shredded');
      }
    }
    expect(kills).toBeGreaterThan(0);
  });

  it('a shred killed between its transaction and its certificate is certified by the next call as if it had not been', {
    timeout: 120_000,
  }, async () => {
    const { orgs, operations, keyring, clock } = await populate(2);
    const [killed, control] = orgs as [OrgId, OrgId];
    for (const org of orgs) {
      await operations.addWrap(org, 'local:b');
      await operations.rotate(org);
    }
    await keyring.close();
    const begun = Date.now();
    const printed = await killedAfter('shred-untold', [killed], 3, 0);
    expect([kills, printed]).toEqual([1, ['ready', `begin ${killed}`, `destroyed ${killed}`]]);
    const options = { reason: 'kill test', keyStoreBackupsMs: 0 };
    const [resumed, uninterrupted] = [
      await operations.shred(killed, options),
      await operations.shred(control, options),
    ];
    const counts = ({ versions, wrapsDestroyed, kekUris }: ShredCertificate) => ({
      versions: versions.map(({ version }) => version),
      wrapsDestroyed,
      kekUris,
    });
    expect(counts(resumed)).toEqual(counts(uninterrupted));
    expect(counts(resumed)).toEqual({
      versions: [1, 2],
      wrapsDestroyed: 4,
      kekUris: ['local:a', 'local:b'],
    });
    // The time is that of the shred, not of the resumption; the horizon of backups counts from it.
    expect(Date.parse(resumed.shreddedAt)).toBeGreaterThanOrEqual(begun);
    expect(resumed.backupsHorizon).toBe(resumed.shreddedAt);
    expect(uninterrupted.shreddedAt).toBe(new Date(clock.now()).toISOString());
    expect(isIntactShredCertificate(resumed)).toBe(true);
  });
});
