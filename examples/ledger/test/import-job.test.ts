import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JobRefusal } from '@ringfence/tenancy/jobs';
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { BANK_FEED, createKey, revokeKey } from '../src/api-keys.ts';
import { enqueueImport, imported, importStatement, statementLines } from '../src/bank-import.ts';
import { workImports } from '../src/import-job.ts';
import { IRONBRIDGE, newSecrets } from '../src/provision.ts';
import { STATEMENT_IMPORT } from '../src/queues.ts';
import { enterWithKey } from '../src/session.ts';
import { type Fixture, fixture } from './fixture.ts';

const secrets = newSecrets();
const forged: JobRefusal[] = [];
let f: Fixture;
/** Someone who has the password of the queue, and no key. */
let attacker: pg.Client;
let superuser: pg.Client;
/** Looks for jobs that have been active for too long, each second and not each minute. */
let supervisor: PgBoss;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { secrets, onForgedJob: (refusal) => void forged.push(refusal) });
  await f.ledger.queue.offWork(STATEMENT_IMPORT);
  attacker = new pg.Client({ connectionString: f.database.queueUrl });
  superuser = new pg.Client({ connectionString: f.database.superuserUrl });
  await Promise.all([attacker.connect(), superuser.connect()]);
  supervisor = new PgBoss({
    connectionString: f.database.queueUrl,
    max: 1,
    migrate: false,
    schedule: false,
    supervise: false,
    monitorIntervalSeconds: 1,
  });
  supervisor.on('error', () => {});
  await supervisor.start();
});
afterAll(async () => {
  await supervisor?.stop({ graceful: false });
  await Promise.all([attacker?.end(), superuser?.end()]);
  await f?.close();
});

let number = 0;
/** A statement of two lines nobody has imported yet. */
const statement = () => statementOf([`T${number++}`, `T${number++}`]);
/** A statement of the lines with these ids. */
function statementOf(ids: readonly string[]): string {
  const lines = ids.map((id) => `2026-01-05,${id},Staples,Paper,PO-1,-12.30,100.00,USD`);
  return `booking_date,bank_transaction_id,counterparty,description,reference,amount,balance,currency\n${lines.join('\n')}`;
}

const enqueue = () => enqueueImport(f.ledger, f.bookkeeper, 'a.csv', statement());
const jobOf = async (id: string): Promise<{ id: string; data: { envelope: string; payload: string } }> =>
  (await attacker.query(`select id, data from pgboss.job where data->>'payload' like '%' || $1 || '%'`, [id]))
    .rows[0];
const stateOf = async (job: string): Promise<string> =>
  (await attacker.query('select state from pgboss.job where id = $1', [job])).rows[0]?.state;
const linesOf = async (id: string): Promise<number> =>
  (await superuser.query('select from ledger.bank_line where statement_id = $1', [id])).rowCount ?? 0;
const eventsOf = async (action: string, target: string): Promise<string[]> =>
  (
    await superuser.query('select canon from audit.event where action = $1 and target = $2', [action, target])
  ).rows.map(({ canon }) => canon);

/** Runs a worker until the job is done with. */
async function worked(job: string): Promise<string> {
  await workImports(f.ledger);
  try {
    await expect.poll(() => stateOf(job), { timeout: 20_000, interval: 50 }).toMatch(/completed|failed/);
  } finally {
    await f.ledger.queue.offWork(STATEMENT_IMPORT);
  }
  return await stateOf(job);
}

