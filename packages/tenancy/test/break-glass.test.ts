import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import {
  breakGlass,
  breakGlassPolicies,
  createBreakGlassIssuer,
  revokeBreakGlass,
} from '../src/break-glass/index.ts';
import { isBreakGlassPolicy } from '../src/break-glass/policy-shape.ts';
import { readCatalog } from '../src/catalog/read-catalog.ts';
import { installBreakGlassKey } from '../src/migrations/index.ts';
import {
  type BreakGlassFixture,
  breakGlassFixture,
  idOf,
  REQUEST,
  recordInto,
  type Tables,
} from './break-glass-fixture.ts';
import { codeOf, ORG_A, ORG_B } from './fixture.ts';

let f: BreakGlassFixture;
beforeAll(async () => {
  f = await breakGlassFixture(inject('databaseUrl'));
});
afterAll(() => f.close());

const folders = (token: string) =>
  f.sessions.session(token, (db) => db.selectFrom('app.folder').selectAll().execute());
const FOLDER_OF_A = { org_id: ORG_A, id: ORG_A, name: `folder of ${ORG_A}` };

describe('a session', () => {
  test('sees the rows of its organisation and no other, in every org-owned table', async () => {
    const seen = await f.sessions.session(f.token(), async (db) => [
      await db.selectFrom('app.folder').select('org_id').execute(),
      await db.selectFrom('app.note').select('org_id').execute(),
      await db.selectFrom('app.setting').select('org_id').where('org_id', 'in', [ORG_A, ORG_B]).execute(),
    ]);
    expect(seen).toEqual(Array.from({ length: 3 }, () => [{ org_id: ORG_A }]));
  });

  test('is on record before its first statement, and afterwards with what it did', async () => {
    const token = f.token();
    const during = await f.sessions.session(token, async (db, grant) => {
      await db.selectFrom('app.folder').selectAll().execute();
      await db.selectFrom('app.note').selectAll().where('org_id', '=', ORG_B).execute();
      return { grant, trail: await f.trail(grant.tokenId) };
    });
    const { lifetimeMs, ...asked } = REQUEST;
    expect(during.grant).toMatchObject({ ...asked, mode: 'read', tokenId: idOf(token) });
    expect(+during.grant.expiresAt - +during.grant.issuedAt).toBe(lifetimeMs);
    expect(during.trail).toMatchObject([
      { org: ORG_A, actor: 'operator:grace', record: { ...asked, event: 'opened' } },
    ]);
    expect((await f.trail(idOf(token)))[1]).toMatchObject({
      record: { ...asked, event: 'closed', outcome: 'completed', statements: 2, rows: 1 },
    });
  });

  test('that throws on purpose after reading stays on record', async () => {
    const token = f.token();
    const run = f.sessions.session(token, async (db) => {
      await db.selectFrom('app.folder').selectAll().execute();
      throw new RangeError('nothing happened here');
    });
    await expect(run).rejects.toThrow(RangeError);
    expect((await f.trail(idOf(token))).map(({ record }) => record)).toMatchObject([
      { event: 'opened' },
      { event: 'closed', outcome: 'failed', statements: 1, rows: 1 },
    ]);
    expect(await codeOf(folders(token))).toBe('tenancy.break_glass_used');
  });

  test('of which the audit port fails sees nothing, and its token is not used up', async () => {
    let ran = false;
    const unaudited = breakGlass<Tables>({
      pool: f.pool,
      audit: { record: () => Promise.reject(new RangeError('the log is full')) },
    });
    const token = f.token();
    const run = unaudited.session(token, async () => {
      ran = true;
    });
    await expect(run).rejects.toThrow(RangeError);
    expect(ran).toBe(false);
    expect(await folders(token)).toEqual([FOLDER_OF_A]);
  });

  test('of which the audit port swallowed the failure of its own statement sees nothing', async () => {
    let ran = false;
    const swallowing = breakGlass<Tables>({
      pool: f.pool,
      audit: {
        record: async (trx) => {
          await sql`select * from ops.no_such_table`.execute(trx).catch(() => {});
        },
      },
    });
    const run = swallowing.session(f.token(), async () => {
      ran = true;
    });
    await expect(run).rejects.toThrow();
    expect(ran).toBe(false);
  });

  test('whose end cannot be recorded fails, and names the token to revoke', async () => {
    const forgetful = breakGlass<Tables>({
      pool: f.pool,
      audit: {
        record: async (trx, record) => {
          if (record.event === 'closed') throw new RangeError('the log is full');
          await recordInto(trx, record);
        },
      },
    });
    const token = f.token();
    const read = forgetful.session(token, (db) => db.selectFrom('app.folder').selectAll().execute());
    await expect(read).rejects.toMatchObject({
      code: 'tenancy.break_glass_close_failed',
      message: expect.stringContaining(idOf(token)),
    });
    const write = forgetful.session(f.token({ mode: 'write' }), (db) =>
      db.insertInto('app.folder').values({ org_id: ORG_A, id: ORG_B, name: 'unrecorded' }).execute(),
    );
    expect(await codeOf(write)).toBe('tenancy.break_glass_close_failed');
    const left = await sql`select from app.folder where name = 'unrecorded'`.execute(f.golden.superuser);
    expect(left.rows).toEqual([]);
  });

  test('is closed in the database when it ends, whichever way', async () => {
    const tokens = [f.token(), f.token({ mode: 'write' }), f.token()];
    for (const [index, token] of tokens.entries()) {
      const run = f.sessions.session(token, async () => {
        if (index === 2) throw new RangeError('failed');
      });
      await run.catch(() => {});
      const read = f.raw(
        `select set_config('ringfence.break_glass', '${token}', false)`,
        'select from app.folder',
      );
      await expect(read).rejects.toMatchObject({ constraint: 'tenancy.break_glass_closed' });
    }
  });

  test('is READ COMMITTED, whatever the default of the login', async () => {
    await sql
      .raw(`alter role ${f.role} set default_transaction_isolation = 'serializable'`)
      .execute(f.golden.superuser);
    const seen = await folders(f.token()).finally(() =>
      sql.raw(`alter role ${f.role} reset all`).execute(f.golden.superuser),
    );
    expect(seen).toEqual([FOLDER_OF_A]);
  });

  test('leaves no connection behind for the next one', async () => {
    const pids: unknown[] = [];
    for (let n = 0; n < 2; n++) {
      await f.sessions.session(f.token(), async (db) => {
        const { rows } = await sql<{ pid: number }>`
          select pg_backend_pid() as pid, set_config('app.left', 'x', false)`.execute(db);
        pids.push(rows[0]?.pid);
      });
    }
    expect(new Set(pids).size).toBe(2);
    expect(f.pool.totalCount).toBe(0);
  });
});

