/** Checkpoints of real chains: signed, proven, refused after tampering, made once. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { localSigner, type Signer, verifierKeyOf } from '../src/checkpoint/index.ts';
import { openCheckpoint } from '../src/verify/checkpoint.ts';
import { verifyConsistency, verifyInclusion } from '../src/verify/merkle-proof.ts';
import { type CheckpointFixture, checkpointFixture, ORIGIN } from './checkpoint-fixture.ts';
import { errorOf } from './fixture.ts';

let f: CheckpointFixture;

beforeAll(async () => {
  f = await checkpointFixture(inject('databaseUrl'));
});

afterAll(() => f.close());

const trust = (org: string) => ({ origin: `${ORIGIN}/${org}`, keys: [f.key] });

async function opened(note: string, org: string) {
  const found = await openCheckpoint(note, trust(org));
  if (!found.ok) throw new Error(found.reason);
  return found.checkpoint;
}

async function count(table: string, org: string): Promise<number> {
  const { rows } = await sql<{ n: number }>`
    select count(*)::int as n from ${sql.raw(`audit.${table}`)} where org_id = ${org}`.execute(f.superuser);
  return rows[0]?.n ?? 0;
}

test('signs what is sealed, and proves every event and all growth against the note alone', async () => {
  const org = await f.org(3);
  const first = await f.checkpointer.checkpoint(org);
  await f.grow(org, 300);
  const second = await f.checkpointer.checkpoint(org);
  const old = await opened(first?.note ?? '', org);
  const now = await opened(second?.note ?? '', org);
  expect([old.size, now.size]).toEqual([3, 303]);
  const proof = await f.checkpointer.proveGrowth(org, 3);
  expect(verifyConsistency({ oldSize: 3, oldRoot: old.root, size: 303, root: now.root, proof })).toBe(true);
  const { rows } = await sql<{ seq: string; leaf: Uint8Array }>`
    select s.seq, e.leaf from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
     where s.org_id = ${org} order by s.seq`.execute(f.superuser);
  for (const { seq, leaf } of rows) {
    const { index, size, proof, note } = await f.checkpointer.proveEvent(org, Number(seq));
    const { root } = await opened(note, org);
    expect(verifyInclusion({ leaf: Uint8Array.from(leaf), index, size, root, proof })).toBe(true);
  }
  expect(await errorOf(f.checkpointer.proveEvent(org, 304))).toMatchObject({ code: 'audit.no_checkpoint' });
  expect(await errorOf(f.checkpointer.proveGrowth(org, 304))).toMatchObject({ code: 'audit.no_checkpoint' });
});

test('does nothing when nothing is new, and has nothing to sign for an organisation without events', async () => {
  const org = await f.org(2);
  const first = await f.checkpointer.checkpoint(org);
  const again = await f.another().checkpoint(org);
  expect(again?.note).toBe(first?.note);
  expect(await count('checkpoint', org)).toBe(1);
  expect(await f.checkpointer.checkpoint(await f.org(0))).toBeUndefined();
});

test('goes on from its tiles over many checkpoints of odd sizes, storing each hash once', async () => {
  const org = await f.org(1);
  for (const more of [1, 253, 1, 1, 255, 2]) {
    await f.checkpointer.checkpoint(org);
    await f.grow(org, more);
  }
  const last = await f.another().checkpoint(org);
  expect(last?.size).toBe(514);
  const { rows } = await sql<{ level: number; hashes: number }>`
    select level, sum(octet_length(data) / 32)::int as hashes from audit.tile where org_id = ${org}
     group by level order by level`.execute(f.superuser);
  expect(rows).toEqual([
    { level: 0, hashes: 514 },
    { level: 1, hashes: 2 },
  ]);
});

test.each([
  ['the end of the chain is cut off', `delete from audit.seal where org_id = $org and seq > 3`],
  ['the whole chain is gone', `delete from audit.seal where org_id = $org`],
  ['a link is replaced', `update audit.seal set hash = sha256('x') where org_id = $org and seq = 5`],
  ['a later link is replaced', `update audit.seal set hash = sha256('x') where org_id = $org and seq = 7`],
  [
    'a later event is missing',
    `delete from audit.event where org_id = $org and id in
      (select event_id from audit.seal where org_id = $org and seq = 6)`,
  ],
  [
    'a later event has another leaf',
    `alter table audit.event drop constraint if exists event_leaf;
      update audit.event set leaf = sha256('x') where org_id = $org and id in
      (select event_id from audit.seal where org_id = $org and seq = 6)`,
  ],
  ['a later place is missing', `delete from audit.seal where org_id = $org and seq = 6`],
  [
    'a tile is changed',
    `update audit.tile set data = set_byte(data, 40, get_byte(data, 40) # 1) where org_id = $org`,
  ],
  ['a tile is gone', `delete from audit.tile where org_id = $org`],
  ['the stored root is replaced', `update audit.checkpoint set root = sha256('x') where org_id = $org`],
  ['the stored size is replaced', `update audit.checkpoint set size = 4 where org_id = $org`],
  [
    'the note is replaced',
    `update audit.checkpoint set note = replace(note, E'\\n5\\n', E'\\n4\\n') where org_id = $org`,
  ],
])('signs nothing when %s', async (_, statement) => {
  const org = await f.org(5);
  await f.checkpointer.checkpoint(org);
  await f.grow(org, 3);
  await f.tamper((trx) => sql.raw(statement.replaceAll('$org', `'${org}'`)).execute(trx));
  const before = await count('checkpoint', org);
  expect(await errorOf(f.another().checkpoint(org))).toMatchObject({ code: 'audit.history_changed' });
  expect(await count('checkpoint', org)).toBe(before);
});

test('says where a chain that was cut ends', async () => {
  const org = await f.org(5);
  await f.checkpointer.checkpoint(org);
  await f.tamper((trx) => sql`delete from audit.seal where org_id = ${org} and seq > 3`.execute(trx));
  expect(await errorOf(f.another().checkpoint(org))).toMatchObject({
    code: 'audit.history_changed',
    message: expect.stringContaining('the chain ends at 3, before the checkpoint of 5'),
  });
});

test('signs nothing when its last checkpoint was taken away or replaced by an older one', async () => {
  const org = await f.org(5);
  await f.checkpointer.checkpoint(org);
  await f.grow(org, 2);
  await f.checkpointer.checkpoint(org);
  await f.tamper((trx) =>
    sql
      .raw(`delete from audit.checkpoint where org_id = '${org}' and size = 7;
            delete from audit.tile where org_id = '${org}' and start = 5`)
      .execute(trx),
  );
  expect(await errorOf(f.checkpointer.checkpoint(org))).toMatchObject({ code: 'audit.history_changed' });
});

test('does not take a checkpoint of another organisation or another key for its own', async () => {
  const [org, other] = [await f.org(4), await f.org(4)];
  await f.checkpointer.checkpoint(org);
  await f.checkpointer.checkpoint(other);
  await f.tamper((trx) =>
    sql
      .raw(`delete from audit.checkpoint where org_id = '${org}'; delete from audit.tile where org_id = '${org}';
        insert into audit.checkpoint select '${org}', size, root, link, note from audit.checkpoint where org_id = '${other}';
        insert into audit.tile select '${org}', level, index, start, data from audit.tile where org_id = '${other}'`)
      .execute(trx),
  );
  expect(await errorOf(f.another().checkpoint(org))).toMatchObject({
    code: 'audit.history_changed',
    message: expect.stringContaining('other_origin'),
  });
  const stranger = localSigner({ name: ORIGIN, privateKey: generateKeyPairSync('ed25519').privateKey });
  expect(await errorOf(f.another({ signer: stranger }).checkpoint(other))).toMatchObject({
    code: 'audit.history_changed',
    message: expect.stringContaining('unsigned'),
  });
  await f.grow(other, 1);
  const rotated = f.another({ signer: stranger, formerKeys: [verifierKeyOf(f.signer)] });
  expect((await rotated.checkpoint(other))?.size).toBe(5);
});

test('never signs two roots for a size, nor twice, when several processes sign one log', async () => {
  const org = await f.org(4);
  const texts: string[] = [];
  const spy: Signer = {
    ...f.signer,
    sign: (bytes) => {
      texts.push(new TextDecoder().decode(bytes));
      return f.signer.sign(bytes);
    },
  };
  for (let round = 0; round < 6; round++) {
    const processes = Array.from({ length: 4 }, () => f.another({ signer: spy }).checkpoint(org));
    const [first, ...others] = await Promise.all([...processes, f.grow(org, 7).then(() => undefined)]);
    for (const other of others) {
      if (other?.size === first?.size) expect(other?.note).toBe(first?.note);
    }
  }
  const last = await f.checkpointer.checkpoint(org);
  expect(last?.size).toBe(46);
  expect(new Set(texts.map((text) => text.split('\n')[1])).size).toBe(texts.length);
});

test('leaves a state to go on from when the process is killed before its note is stored', async () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  const signer = localSigner({ name: ORIGIN, privateKey });
  const org = await f.org(5);
  await f.another({ signer }).checkpoint(org);
  await f.grow(org, 2);
  const child = fileURLToPath(new URL('checkpoint-crash-child.ts', import.meta.url));
  const signal = await new Promise((done) => {
    const args = ['--conditions=@ringfence/source', child, f.database.keysUrl, org, pem];
    execFile(process.execPath, args, (error) => done(error?.signal));
  });
  expect(signal).toBe('SIGKILL');
  expect(await count('checkpoint', org)).toBe(1);
  expect((await f.another({ signer }).checkpoint(org))?.size).toBe(7);
});

test('stores nothing when the signer fails or signs with another key', async () => {
  const org = await f.org(3);
  const stranger = localSigner({ name: ORIGIN, privateKey: generateKeyPairSync('ed25519').privateKey });
  const signers: Signer['sign'][] = [
    () => Promise.reject(new Error('KMS is down')),
    () => Promise.resolve(new Uint8Array(64)),
    () => Promise.resolve(new Uint8Array(3)),
    stranger.sign,
  ];
  for (const sign of signers) {
    const failing = f.another({ signer: { ...f.signer, sign } });
    expect(await errorOf(failing.checkpoint(org))).toMatchObject({ code: 'audit.signer_failed' });
  }
  expect([await count('checkpoint', org), await count('tile', org)]).toEqual([0, 0]);
});

test('does not hand out a proof that changed tiles give', async () => {
  const org = await f.org(6);
  await f.checkpointer.checkpoint(org);
  await f.tamper((trx) =>
    sql
      .raw(`update audit.tile set data = set_byte(data, 40, get_byte(data, 40) # 1) where org_id = '${org}'`)
      .execute(trx),
  );
  expect(await errorOf(f.checkpointer.proveEvent(org, 2))).toMatchObject({ code: 'audit.history_changed' });
  expect(await errorOf(f.checkpointer.proveGrowth(org, 3))).toMatchObject({ code: 'audit.history_changed' });
});

test('tells how far signing is behind, and signs what is due until it is told to stop', async () => {
  const org = await f.org(3);
  expect(await f.checkpointer.lag()).toMatchObject({
    orgs: expect.any(Number),
    oldestMs: expect.any(Number),
  });
  const stop = new AbortController();
  const errors: unknown[] = [];
  await f.another().run({
    everyEvents: 3,
    everyMs: 3_600_000,
    signal: stop.signal,
    onError: (error) => errors.push(error),
    onSigned: (signed) => {
      if (signed === org) stop.abort();
    },
  });
  expect((await f.checkpointer.newest(org))?.size).toBe(3);
  expect(stop.signal.aborted).toBe(true);
});

test('signs what is due when nobody asks to hear of it', async () => {
  const org = await f.org(2);
  const stop = new AbortController();
  const failures: unknown[] = [];
  const running = f.another().run({
    everyEvents: 1,
    everyMs: 3_600_000,
    signal: stop.signal,
    onError: (error) => failures.push(error),
  });
  while ((await f.checkpointer.newest(org)) === undefined);
  stop.abort();
  await running;
  expect((await f.checkpointer.newest(org))?.size).toBe(2);
});

test.each([
  `select canon from audit.event`,
  `select actor from audit.event`,
  `select from audit.queue`,
  `update audit.checkpoint set size = size + 1`,
  `delete from audit.checkpoint`,
  `truncate audit.tile`,
  `delete from audit.cosignature where false`,
  `insert into audit.seal (org_id, seq, event_id, hash) values (gen_random_uuid(), 1, gen_random_uuid(), sha256('x'))`,
  `select * from audit.seal_pending('{}', '{}')`,
  `select audit.seal_next(0)`,
  `select * from audit.append(gen_random_uuid(), '{}', true)`,
])('refuses the checkpointer: %s', async (statement) => {
  expect(await errorOf(sql.raw(statement).execute(f.signing))).toMatchObject({ code: '42501' });
});

test.each(['checkpoint', 'tile', 'cosignature', 'deployment_entry'])(
  'lets nobody change audit.%s, and the app read its own organisation only',
  async (table) => {
    const [org, other] = [await f.org(2), await f.org(2)];
    await f.checkpointer.checkpoint(org);
    await f.checkpointer.checkpoint(other);
    for (const statement of [
      `update audit.${table} set size = 1`,
      `delete from audit.${table}`,
      `truncate audit.${table}`,
    ]) {
      const refused = statement.replace('set size', table === 'tile' ? 'set start' : 'set size');
      expect(await errorOf(sql.raw(refused).execute(f.owner))).toMatchObject({ code: '42501' });
      expect(await errorOf(sql.raw(refused).execute(f.superuser))).toMatchObject({ code: '42501' });
      expect(await errorOf(f.inOrg(org, (trx) => sql.raw(refused).execute(trx)))).toMatchObject({
        code: '42501',
      });
    }
    const insert = `insert into audit.${table} select * from audit.${table}`;
    expect(await errorOf(f.inOrg(org, (trx) => sql.raw(insert).execute(trx)))).toMatchObject({
      code: '42501',
    });
    const { rows } = await f.inOrg(org, (trx) =>
      sql<{ org: string }>`select distinct org_id::text as org from ${sql.raw(`audit.${table}`)}`.execute(
        trx,
      ),
    );
    expect(rows.filter((row) => row.org !== org)).toEqual([]);
  },
);
