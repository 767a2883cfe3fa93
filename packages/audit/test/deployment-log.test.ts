/** The log of logs: an organisation's log that is gone is noticed, and a leaf tells nothing. */
import { sql } from 'kysely';
import { afterAll, afterEach, beforeEach, expect, inject, test } from 'vitest';
import { createDeploymentLog, type DeploymentLog, deploymentLeaf } from '../src/checkpoint/index.ts';
import type { OrgId } from '../src/index.ts';
import { openCheckpoint } from '../src/verify/checkpoint.ts';
import { verifyInclusion } from '../src/verify/merkle-proof.ts';
import { type CheckpointFixture, checkpointFixture, ORIGIN } from './checkpoint-fixture.ts';
import { errorOf } from './fixture.ts';

const open: CheckpointFixture[] = [];
let f: CheckpointFixture;
let log: DeploymentLog;
let orgs: OrgId[];

// A database for each test: there is one such log in a database.
beforeEach(async () => {
  f = await checkpointFixture(inject('databaseUrl'));
  open.push(f);
  log = createDeploymentLog({ db: f.signing, signer: f.signer, origin: ORIGIN });
  orgs = [];
  for (let events = 1; events <= 4; events++) orgs.push(await f.org(events));
  for (const org of orgs) await f.checkpointer.checkpoint(org);
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
});

afterAll(() => Promise.all(open.map((one) => one.close())));

async function rootOf(note: string): Promise<Readonly<Uint8Array>> {
  const opened = await openCheckpoint(note, { origin: ORIGIN, keys: [f.key] });
  if (!opened.ok) throw new Error(opened.reason);
  return opened.checkpoint.root;
}

test('proves each organisation, by its entry and the note alone', async () => {
  expect(await log.checkpoint()).toMatchObject({ checkpoint: { size: 4 }, refused: [] });
  const [first] = orgs as [OrgId];
  await f.grow(first, 5);
  const { root: signed } = (await f.checkpointer.checkpoint(first)) ?? {};
  expect((await log.checkpoint()).checkpoint?.size).toBe(5);
  expect((await log.checkpoint()).checkpoint?.size).toBe(5);
  for (const org of orgs) {
    const { entry, index, size, proof, note } = await log.proveOrg(org);
    expect(entry.org).toBe(org);
    const claim = { leaf: deploymentLeaf(entry), index, size, root: await rootOf(note), proof };
    expect(verifyInclusion(claim)).toBe(true);
    for (const other of [
      { ...entry, size: entry.size + 1 },
      { ...entry, root: entry.salt },
      { ...entry, salt: entry.root },
      { ...entry, org: orgs.find((one) => one !== org) ?? '' },
    ]) {
      expect(verifyInclusion({ ...claim, leaf: deploymentLeaf(other) })).toBe(false);
    }
  }
  expect((await log.proveOrg(first)).entry).toMatchObject({ size: 6, root: signed });
  expect(await log.verify()).toEqual({ ok: true, size: 5, findings: [] });
  expect(await errorOf(log.proveOrg(await f.org(1)))).toMatchObject({ code: 'audit.no_checkpoint' });
});

