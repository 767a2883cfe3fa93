/** What code inside of a break-glass session could do to the record of it. */
import { sql, type Transaction } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { breakGlass } from '../src/break-glass/index.ts';
import {
  type BreakGlassFixture,
  breakGlassFixture,
  idOf,
  recordInto,
  type Tables,
} from './break-glass-fixture.ts';
import { codeOf, ORG_A } from './fixture.ts';

let f: BreakGlassFixture;
beforeAll(async () => {
  f = await breakGlassFixture(inject('databaseUrl'));
});
afterAll(() => f.close());

const titles = (db: Transaction<Tables>) => db.selectFrom('app.note').select('title').execute();
const closing = async (token: string) => (await f.trail(idOf(token)))[1]?.record;

describe('the record of a session', () => {
  test('counts a statement that failed: its error can tell rows', async () => {
    const token = f.token();
    const told = f.sessions.session(token, (db) =>
      sql`select string_agg(title, ',')::int from app.note`.execute(db),
    );
    await expect(told).rejects.toThrow(`note of ${ORG_A}`);
    expect(await closing(token)).toMatchObject({ outcome: 'failed', statements: 1 });
  });

  test('counts every statement: a text with two of them is refused', async () => {
    const token = f.token({ mode: 'write' });
    const two = sql.raw(`insert into app.folder values ('${ORG_A}', gen_random_uuid(), 'x'); select 1`);
    expect(await codeOf(f.sessions.session(token, (db) => two.execute(db)))).toBe('42601');
    expect(await closing(token)).toMatchObject({ outcome: 'failed', statements: 1 });
  });

  test('says who and why as the database verified it, whatever the callback does to what it was given', async () => {
    const token = f.token();
    await f.sessions.session(token, async (_, grant) => {
      const writable = grant as { -readonly [K in keyof typeof grant]: (typeof grant)[K] };
      writable.expiresAt.setTime(0);
      writable.actor = 'operator:ada';
      writable.reason = 'nothing to see';
    });
    const { event: _, ...opened } = (await f.trail(idOf(token)))[0]?.record ?? {};
    expect(await closing(token)).toMatchObject(opened);
  });

  test.each(['read', 'write'] as const)(
    'has what the callback of a %s session did not wait for',
    async (mode) => {
      const token = f.token({ mode });
      let started: Promise<unknown> | undefined;
      await f.sessions.session(token, async (db) => {
        started = titles(db);
      });
      expect(await started).toHaveLength(1);
      expect(await closing(token)).toMatchObject({ statements: 1, rows: 1 });
    },
  );

  test('comes last: the handle of the callback does nothing while it is written', async () => {
    const token = f.token({ mode: 'write' });
    let late: Promise<unknown> | undefined;
    let kept: Transaction<Tables> | undefined;
    const record: typeof recordInto = async (trx, record) => {
      if (kept !== undefined) late = titles(kept).catch((error: unknown) => error);
      await recordInto(trx, record);
    };
    await breakGlass<Tables>({ pool: f.pool, audit: { record } }).session(token, async (db) => {
      kept = db;
    });
    expect(await late).toMatchObject({ message: expect.stringContaining('the session is over') });
    expect(await closing(token)).toMatchObject({ statements: 0, rows: 0 });
  });
});