describe('writing', () => {
  const insert = (token: string, org: string, id: string) =>
    f.sessions.session(token, (db) =>
      db.insertInto('app.folder').values({ org_id: org, id, name: id }).execute(),
    );
  const ID = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a99';

  test('with a token for reading is refused', async () => {
    const run = insert(f.token(), ORG_A, ID);
    await expect(run).rejects.toMatchObject({ code: '25006' }); // read_only_sql_transaction, the outer layer
  });

  test('with a token for writing works on a declared table, and its record commits with it', async () => {
    const token = f.token({ mode: 'write' });
    await insert(token, ORG_A, ID);
    const update = f.token({ mode: 'write' });
    await f.sessions.session(update, (db) =>
      db.updateTable('app.folder').set({ name: 'mended' }).where('id', '=', ID).execute(),
    );
    const left = await sql`select name from app.folder where id = ${ID}`.execute(f.golden.superuser);
    expect(left.rows).toEqual([{ name: 'mended' }]);
    expect((await f.trail(idOf(token))).map(({ record }) => record.event)).toEqual(['opened', 'closed']);
    const remove = f.token({ mode: 'write' });
    await f.sessions.session(remove, (db) => db.deleteFrom('app.folder').where('id', '=', ID).execute());
    expect((await sql`select from app.folder where id = ${ID}`.execute(f.golden.superuser)).rows).toEqual([]);
  });

  test('a row into another organisation is refused', async () => {
    expect(await codeOf(insert(f.token({ mode: 'write' }), ORG_B, ID))).toBe('tenancy.cross_org_write');
    const move = f.sessions.session(f.token({ mode: 'write' }), (db) =>
      db.updateTable('app.folder').set({ org_id: ORG_B }).execute(),
    );
    expect(await codeOf(move)).toBe('tenancy.cross_org_write');
  });

  test('a table that is not declared for it, or more than the app role may, is refused', async () => {
    const settings = f.sessions.session(f.token({ mode: 'write' }), (db) =>
      db.updateTable('app.setting').set({ locale: 'xx' }).execute(),
    );
    expect(await codeOf(settings)).toBe('42501');
    const readings = f.sessions.session(f.token({ mode: 'write' }), (db) =>
      sql`delete from app.reading`.execute(db),
    );
    expect(await codeOf(readings)).toBe('42501');
  });
});

