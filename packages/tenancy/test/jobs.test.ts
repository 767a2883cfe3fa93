import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import type { OrgDb } from '../src/index.ts';
import { createJobs, type JobContext, type SealedJob } from '../src/jobs/index.ts';
import { codeOf, ORG_A, ORG_B, type Tables } from './fixture.ts';
import { BOB, type JobsFixture, jobsFixture, newKey, type Queues } from './jobs-fixture.ts';

let f: JobsFixture;
beforeAll(async () => {
  f = await jobsFixture(inject('databaseUrl'));
});
afterAll(() => f.close());
beforeEach(() => {
  f.refused.length = 0;
  f.clock.skewMs = 0;
});

type Context = JobContext<Queues['note.add'], Tables, undefined, 'note.add'>;

const seal = (org = ORG_A, lifetimeMs?: number): SealedJob =>
  f.jobs.seal('note.add', {
    org,
    principal: BOB,
    payload: { id: randomUUID(), body: 'by a job' },
    ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
  });

/** A worker that notes what it ran. */
function noting(options = {}) {
  const ran: Context[] = [];
  const worker = f.jobs.worker(
    'note.add',
    async (context) => {
      ran.push(context);
    },
    options,
  );
  return { ran, run: worker.run };
}

describe('a job', () => {
  test('runs for its organisation, on behalf of who enqueued it', async () => {
    const sealed = seal(ORG_B);
    let seen: unknown;
    const worker = f.jobs.worker('note.add', async ({ db, payload, job, storage }) => {
      await db
        .insertInto('app.note')
        .values({ org_id: undefined, ...payload })
        .execute();
      const { rows } = await sql`
        select org_id, actor, kind, request_id from tenancy.context()`.execute(db);
      seen = rows;
      expect(job).toMatchObject({ id: sealed.id, org: ORG_B, queue: 'note.add', principal: BOB });
      expect(job.expiresAtMs - job.issuedAtMs).toBe(7 * 86_400_000);
      expect(storage).toBeUndefined();
    });
    expect(await worker.run(sealed)).toBeUndefined();
    expect(seen).toEqual([{ org_id: ORG_B, actor: 'user:bob', kind: 'approver', request_id: 'req-7' }]);
    expect(f.refused).toEqual([]);
  });

  test('sees no row of another organisation, and cannot write one', async () => {
    const worker = f.jobs.worker('note.add', async ({ db, payload }) => {
      expect(await db.selectFrom('app.note').select('org_id').where('org_id', '=', ORG_B).execute()).toEqual(
        [],
      );
      await db
        .insertInto('app.note')
        .values({ org_id: ORG_B, ...payload })
        .execute();
    });
    expect(await codeOf(worker.run(seal(ORG_A)))).toBe('tenancy.cross_org_write');
  });

  test('gets nothing but handles, the payload and itself', async () => {
    const { ran, run } = noting();
    await run(seal());
    expect(Object.keys(ran[0] ?? {}).sort()).toEqual(['db', 'job', 'once', 'payload', 'storage']);
  });

  test('leaves a handle behind that does nothing any more, whether it returned or threw', async () => {
    for (const fails of [false, true]) {
      let kept: OrgDb<Tables> | undefined;
      let once: Context['once'] | undefined;
      const worker = f.jobs.worker('note.add', async (context) => {
        kept = context.db;
        once = context.once;
        if (fails) throw new Error('handler failed');
      });
      await worker.run(seal()).catch(() => {});
      const late = kept as OrgDb<Tables>;
      await expect(late.selectFrom('app.note').selectAll().execute()).rejects.toThrow(/destroyed/);
      await expect(
        late
          .withSchema('app')
          .transaction()
          .execute(async () => 1),
      ).rejects.toThrow(/destroyed/);
      await expect(once?.(async () => 1)).rejects.toThrow(/destroyed/);
    }
  });

  test('gets the storage handle of its organisation', async () => {
    const jobs = createJobs<Queues, Tables, { prefix: string }>({
      tenancy: f.tenancy,
      keys: [f.key],
      signingKeyId: f.key.id,
      onRefused: () => {},
      storage: { forOrg: (org) => ({ prefix: `${org}/` }) },
    });
    let prefix = '';
    const worker = jobs.worker('note.add', async ({ storage }) => {
      prefix = storage.prefix;
    });
    await worker.run(seal(ORG_B));
    expect(prefix).toBe(`${ORG_B}/`);
  });
});