describe('an import', () => {
  test('carries a key in its job; its content lies in the objects, encrypted', async () => {
    const id = await enqueue();
    const { data } = await jobOf(id);
    expect(JSON.parse(data.payload)).toEqual({
      statement: id,
      file: 'a.csv',
      objectKey: `org/${f.bookkeeper.org}/statements/${id}`,
    });
    const folder = join(f.objectsDir, 'org', f.bookkeeper.org, 'd-statements');
    expect(readdirSync(folder)).toContain(`f-${id}`);
    expect(readFileSync(join(folder, `f-${id}`)).includes('Staples')).toBe(false);
  });

  test('runs as whoever enqueued it, and its audit event names the job', async () => {
    const id = await enqueue();
    const { id: job } = await jobOf(id);
    expect(await worked(job)).toBe('completed');
    await imported(f.ledger, f.bookkeeper, id);
    expect(await statementLines(f.ledger, f.controller, id)).toHaveLength(2);
    const [event, ...more] = await eventsOf('statement.imported', `statement:${id}`);
    expect(more).toEqual([]);
    expect(JSON.parse(event ?? '')).toMatchObject({ event: { data: { job, lines: 2 } } });
    const { rows } = await superuser.query(
      "select actor from audit.event where action = 'statement.imported' and target = $1",
      [`statement:${id}`],
    );
    expect(rows).toEqual([{ actor: f.bookkeeper.actor }]);
  });

  test('is decided when it is enqueued: nothing is stored for a member who may not', async () => {
    const stored = () => readdirSync(join(f.objectsDir, 'org', f.bookkeeper.org, 'd-statements')).length;
    const before = stored();
    const run = enqueueImport(f.ledger, f.auditor, 'a.csv', statement());
    await expect(run).rejects.toMatchObject({ code: 'authz.denied' });
    expect(stored()).toBe(before);
  });

  test('is decided again when it runs, with the roles its member has then', async () => {
    const id = await enqueue();
    const { id: job } = await jobOf(id);
    const user = f.bookkeeper.actor.replace('user:', '');
    const roles = (value: string[]) =>
      superuser.query('update ledger.member set roles = $2 where user_id = $1', [user, value]);
    await roles(['auditor']);
    await worked(job);
    await roles(['bookkeeper']);
    await expect(imported(f.ledger, f.bookkeeper, id)).rejects.toMatchObject({ code: 'authz.denied' });
    expect(await linesOf(id)).toBe(0);
  });

  test('of an object that somebody swapped is not run', async () => {
    const [id, other] = [await enqueue(), await enqueue()];
    const folder = join(f.objectsDir, 'org', f.bookkeeper.org, 'd-statements');
    writeFileSync(join(folder, `f-${id}`), readFileSync(join(folder, `f-${other}`)));
    const { id: job } = await jobOf(id);
    await superuser.query('update pgboss.job set retry_limit = 0 where id = $1', [job]);
    expect(await worked(job)).toBe('failed');
    expect(await linesOf(id)).toBe(0);
  });
});

describe('whoever writes to the queue without a key', () => {
  test('cannot reach it as the app role', async () => {
    const client = new pg.Client({ connectionString: f.database.appUrl });
    await client.connect();
    await expect(client.query('select from pgboss.job')).rejects.toMatchObject({ code: '42501' });
    await client.end();
  });

  test.each<[string, string, (data: { envelope: string; payload: string }) => object]>([
    [
      "rewrites a job into the other organisation's",
      'tenancy.job_altered',
      ({ envelope, payload }) => ({ envelope: envelope.replace(f.bookkeeper.org, IRONBRIDGE.id), payload }),
    ],
    [
      'changes which object is read',
      'tenancy.job_altered',
      ({ envelope, payload }) => ({ envelope, payload: payload.replace(f.bookkeeper.org, IRONBRIDGE.id) }),
    ],
    ['strips the envelope', 'tenancy.job_envelope_missing', ({ payload }) => ({ payload })],
  ])('%s: refused for good, and reported', async (_, code, change) => {
    const id = await enqueue();
    const { id: job, data } = await jobOf(id);
    await attacker.query('update pgboss.job set data = $2 where id = $1', [job, change(data)]);
    expect(await worked(job)).toBe('failed');
    expect(forged).toContainEqual({ code, queue: STATEMENT_IMPORT, jobId: job });
    expect(await linesOf(id)).toBe(0);
  });

  test('delivers a done job again: refused, and in the audit log of its organisation', async () => {
    const id = await enqueue();
    const { id: job, data } = await jobOf(id);
    expect(await worked(job)).toBe('completed');
    await attacker.query('delete from pgboss.job where id = $1', [job]);
    await f.ledger.queue.send(STATEMENT_IMPORT, data, { id: job });
    expect(await worked(job)).toBe('failed');
    const [event] = await eventsOf('job.refused', `job:${job}`);
    expect(event).toContain('tenancy.job_replayed');
    expect(await linesOf(id)).toBe(2);
  });

  test('copies a job under another id: refused', async () => {
    const id = await enqueue();
    const copy = randomUUID();
    await f.ledger.queue.send(STATEMENT_IMPORT, (await jobOf(id)).data, { id: copy });
    expect(await worked(copy)).toBe('failed');
    expect((await eventsOf('job.refused', `job:${copy}`))[0]).toContain('tenancy.job_wrong_id');
  });
});