describe('a token', () => {
  test.each([
    ['tenancy.break_glass_forged', 'for another organisation', (t: string) => t.replace(ORG_A, ORG_B)],
    ['tenancy.break_glass_forged', 'with another mode', (t: string) => t.replace('|read|', '|write|')],
    ['tenancy.break_glass_forged', 'with another actor', (t: string) => t.replace('grace', 'eve')],
    ['tenancy.break_glass_forged', 'without a mac', (t: string) => t.slice(0, -64)],
    ['tenancy.break_glass_forged', 'that names an unknown key', (t: string) => t.replace('|bg1|', '|bg2|')],
    ['tenancy.break_glass_forged', 'that is empty', () => ''],
  ])('altered is refused as %s: %s', async (code, _, alter) => {
    const altered = alter(f.token());
    expect(await codeOf(folders(altered))).toBe(code);
  });

  test('opens once', async () => {
    const token = f.token();
    expect(await folders(token)).toEqual([FOLDER_OF_A]);
    expect(await codeOf(folders(token))).toBe('tenancy.break_glass_used');
  });

  test('opens for one of two that try at once', async () => {
    const token = f.token();
    const tries = await Promise.allSettled([folders(token), folders(token)]);
    const failed = tries.filter((each) => each.status === 'rejected');
    expect(failed.map(({ reason }) => reason.code)).toEqual(['tenancy.break_glass_used']);
  });

  test('that has expired is refused', async () => {
    const past = createBreakGlassIssuer({ key: f.key, now: () => Date.now() - 600_001 });
    expect(await codeOf(folders(past.issue(REQUEST).token))).toBe('tenancy.break_glass_expired');
  });

  test('issued in the future is refused: it would live longer than its life', async () => {
    const ahead = createBreakGlassIssuer({ key: f.key, now: () => Date.now() + 120_000 });
    expect(await codeOf(folders(ahead.issue(REQUEST).token))).toBe('tenancy.break_glass_invalid');
  });

  test('that is revoked is refused before its opening, and in the statement after its revocation', async () => {
    const unopened = f.token();
    await revokeBreakGlass(f.owner, idOf(unopened));
    expect(await codeOf(folders(unopened))).toBe('tenancy.break_glass_revoked');

    const open = f.token();
    const seen: unknown[] = [];
    const run = f.sessions.session(open, async (db) => {
      seen.push(await db.selectFrom('app.folder').selectAll().execute());
      await revokeBreakGlass(f.owner, idOf(open));
      await revokeBreakGlass(f.owner, idOf(open));
      seen.push(await db.selectFrom('app.folder').selectAll().execute());
    });
    expect(await codeOf(run)).toBe('tenancy.break_glass_revoked');
    expect(seen).toEqual([[FOLDER_OF_A]]);
    expect((await f.trail(idOf(open))).map(({ record }) => record.event)).toEqual(['opened', 'closed']);
  });

  test('expires while its session is open, by the clock of the database', async () => {
    const token = f.token();
    const run = f.sessions.session(token, async (db) => {
      await sql`update tenancy.break_glass_use set expires_at = clock_timestamp() - interval '1 millisecond'
        where token_id = ${idOf(token)}`.execute(f.owner);
      await db.selectFrom('app.folder').selectAll().execute();
    });
    expect(await codeOf(run)).toBe('tenancy.break_glass_expired');
  });

  test.each([
    ['actor', { actor: 'Grace Hopper' }],
    ['actor', { actor: 'a|b' }],
    ['approvedBy', { approvedBy: 'operator:grace' }],
    ['approvedBy', { approvedBy: '' }],
    ['reason', { reason: 'too short' }],
    ['reason', { reason: 'x'.repeat(501) }],
    ['reason', { reason: 'two lines\nof reason' }],
    ['reason', { reason: 'two lines\u2028of reason' }],
    ['reason', { reason: 'for \u202ereversed\u202c reading' }],
    ['reason', { reason: 'why not    ' }],
    ['reason', { reason: 'half a pair \ud800 here' }],
    ['ticket', { ticket: '' }],
    ['mode', { mode: 'admin' as 'read' }],
    ['lifetimeMs', { lifetimeMs: 3_600_001 }],
    ['lifetimeMs', { lifetimeMs: Number.NaN }],
  ])('is not issued with a bad %s: %o', (field, request) => {
    expect(() => f.token(request)).toThrow(
      expect.objectContaining({
        code: 'tenancy.break_glass_invalid',
        message: expect.stringContaining(field),
      }),
    );
  });
});