describe('a delivered job is refused, reported, and its handler does not run', () => {
  const edit = (sealed: SealedJob, from: string, to: string) => ({
    id: sealed.id,
    data: { ...sealed.data, envelope: sealed.data.envelope.replace(from, to) },
  });

  test.each<
    [string, string, boolean, (sealed: SealedJob) => { id: string | null | undefined; data: unknown }]
  >([
    ['without data', 'envelope_missing', false, ({ id }) => ({ id, data: null })],
    ['with data that is no object', 'envelope_missing', false, ({ id }) => ({ id, data: 'x' })],
    [
      'whose envelope was stripped',
      'envelope_missing',
      false,
      ({ id, data }) => ({ id, data: { payload: data.payload } }),
    ],
    [
      'whose envelope is null',
      'malformed',
      false,
      ({ id, data }) => ({ id, data: { ...data, envelope: null } }),
    ],
    ['without payload', 'malformed', false, ({ id, data }) => ({ id, data: { envelope: data.envelope } })],
    [
      'with a payload that is parsed already',
      'malformed',
      false,
      ({ id, data }) => ({ id, data: { ...data, payload: JSON.parse(data.payload) } }),
    ],
    ['with a member beside', 'malformed', false, ({ id, data }) => ({ id, data: { ...data, org: ORG_B } })],
    ['whose envelope is cut', 'malformed', false, (sealed) => edit(sealed, '|approver', '')],
    ['of another version', 'unsupported_version', false, (sealed) => edit(sealed, 'rfjob1', 'rfjob2')],
    ['under an unknown key', 'unknown_key', false, (sealed) => edit(sealed, '|j1|', '|j0|')],
    ['moved to another organisation', 'altered', false, (sealed) => edit(sealed, ORG_A, ORG_B)],
    ['renamed to another queue', 'altered', false, (sealed) => edit(sealed, 'note.add', 'note.drop')],
    ['acting as someone else', 'altered', false, (sealed) => edit(sealed, 'user:bob', 'user:eve')],
    [
      'with another payload',
      'altered',
      false,
      ({ id, data }) => ({ id, data: { ...data, payload: data.payload.replace('by a job', 'by eve') } }),
    ],
    [
      'with the payload of a second job',
      'altered',
      false,
      ({ id, data }) => ({ id, data: { ...data, payload: seal().data.payload } }),
    ],
    ['under another id', 'wrong_id', true, ({ data }) => ({ id: randomUUID(), data })],
    ['without an id', 'wrong_id', true, ({ data }) => ({ id: undefined, data })],
    ['with the data of a second job', 'wrong_id', true, ({ id }) => ({ id, data: seal().data })],
    [
      'too large',
      'payload_too_large',
      false,
      ({ id, data }) => ({ id, data: { ...data, payload: JSON.stringify('x'.repeat(262_144)) } }),
    ],
  ])('%s', async (_, code, authentic, attack) => {
    const { ran, run } = noting();
    const delivered = attack(seal());
    const refusal = await run(delivered);
    expect(refusal?.code).toBe(`tenancy.job_${code}`);
    expect(ran).toEqual([]);
    expect(f.refused).toEqual([
      {
        code: `tenancy.job_${code}`,
        queue: 'note.add',
        jobId: delivered.id ?? undefined,
        ...(authentic ? { org: ORG_A } : {}),
      },
    ]);
  });

  test('sealed for another queue', async () => {
    const ran: string[] = [];
    const worker = f.jobs.worker('note.drop', async ({ job }) => {
      ran.push(job.id);
    });
    expect((await worker.run(seal()))?.code).toBe('tenancy.job_wrong_queue');
    expect(ran).toEqual([]);
  });

  test('of another organisation than the one the worker is bound to', async () => {
    const { ran, run } = noting({ org: ORG_A });
    expect((await run(seal(ORG_B)))?.code).toBe('tenancy.job_wrong_org');
    expect(f.refused).toMatchObject([{ org: ORG_B }]);
    expect(await run(seal(ORG_A))).toBeUndefined();
    expect(ran.map(({ job }) => job.org)).toEqual([ORG_A]);
  });

  test('expired, at the very millisecond', async () => {
    let nowMs = 1_800_000_000_000;
    const jobs = createJobs<Queues, Tables>({
      tenancy: f.tenancy,
      keys: [f.key],
      signingKeyId: f.key.id,
      onRefused: () => {},
      now: () => nowMs,
    });
    const sealed = jobs.seal('note.add', {
      org: ORG_A,
      principal: BOB,
      payload: { id: 'x', body: '' },
      lifetimeMs: 1000,
    });
    const worker = jobs.worker('note.add', async () => {});
    nowMs += 1000;
    expect((await worker.run(sealed))?.code).toBe('tenancy.job_expired');
    nowMs = Number.NaN;
    expect((await worker.run(sealed))?.code).toBe('tenancy.job_expired');
    nowMs = 1_800_000_000_999;
    expect(await worker.run(sealed)).toBeUndefined();
  });

  test('sealed by a clock more than 60 s ahead, or by one set back since', async () => {
    let nowMs = 1_800_000_000_000;
    const jobs = createJobs<Queues, Tables>({
      tenancy: f.tenancy,
      keys: [f.key],
      signingKeyId: f.key.id,
      onRefused: () => {},
      now: () => nowMs,
    });
    const sealed = jobs.seal('note.add', { org: ORG_A, principal: BOB, payload: { id: 'x', body: '' } });
    const worker = jobs.worker('note.add', async () => {});
    nowMs -= 60_001;
    expect((await worker.run(sealed))?.code).toBe('tenancy.job_not_yet_valid');
    nowMs += 1;
    expect(await worker.run(sealed)).toBeUndefined();
  });

  test('signed by a key that has been dropped; the next key is accepted while both are held', async () => {
    const next = newKey('j2');
    const during = f.jobsWith([f.key, next], 'j2');
    const after = f.jobsWith([next], 'j2');
    const old = seal();
    const request = { org: ORG_A, principal: BOB, payload: { id: 'k', body: '' } };
    const fresh = during.seal('note.add', request);
    const run = async (jobs: typeof during, sealed: SealedJob) =>
      (await jobs.worker('note.add', async () => {}).run(sealed))?.code;
    expect(await run(f.jobs, fresh)).toBe('tenancy.job_unknown_key');
    expect(await run(after, old)).toBe('tenancy.job_unknown_key');
    expect(await run(during, old)).toBeUndefined();
    expect(await run(after, fresh)).toBeUndefined();
    expect(await run(f.jobsWith([{ ...newKey('j1') }], 'j1'), seal())).toBe('tenancy.job_altered');
  });

  test('whose payload the schema of its queue refuses', async () => {
    const jobs = createJobs<Queues, Tables>({
      tenancy: f.tenancy,
      keys: [f.key],
      signingKeyId: f.key.id,
      onRefused: (refusal) => {
        f.refused.push(refusal);
      },
      schemas: {
        'note.add': {
          parse: (value) => {
            if (typeof (value as { body?: unknown }).body !== 'string') throw new Error('body is not text');
            return value as Queues['note.add'];
          },
        },
      },
    });
    const ran: string[] = [];
    const worker = jobs.worker('note.add', async ({ payload }) => {
      ran.push(payload.body);
    });
    const request = { org: ORG_A, principal: BOB, payload: { id: 'x', body: 7 as unknown as string } };
    expect((await worker.run(jobs.seal('note.add', request)))?.code).toBe('tenancy.job_invalid_payload');
    expect(f.refused).toMatchObject([{ code: 'tenancy.job_invalid_payload', org: ORG_A }]);
    expect(await worker.run(seal())).toBeUndefined();
    expect(ran).toEqual(['by a job']);
  });

  test('and delivered again when the report fails, so that no refusal goes unheard', async () => {
    const jobs = createJobs<Queues, Tables>({
      tenancy: f.tenancy,
      keys: [f.key],
      signingKeyId: f.key.id,
      onRefused: async () => {
        throw new Error('log unreachable');
      },
    });
    const run = jobs.worker('note.add', async () => {}).run({ id: 'x', data: {} });
    await expect(run).rejects.toThrow('log unreachable');
  });
});

