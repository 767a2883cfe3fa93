/** Much that is unsigned is signed in steps: each checkpoint, and the memory for it, is bounded. */
import { type CompiledQuery, type QueryResult, sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import type { CheckpointDatabase } from '../src/checkpoint/database.ts';
import { createCheckpointer, type Signer } from '../src/checkpoint/index.ts';
import type { OrgId, QueryExecutor } from '../src/index.ts';
import { openCheckpoint } from '../src/verify/checkpoint.ts';
import { verifyConsistency } from '../src/verify/merkle-proof.ts';
import { type CheckpointFixture, checkpointFixture, ORIGIN } from './checkpoint-fixture.ts';

let f: CheckpointFixture;

beforeAll(async () => {
  f = await checkpointFixture(inject('databaseUrl'));
});
afterAll(() => f.close());

/** The signed trees of a log, in order of size. */
async function trees(org: OrgId): Promise<{ readonly size: number; readonly root: Uint8Array }[]> {
  const { rows } = await sql<{ size: string; root: Uint8Array }>`
    select size, root from audit.checkpoint where org_id = ${org} order by size`.execute(f.superuser);
  return rows.map(({ size, root }) => ({ size: Number(size), root }));
}

const sizes = async (org: OrgId) => (await trees(org)).map(({ size }) => size);

/** The database, and the longest that one statement carried either way: characters sent, rows received. */
function measured(): { readonly db: CheckpointDatabase; readonly most: { sent: number; received: number } } {
  const most = { sent: 0, received: 0 };
  const watch = (executor: QueryExecutor): QueryExecutor => ({
    isTransaction: executor.isTransaction,
    executeQuery: async <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> => {
      most.sent = Math.max(most.sent, JSON.stringify(query.parameters).length);
      const result = await executor.executeQuery(query);
      most.received = Math.max(most.received, result.rows.length);
      return result;
    },
  });
  const db: CheckpointDatabase = {
    ...watch(f.signing),
    transaction: () => ({
      setIsolationLevel: (level) => ({
        execute: (run) =>
          f.signing
            .transaction()
            .setIsolationLevel(level)
            .execute((trx) => run(watch(trx))),
      }),
    }),
  };
  return { db, most };
}

test('eleven hundred events are signed a hundred at a time, and no statement grows with what is unsigned', async () => {
  const org = await f.org(1_130);
  const { db, most } = measured();
  const checkpointer = createCheckpointer({ db, signer: f.signer, origin: ORIGIN, maxEvents: 100 });
  const last = await checkpointer.checkpoint(org);
  expect(last?.size).toBe(1_130);
  expect(await sizes(org)).toEqual([...Array.from({ length: 11 }, (_, n) => (n + 1) * 100), 1_130]);
  // A hundred hashes of 64 digits, and what stands around them; all at once would be eleven times that.
  expect(most.sent).toBeLessThan(100 * 64 + 2_000);
  expect(most.received).toBeLessThanOrEqual(100);
  const trust = { origin: `${ORIGIN}/${org}`, keys: [f.key] };
  expect(await openCheckpoint(last?.note ?? '', trust)).toMatchObject({
    ok: true,
    checkpoint: { size: 1_130 },
  });
  const proof = await checkpointer.proveGrowth(org, 300);
  const oldRoot = (await trees(org)).find(({ size }) => size === 300)?.root ?? new Uint8Array();
  const root = last?.root ?? new Uint8Array();
  expect(verifyConsistency({ oldSize: 300, oldRoot, size: 1_130, root, proof })).toBe(true);
});

test('a step that fails leaves the steps before it signed, and the next call goes on from there', async () => {
  const org = await f.org(50);
  let signatures = 0;
  const tired: Signer = {
    ...f.signer,
    name: f.signer.name,
    publicKey: f.signer.publicKey,
    sign: async (message) => {
      signatures += 1;
      if (signatures === 3) throw new Error('the key service is down');
      return await f.signer.sign(message);
    },
  };
  const checkpointer = f.another({ signer: tired, maxEvents: 20 });
  await expect(checkpointer.checkpoint(org)).rejects.toMatchObject({ code: 'audit.signer_failed' });
  expect(await sizes(org)).toEqual([20, 40]);
  expect((await checkpointer.checkpoint(org))?.size).toBe(50);
});

test('a log that grows while it is signed does not keep the call for ever', async () => {
  const org = await f.org(30);
  const growing: Signer = {
    ...f.signer,
    name: f.signer.name,
    publicKey: f.signer.publicKey,
    sign: async (message) => {
      await f.grow(org, 10);
      return await f.signer.sign(message);
    },
  };
  const last = await f.another({ signer: growing, maxEvents: 10 }).checkpoint(org);
  expect(last?.size).toBe(30);
});

test('the run ends between two steps of one log', async () => {
  const org = await f.org(40);
  const stop = new AbortController();
  const stopping: Signer = {
    ...f.signer,
    name: f.signer.name,
    publicKey: f.signer.publicKey,
    sign: async (message) => {
      if (new TextDecoder().decode(message).startsWith(`${ORIGIN}/${org}\n`)) stop.abort();
      return await f.signer.sign(message);
    },
  };
  const checkpointer = f.another({ signer: stopping, maxEvents: 10 });
  await checkpointer.run({ everyEvents: 1, signal: stop.signal, onError: () => {} });
  expect(await sizes(org)).toEqual([10]);
});

test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])(
  '%d events a checkpoint is refused',
  (maxEvents) => {
    expect(() => f.another({ maxEvents })).toThrow(TypeError);
  },
);