test('blinds: the same checkpoint of the same organisation has another leaf under another salt', () => {
  const entry = { org: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60', size: 3, root: new Uint8Array(32) };
  const leaves = [1, 2].map((salt) => deploymentLeaf({ ...entry, salt: new Uint8Array(32).fill(salt) }));
  expect(leaves[0]).not.toEqual(leaves[1]);
  const good = { ...entry, salt: new Uint8Array(32) };
  for (const bad of [
    { org: 'x' },
    { org: good.org.toUpperCase() },
    { size: 0 },
    { size: 0.5 },
    { salt: new Uint8Array(31) },
    { root: new Uint8Array() },
  ]) {
    expect(() => deploymentLeaf({ ...good, ...bad })).toThrow(TypeError);
  }
});

test('gives every entry a salt of its own', async () => {
  await log.checkpoint();
  const { rows } = await sql<{ salts: number; least: number }>`
    select count(distinct salt)::int as salts, min(octet_length(salt)) as least from audit.deployment_entry`.execute(
    f.superuser,
  );
  expect(rows).toEqual([{ salts: 4, least: 32 }]);
});

test.each([
  [
    'a log that is gone with all its traces',
    'the log is gone',
    `
    delete from audit.event where org_id = $org; delete from audit.seal where org_id = $org;
    delete from audit.checkpoint where org_id = $org; delete from audit.tile where org_id = $org`,
  ],
  [
    'a log that was cut',
    'the log ends at 2, its entry says 3',
    `delete from audit.seal where org_id = $org and seq > 2`,
  ],
  [
    'a checkpoint that is gone',
    'the checkpoint of 3 is gone',
    `delete from audit.checkpoint where org_id = $org`,
  ],
  [
    'a checkpoint that was replaced',
    'the checkpoint of 3 is another',
    `update audit.checkpoint set root = sha256('x') where org_id = $org`,
  ],
])('finds %s', async (_, detail, statement) => {
  const org = orgs[2] as OrgId;
  await log.checkpoint();
  await f.tamper((trx) => sql.raw(statement.replaceAll('$org', `'${org}'`)).execute(trx));
  expect(await log.verify()).toEqual({ ok: false, size: 4, findings: [{ org, detail }] });
});

test.each([
  ['taken out', `delete from audit.deployment_entry where place = 2`],
  ['changed', `update audit.deployment_entry set salt = sha256('x') where place = 2`],
  [
    'renumbered after one was taken out',
    `delete from audit.deployment_entry where place = 2;
      update audit.deployment_entry set place = 2 where place = 3`,
  ],
  ['cut off', `delete from audit.deployment_entry where place > 1`],
])('finds entries that were %s, and proves nothing from them', async (_, statement) => {
  await log.checkpoint();
  const { rows } = await sql<{ org: OrgId }>`
    select org_id::text as org from audit.deployment_entry where place = 2`.execute(f.superuser);
  await f.tamper((trx) => sql.raw(statement).execute(trx));
  const { ok, findings } = await log.verify();
  expect([ok, findings[0]?.org]).toEqual([false, null]);
  const code = expect.stringMatching(/^audit\.(no_checkpoint|history_changed)$/);
  expect(await errorOf(log.proveOrg(rows[0]?.org as OrgId))).toMatchObject({ code });
});

test('a checkpoint that is not the signed one gets no entry, and holds up nobody', async () => {
  const org = orgs[1] as OrgId;
  await f.tamper((trx) =>
    sql`update audit.checkpoint set root = sha256('x') where org_id = ${org}`.execute(trx),
  );
  expect(await log.checkpoint()).toMatchObject({ checkpoint: { size: 3 }, refused: [org] });
});

test('signs nothing when its own log was set back', async () => {
  await log.checkpoint();
  await f.tamper((trx) =>
    sql
      .raw(`delete from audit.checkpoint where org_id = '00000000-0000-0000-0000-000000000000';
      delete from audit.tile where org_id = '00000000-0000-0000-0000-000000000000';
      delete from audit.deployment_entry`)
      .execute(trx),
  );
  expect(await errorOf(log.checkpoint())).toMatchObject({ code: 'audit.history_changed' });
  expect(await f.another().checkpoint(orgs[0] as OrgId)).toMatchObject({ size: 1 });
});

test('processes that sign it at the same time sign one root for each size', async () => {
  const texts: string[] = [];
  const spy = {
    ...f.signer,
    sign: (bytes: Uint8Array) => {
      texts.push(new TextDecoder().decode(bytes));
      return f.signer.sign(bytes);
    },
  };
  const another = () => createDeploymentLog({ db: f.signing, signer: spy, origin: ORIGIN });
  for (let round = 0; round < 4; round++) {
    for (const org of orgs) {
      await f.grow(org, 1);
      await f.checkpointer.checkpoint(org);
    }
    await Promise.all([another(), another(), another()].map((one) => one.checkpoint()));
  }
  const roots = new Map<string, Set<string>>();
  for (const text of texts) {
    const [, size = '', root = ''] = text.split('\n');
    roots.set(size, (roots.get(size) ?? new Set()).add(root));
  }
  expect([...roots.values()].filter((found) => found.size > 1)).toEqual([]);
  expect(await log.verify()).toMatchObject({ ok: true, size: 16 });
});

test('a signer that fails after the entries are stored signs the same root later', async () => {
  const texts: string[] = [];
  const sign = (bytes: Uint8Array) => {
    texts.push(new TextDecoder().decode(bytes));
    return Promise.reject(new Error('down'));
  };
  const failing = createDeploymentLog({ db: f.signing, signer: { ...f.signer, sign }, origin: ORIGIN });
  expect(await errorOf(failing.checkpoint())).toMatchObject({ code: 'audit.signer_failed' });
  const { checkpoint } = await log.checkpoint();
  expect(checkpoint?.note.startsWith(texts[0] ?? '-')).toBe(true);
});

test('is signed by the run of the checkpointer', async () => {
  const stop = new AbortController();
  const signed = new Promise<number | undefined>((resolve) => {
    const deployment = {
      checkpoint: async () => {
        const found = await log.checkpoint();
        resolve(found.checkpoint?.size);
        return found;
      },
      cosign: async () => {
        stop.abort();
        return await log.cosign();
      },
    };
    const options = { everyEvents: 1, signal: stop.signal, deployment, onError: () => {} };
    void f.checkpointer.run(options);
  });
  expect(await signed).toBe(4);
});
