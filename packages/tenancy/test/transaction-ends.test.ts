/** What a transaction of an organisation's handle says of its own begin, end and queued statements. */
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { atCommit, createTenancy, type OrgDb } from '../src/index.ts';
import { ALICE, BIGINT_UNPARSABLE, codeOf, type Fixture, fixture, ORG_A, type Tables } from './fixture.ts';

let f: Fixture;
let a: OrgDb<Tables>;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), { poolSize: 1 });
});
afterAll(() => f.close());
beforeEach(() => {
  a = f.tenancy.forOrg(ORG_A, ALICE);
});

describe('a transaction', () => {
  test('whose first statement cannot be sent still begins with the second', async () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    const run = a.transaction().execute(async (trx) => {
      await sql`select ${circular}::jsonb`.execute(trx).catch(() => {});
      await trx.insertInto('app.tag').values({ org_id: ORG_A, id: 'ghost', label: 'x' }).execute();
      throw new Error('rolled back');
    });
    await expect(run).rejects.toThrow('rolled back');
    expect(await a.selectFrom('app.tag').select('id').where('id', '=', 'ghost').execute()).toEqual([]);
  });

  test('takes no statement once it is ending', async () => {
    let late: Promise<unknown> = Promise.resolve();
    await a.transaction().execute(async (trx) => {
      await trx.selectFrom('app.note').select('id').execute();
      setImmediate(() => {
        late = atCommit(trx, sql`select 1`.compile(a)).catch((error: Error) => error);
      });
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(await late).toBeInstanceOf(Error);
  });

  test('that has committed says so, also when a row of what was queued for COMMIT cannot be read', async () => {
    const pool = new pg.Pool({ connectionString: f.database.appUrl, max: 1, types: BIGINT_UNPARSABLE });
    const handle = createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_A, ALICE);
    const queued = await handle.transaction().execute(async (trx) => {
      await trx.insertInto('app.tag').values({ org_id: ORG_A, id: 'committed', label: 'x' }).execute();
      return await atCommit(trx, sql`select 1::int8 as n`.compile(handle));
    });
    await expect(queued.result).rejects.toThrow(/type parser/);
    const { rows } = await sql`select id from app.tag where id = ${'committed'}`.execute(handle);
    expect(rows).toEqual([{ id: 'committed' }]);
    await pool.end();
  });

  test('drops what was queued for COMMIT behind a savepoint it rolls back to', async () => {
    const insert = (id: string) =>
      a.insertInto('app.tag').values({ org_id: ORG_A, id, label: 'queued' }).compile();
    const trx = await a.startTransaction().execute();
    await atCommit(trx, insert('kept'));
    const after = await trx.savepoint('s').execute();
    const dropped = await atCommit(after, insert('dropped'));
    await after.rollbackToSavepoint('s').execute();
    await trx.commit().execute();
    expect(await codeOf(dropped.result)).toBe('tenancy.transaction_aborted');
    expect(await a.selectFrom('app.tag').select('id').where('label', '=', 'queued').execute()).toEqual([
      { id: 'kept' },
    ]);
  });
});