/** Starts a worker as a process of its own, and kills it where it stops. */
async function killedAt(at: string): Promise<void> {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  const script = fileURLToPath(new URL('./import-worker.ts', import.meta.url));
  const child = spawn(process.execPath, ['--conditions=@ringfence/source', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      AT: at,
      APP_URL: f.database.appUrl,
      KEYS_URL: f.database.keysUrl,
      QUEUE_URL: f.database.queueUrl,
      OBJECTS_DIR: f.objectsDir,
      CONTEXT_SECRET: hex(secrets.contextKey.secret),
      JOB_SECRET: hex(secrets.jobKey.secret),
      PLATFORM_KEK: hex(secrets.platformKek),
      API_KEY_PEPPER: hex(secrets.apiKeyPepper),
    },
  });
  try {
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    expect(said.toString().trim()).toBe(at);
  } finally {
    child.kill('SIGKILL');
  }
  await once(child, 'exit');
}

/** The queue delivers a job again: what it would find out by waiting, that it has been active for too long. */
async function delivered(job: string): Promise<void> {
  await superuser.query(
    "update pgboss.job set started_on = now() - interval '1 hour', retry_delay = 0 where id = $1",
    [job],
  );
  const supervised = async () => {
    await supervisor.supervise(STATEMENT_IMPORT);
    return await stateOf(job);
  };
  await expect.poll(supervised, { timeout: 20_000, interval: 100 }).toBe('retry');
}

describe('a worker that is killed', () => {
  test.each([
    ['inside its transaction', 'effect', 0],
    ['behind its commit', 'commit', 2],
  ])('%s: the statement is imported once', async (_, at, linesWhenKilled) => {
    await f.ledger.queue.deleteAllJobs(STATEMENT_IMPORT);
    const id = await enqueue();
    const { id: job } = await jobOf(id);
    await killedAt(at);
    expect(await linesOf(id)).toBe(linesWhenKilled);
    await delivered(job);
    expect(await worked(job)).toBe('completed');
    expect(await linesOf(id)).toBe(2);
    expect(await eventsOf('statement.imported', `statement:${id}`)).toHaveLength(1);
    // The mark of the job ends the second run, not the lines that are there already.
    expect(await eventsOf('statement.refused', `statement:${id}`)).toEqual([]);
  });
});

describe('a statement that has ended stays as it is, and so does the log, when a killed worker has its job delivered again', () => {
  const byKey = async () => {
    const { id: keyId, key } = await createKey(f.ledger, f.owner, BANK_FEED);
    const session = await enterWithKey(f.ledger, key.reveal());
    const id = await enqueueImport(f.ledger, session, 'a.csv', statement());
    return { id, job: (await jobOf(id)).id, revoke: () => revokeKey(f.ledger, f.owner, keyId) };
  };
  const logged = async (id: string) => {
    const events = [];
    for (const how of ['imported', 'refused'])
      for (const _ of await eventsOf(`statement.${how}`, `statement:${id}`)) events.push(how);
    return events;
  };
  beforeEach(() => f.ledger.queue.deleteAllJobs(STATEMENT_IMPORT));

  test('imported, and the key it came by was revoked in between', async () => {
    const { id, job, revoke } = await byKey();
    await killedAt('commit');
    await revoke();
    await delivered(job);
    expect(await worked(job)).toBe('completed');
    await imported(f.ledger, f.bookkeeper, id);
    expect(await logged(id)).toEqual(['imported']);
  });

  test('refused, as the key it came by was revoked', async () => {
    const { id, job, revoke } = await byKey();
    await revoke();
    await killedAt('commit');
    await delivered(job);
    expect(await worked(job)).toBe('completed');
    expect(await logged(id)).toEqual(['refused']);
    expect(await linesOf(id)).toBe(0);
  });
});