test('an issuer refuses a key or life out of bounds', async () => {
  const short = { id: 'k', secret: new Uint8Array(31) };
  expect(() => createBreakGlassIssuer({ key: short })).toThrow(TypeError);
  expect(() => createBreakGlassIssuer({ key: { ...f.key, id: 'K' } })).toThrow(TypeError);
  expect(() => createBreakGlassIssuer({ key: f.key, maxLifetimeMs: 3_600_001 })).toThrow(TypeError);
  await expect(installBreakGlassKey(f.owner, short)).rejects.toThrow(TypeError);
});

test('policies refuse the app role, and tables that are not org-owned', () => {
  const { schema } = f.golden;
  expect(() => breakGlassPolicies(schema, { role: schema.appRole })).toThrow(TypeError);
  expect(() => breakGlassPolicies(schema, { role: 'r', write: ['app.currency'] })).toThrow(TypeError);
});

test('policies have exactly the shape that stands beside the policy of the app role', async () => {
  const { policies } = await readCatalog(f.owner);
  const read = "(org_id = ( SELECT tenancy.break_glass_org('read'::text) AS break_glass_org))";
  const write = read.replace('read', 'write');
  const shape = (name: string, command: string, using: string | null, check: string | null) => ({
    relation: 'app.folder',
    name,
    permissive: true,
    command,
    roles: [f.role],
    using,
    check,
  });
  const ours = policies.filter(({ relation, roles }) => relation === 'app.folder' && roles.includes(f.role));
  expect(ours).toEqual([
    shape('ringfence_break_glass', 'select', read, null),
    shape('ringfence_break_glass_delete', 'delete', write, null),
    shape('ringfence_break_glass_insert', 'insert', null, write),
    shape('ringfence_break_glass_update', 'update', write, write),
  ]);
  for (const policy of ours) {
    expect(isBreakGlassPolicy(policy, f.role)).toBe(true);
    for (const wider of [
      { using: 'true' },
      { using: null },
      { check: 'true' },
      { command: 'all' as const },
      { permissive: false },
      { roles: [f.role, 'public'] },
      { roles: [f.golden.schema.appRole] },
      { name: 'ringfence_org' },
    ]) {
      const changed = { ...policy, ...wider };
      const same = JSON.stringify(changed) === JSON.stringify(policy);
      expect(isBreakGlassPolicy(changed, f.role)).toBe(same);
    }
  }
  const app = policies.filter(({ relation, roles }) => relation === 'app.folder' && !roles.includes(f.role));
  expect(app.map(({ name, roles }) => [name, roles])).toEqual([['ringfence_org', [f.golden.schema.appRole]]]);
  const others = policies.filter(
    ({ relation, roles }) => relation !== 'app.folder' && roles.includes(f.role),
  );
  expect(others.map(({ relation, name }) => `${relation} ${name}`)).toEqual([
    'app.note ringfence_break_glass',
    'app.reading ringfence_break_glass',
    'app.reading ringfence_break_glass_insert',
    'app.setting ringfence_break_glass',
  ]);
});
