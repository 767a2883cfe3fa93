/** The processes of the audit trail: killed in the middle of what they do, ended, started wrongly. */
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { NORTHWIND } from '../src/provision.ts';
import { type TrailFixture, type TrailProcess, trailFixture } from './trail-fixture.ts';

let f: TrailFixture;
beforeAll(async () => {
  f = await trailFixture(inject('databaseUrl'));
});
afterAll(async () => {
  await f?.close();
});

const WAITS = `select pid from pg_stat_activity
  where usename = $1 and wait_event_type = 'Lock' and datname = current_database()`;

/** Resolves when a session of the checkpointer waits for a lock, inside its transaction. */
async function waitsForLock(): Promise<void> {
  for (;;) {
    await f.superuser.query('select pg_stat_clear_snapshot()'); // a transaction sees the activity of its beginning
    const { rowCount } = await f.superuser.query(WAITS, [f.database.checkpointer]);
    if (rowCount === 1) return;
  }
}

const signedSizes = async (): Promise<number[]> =>
  (
    await f.superuser.query('select size from audit.checkpoint where org_id = $1 order by size', [
      NORTHWIND.id,
    ])
  ).rows.map(({ size }) => Number(size));

async function everythingSigned(signing: TrailProcess): Promise<void> {
  const length = await f.length();
  while ((await signedSizes()).at(-1) !== length) await signing.next('signed');
}

test('killed while it signs: the next one signs everything, once', { timeout: 120_000 }, async () => {
  await f.record(3);
  for (const table of ['audit.tile', 'audit.checkpoint']) {
    const before = await signedSizes();
    await f.superuser.query('begin');
    await f.superuser.query(`lock table ${table} in share row exclusive mode`);
    const killed = f.start('sign', f.signing);
    await waitsForLock();
    await killed.end('SIGKILL');
    await f.superuser.query('commit');
    expect(await signedSizes()).toEqual(before);
    await f.record(2);
  }
  const signing = f.start('sign', f.signing);
  await everythingSigned(signing);
  expect(await signing.end('SIGTERM')).toBe(0);
});

test('killed while it copies, before and after the store applied a write: nothing is lost, nothing is there twice', {
  timeout: 240_000,
}, async () => {
  await f.record(2);
  const signing = f.start('sign', f.signing);
  await signing.next('signed', ({ org }) => org === NORTHWIND.id);
  const env = { ...f.copying, COPY_TO: 's3://audit-copy/killed' };
  const killed = new Set<string>();
  let copying: TrailProcess;
  f.s3.conditional = false; // a second version would lie on top
  f.s3.fault = ({ operation, key }, apply) => {
    if (operation !== 'put' || killed.has(key) || !key.includes(NORTHWIND.id)) return false;
    killed.add(key);
    if (killed.size % 2 === 0) apply();
    copying.child.kill('SIGKILL');
    return true;
  };
  while (killed.size < 4) {
    copying = f.start('copy', env);
    await expect(copying.next('never')).rejects.toThrow('it ended');
    expect(copying.child.signalCode).toBe('SIGKILL');
    await f.record(1); // the app goes on
  }
  f.s3.fault = undefined;
  await everythingSigned(signing);
  expect(await signing.end('SIGTERM')).toBe(0);
  const length = await f.length();
  copying = f.start('copy', env);
  await copying.next('copied', ({ org, size }) => org === NORTHWIND.id && size === length);
  expect(await copying.end('SIGTERM')).toBe(0);
  const versions = [...f.s3.objects]
    .filter(([key]) => key.startsWith('killed/'))
    .map(([, all]) => all.length);
  expect(new Set(versions)).toEqual(new Set([1]));
  expect(await f.verify(f.bucket('killed'))).toMatchObject({
    ...{ ok: true, findings: [], links: length, signed: length },
  });
});

test('SIGTERM ends it with exit code 0 behind its last step, also while the store says nothing', {
  timeout: 120_000,
}, async () => {
  await f.record(1);
  const signing = f.start('sign', f.signing);
  await signing.next('signed', ({ org }) => org === NORTHWIND.id);
  expect(await signing.end('SIGTERM')).toBe(0);
  await signing.next('ended');
  let asked = () => {};
  const listening = new Promise<void>((resolve) => {
    asked = resolve;
  });
  f.s3.fault = ({ response }) => {
    asked();
    f.s3.fault = undefined;
    // The answer comes when the process has been told to end.
    copying.child.kill('SIGTERM');
    setImmediate(() => response.writeHead(503).end());
    return true;
  };
  const copying = f.start('copy', { ...f.copying, COPY_TO: 's3://audit-copy/ended' });
  await listening;
  await copying.next('ended');
  expect(await copying.ended()).toBe(0);
  expect([...f.s3.objects.keys()].filter((key) => key.startsWith('ended/'))).toEqual([]);
});

test('a process says what a watch needs: lag, backlog and unsealed age, as numbers', {
  timeout: 120_000,
}, async () => {
  const [signing, copying] = [f.start('sign', f.signing), f.start('copy', f.copying)];
  const { at: _, duty: __, line: ___, ...signed } = await signing.next('lag');
  expect(Object.keys(signed).sort()).toEqual(['events', 'oldestMs', 'orgs']);
  const { at: ____, duty: _____, line: ______, ...copied } = await copying.next('lag');
  expect(Object.keys(copied).sort()).toEqual(
    ['checkpoints', 'events', 'oldestMs', 'orgs', 'unsealedEvents', 'unsealedMs'].sort(),
  );
  for (const value of [...Object.values(signed), ...Object.values(copied)])
    expect(value).toBeTypeOf('number');
  expect(await Promise.all([signing.end('SIGTERM'), copying.end('SIGTERM')])).toEqual([0, 0]);
});

test('history that was rewritten under it is an alarm at once, and nothing of it is signed', {
  timeout: 120_000,
}, async () => {
  const signing = f.start('sign', f.signing);
  await f.record(1);
  await signing.next('signed', ({ org }) => org === NORTHWIND.id);
  const sizes = await signedSizes();
  await f.superuser.query(`
    begin; alter table audit.seal disable trigger user;
    update audit.seal set hash = sha256('another') where org_id = '${NORTHWIND.id}'
       and seq = (select max(size) from audit.checkpoint where org_id = '${NORTHWIND.id}');
    alter table audit.seal enable always trigger refuse_row_change;
    alter table audit.seal enable always trigger refuse_change; commit`);
  await f.record(1);
  const alarm = await signing.next('alarm');
  expect(alarm).toMatchObject({ what: 'audit.history_changed', org: NORTHWIND.id });
  expect(await signedSizes()).toEqual(sizes);
  await signing.end('SIGTERM');
});

test('a process with wrong settings does not start: exit code 2', async () => {
  const started = f.start('', f.signing);
  await expect(started.next('started')).rejects.toThrow('it ended');
  expect([started.child.exitCode, started.stderr()]).toEqual([2, 'audit-trail: the duty is sign or copy\n']);
});