describe('a statement of more lines than one SQL statement takes, 1,000,', () => {
  const LINES = 2_003;
  const ids = (prefix: string) => Array.from({ length: LINES }, (_, at) => `${prefix}-${at}`);
  const LONG = { timeout: 60_000 };
  beforeAll(async () => await workImports(f.ledger));
  afterAll(async () => await f.ledger.queue.offWork(STATEMENT_IMPORT));

  test('is imported whole, in the order of the file, with one event', LONG, async () => {
    const whole = ids('W');
    const id = await enqueueImport(f.ledger, f.bookkeeper, 'whole.csv', statementOf(whole));
    await imported(f.ledger, f.bookkeeper, id, 50_000);
    const lines = await statementLines(f.ledger, f.bookkeeper, id);
    expect(lines.map((line) => line.bankTransactionId)).toEqual(whole);
    const [event, ...more] = await eventsOf('statement.imported', `statement:${id}`);
    expect(more).toEqual([]);
    expect(JSON.parse(event ?? '').event.data).toMatchObject({ lines: LINES });
  });

  test.each([
    ['the first line', 0],
    ['the last line before the border', 999],
    ['the first line behind it', 1_000],
    ['the last line of all', LINES - 1],
  ])('is refused whole when %s was imported before', LONG, async (_, at) => {
    await importStatement(f.ledger, f.bookkeeper, 'before.csv', statementOf([`B-${at}`]));
    const mixed = ids(`M${at}`).with(at, `B-${at}`);
    const id = await enqueueImport(f.ledger, f.bookkeeper, 'mixed.csv', statementOf(mixed));
    await expect(imported(f.ledger, f.bookkeeper, id, 50_000)).rejects.toMatchObject({
      code: 'ledger.statement_already_imported',
    });
    expect(await linesOf(id)).toBe(0);
    const { rows } = await superuser.query(
      'select from ledger.bank_line where bank_transaction_id = any($1)',
      [mixed.filter((line) => line !== `B-${at}`)],
    );
    expect(rows).toEqual([]);
    expect(await eventsOf('statement.refused', `statement:${id}`)).toHaveLength(1);
    expect(await eventsOf('statement.imported', `statement:${id}`)).toEqual([]);
  });

  test('is refused whole when the same line stands on both sides of the border', LONG, async () => {
    const twice = ids('T2').with(1_000, 'T2-999');
    const id = await enqueueImport(f.ledger, f.bookkeeper, 'twice.csv', statementOf(twice));
    await expect(imported(f.ledger, f.bookkeeper, id, 50_000)).rejects.toMatchObject({
      code: 'ledger.statement_already_imported',
    });
    expect(await linesOf(id)).toBe(0);
  });
});

test('an organisation that hands in many statements holds up no other', async () => {
  await f.ledger.queue.deleteAllJobs(STATEMENT_IMPORT);
  const ids: string[] = [];
  for (let n = 0; n < 4; n += 1) ids.push(await enqueue());
  const other = await f.enter(IRONBRIDGE.bookkeeper, {}, IRONBRIDGE);
  const theirs = await enqueueImport(f.ledger, other, 'a.csv', statement());
  await superuser.query('begin');
  await superuser.query('select from ledger.statement where id = any($1) for update', [ids]); // none of them ends
  try {
    await workImports(f.ledger);
    await imported(f.ledger, other, theirs, 20_000);
  } finally {
    await superuser.query('rollback');
  }
  for (const id of ids) await imported(f.ledger, f.bookkeeper, id);
  await f.ledger.queue.offWork(STATEMENT_IMPORT);
});

test('a statement of an earlier file is refused as a whole, and its row says why', async () => {
  await workImports(f.ledger);
  const csv = statement();
  await importStatement(f.ledger, f.bookkeeper, 'a.csv', csv);
  const again = importStatement(f.ledger, f.bookkeeper, 'b.csv', csv);
  await expect(again).rejects.toMatchObject({ code: 'ledger.statement_already_imported' });
  await f.ledger.queue.offWork(STATEMENT_IMPORT);
});