describe('sealing refuses', () => {
  const request = { org: ORG_A, principal: BOB, payload: { id: 'x', body: '' } };

  test.each([
    ['an actor with a space', { ...request, principal: { actor: 'Bob Smith' } }],
    ['an actor with the delimiter', { ...request, principal: { actor: 'user:a|b' } }],
    ['a kind in upper case', { ...request, principal: { actor: 'a', kind: 'Admin' } }],
    ['a request id with a line break', { ...request, principal: { actor: 'a', requestId: 'x\n' } }],
  ])('%s', (_, bad) => {
    expect(() => f.jobs.seal('note.add', bad)).toThrow(
      expect.objectContaining({ code: 'tenancy.job_invalid_field' }),
    );
  });

  test('a payload of more than 262 144 bytes', () => {
    const payload = { id: 'x', body: '€'.repeat(90_000) };
    expect(() => f.jobs.seal('note.add', { ...request, payload })).toThrow(
      expect.objectContaining({ code: 'tenancy.job_payload_too_large' }),
    );
  });

  test.each([0, -1, 1.5, Number.NaN, 7_776_000_001])('a life of %d ms', (lifetimeMs) => {
    expect(() => f.jobs.seal('note.add', { ...request, lifetimeMs })).toThrow(TypeError);
    expect(() => createJobs({ ...parts(), lifetimeMs })).toThrow(TypeError);
  });

  test('a payload that has no JSON text', () => {
    const jobs = createJobs<{ q: unknown }, Tables>(parts());
    expect(() => jobs.seal('q', { ...request, payload: undefined })).toThrow(TypeError);
  });

  const parts = () => ({ tenancy: f.tenancy, keys: [f.key], signingKeyId: 'j1', onRefused: () => {} });

  test.each([
    ['an unknown signing key', (k: typeof f.key) => ({ keys: [k], signingKeyId: 'j9' })],
    ['no key at all', () => ({ keys: [], signingKeyId: 'j1' })],
    ['a short secret', () => ({ keys: [{ id: 'j1', secret: new Uint8Array(31) }], signingKeyId: 'j1' })],
    [
      'a key id with the delimiter',
      (k: typeof f.key) => ({ keys: [{ ...k, id: 'a|b' }], signingKeyId: 'a|b' }),
    ],
    ['one id for two keys', (k: typeof f.key) => ({ keys: [k, newKey('j1')], signingKeyId: 'j1' })],
  ])('%s', (_, bad) => {
    expect(() => createJobs<Queues, Tables>({ ...parts(), ...bad(f.key) })).toThrow(TypeError);
  });
});
