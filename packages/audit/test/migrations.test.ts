/** Roles, ownership and the context functions of another package. */
import { atCommit, createTenancy } from '@ringfence/tenancy';
import { tenancyMigrations } from '@ringfence/tenancy/migrations';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import { createAudit, RingfenceAuditError } from '../src/index.ts';
import { auditMigrations } from '../src/migrations.ts';
import { errorOf, events, kyselyOf, ORG_A, ORG_B, type Tables } from './fixture.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'audit_roles');
});

afterAll(() => database.drop());

const CONTEXT = 'tenancy.context()';

test('takes who acts from the tenancy handle, and seals in the flight of COMMIT', async () => {
  const suffix = database.app.slice(4);
  const [schemaOwner, auditor] = [`schema_${suffix}`, `auditor_${suffix}`];
  const superuser = kyselyOf<Tables>(database.superuserUrl, 1);
  const owner = kyselyOf<Tables>(database.ownerUrl, 1);
  await sql
    .raw(
      `create role ${schemaOwner} nologin; create role ${auditor} nologin; grant ${schemaOwner} to ${database.owner}`,
    )
    .execute(superuser);
  for (const { up } of tenancyMigrations({ appRole: database.app, signedContext: false })) {
    await sql.raw(up).execute(owner);
  }
  await sql
    .raw(
      `grant usage on schema tenancy to ${schemaOwner}; grant execute on all functions in schema tenancy to ${schemaOwner}`,
    )
    .execute(owner);
  const options = { appRole: database.app, ownerRole: schemaOwner, auditorRole: auditor, context: CONTEXT };
  await owner.transaction().execute(async (trx) => {
    for (const { up } of auditMigrations(options)) await sql.raw(up).execute(trx);
    const { rows } = await sql`select current_user as name`.execute(trx);
    expect(rows).toEqual([{ name: database.owner }]);
  });

  const pool = new pg.Pool({ connectionString: database.appUrl, max: 4 });
  pool.on('error', () => {});
  const sealing = kyselyOf<Tables>(database.appUrl, 1);
  const audit = createAudit({ events, db: sealing });
  const db = createTenancy<Tables>({ pool }).forOrg(ORG_A, { actor: 'user:alice', requestId: 'r-1' });
  for (const orgSeq of [1, 2, 3]) {
    const receipt = audit.prepare('entry.approved', { target: 'e1', outcome: 'success' });
    const queued = await db.transaction().execute(async (trx) => {
      await sql`select 1`.execute(trx);
      return await atCommit(trx, receipt.query);
    });
    expect(await audit.sealed(receipt, await queued.result)).toMatchObject({ orgSeq, id: receipt.id });
  }
  expect(await audit.record(db, 'login.succeeded', { outcome: 'success' })).toMatchObject({ orgSeq: 4 });
  expect((await audit.stats()).sealCalls).toBe(1); // the first event had no head to seal on
  expect(await audit.verify(db, ORG_A)).toMatchObject({ ok: true, checked: 4 });
  expect(await errorOf(audit.verify(sealing, ORG_A))).toMatchObject({
    code: '42501',
    constraint: 'tenancy.no_context',
  });
  const { rows } = await sql`select actor, canon::jsonb ->> 'request' as request from audit.event`.execute(
    db,
  );
  expect(rows).toEqual(Array.from({ length: 4 }, () => ({ actor: 'user:alice', request: 'r-1' })));

  await superuser.transaction().execute(async (trx) => {
    await sql.raw(`set local role ${auditor}`).execute(trx);
    expect(await audit.verify(trx, ORG_A)).toMatchObject({ ok: true, checked: 4 });
    expect(await audit.verify(trx, ORG_B)).toMatchObject({ ok: true, checked: 0 });
  });
  const append = superuser.transaction().execute(async (trx) => {
    await sql.raw(`set local role ${auditor}`).execute(trx);
    await sql`select * from audit.append(gen_random_uuid(), '{"type":"a.b"}', true)`.execute(trx);
  });
  expect(await errorOf(append)).toMatchObject({ code: '42501' });
  const { rows: owners } =
    await sql`select distinct tableowner as name from pg_tables where schemaname = 'audit'`.execute(
      superuser,
    );
  expect(owners).toEqual([{ name: schemaOwner }]);

  await Promise.all([pool.end(), sealing.destroy(), owner.destroy()]);
  await sql
    .raw(
      `drop schema audit cascade; drop owned by ${schemaOwner}; drop role ${schemaOwner}; drop role ${auditor}`,
    )
    .execute(superuser);
  await superuser.destroy();
});

test.each([
  { appRole: 'app; drop table x' },
  { appRole: 'App' },
  { appRole: 'app', ownerRole: 'a"b' },
  { appRole: 'app', auditorRole: '' },
  ...[
    'context()',
    'tenancy.context',
    'tenancy.context(1)',
    'a.b()) or (true',
    'a.b()--',
    'a.b() ',
    'A.b()',
    'a.b.c()',
  ].map((context) => ({ appRole: 'app', context })),
])('makes no DDL from %j', (options) => {
  expect(() => auditMigrations(options)).toThrow(RingfenceAuditError);
});

test.each([
  { appRole: 'a', ownerRole: 'a' },
  ...(['auditorRole', 'checkpointerRole', 'copierRole'] as const).flatMap((role) => [
    { appRole: 'a', [role]: 'a' },
    { appRole: 'a', ownerRole: 'b', [role]: 'b' },
    { appRole: 'a', retention: { role: 'b', afterDays: 1 }, [role]: 'b' },
  ]),
  { appRole: 'a', retention: { role: 'a', afterDays: 1 } },
  { appRole: 'a', ownerRole: 'b', retention: { role: 'b', afterDays: 1 } },
])('makes no DDL in which app, owner or who prunes is somebody else too: %j', (options) => {
  expect(() => auditMigrations(options)).toThrow(
    /^the roles of app, owner and retention are for nothing else/,
  );
});

test('one process may sign, copy and audit', () => {
  const roles = { auditorRole: 'c', checkpointerRole: 'c', copierRole: 'c' };
  expect(auditMigrations({ appRole: 'a', ownerRole: 'b', ...roles })).toHaveLength(1);
});

test('a process that records loads no migrations', async () => {
  const main: Record<string, unknown> = await import('../src/index.ts');
  expect(Object.keys(main).filter((name) => /migration/i.test(name))).toEqual([]);
});

test('refuses a database in another encoding than UTF-8, in which names would have another order', async () => {
  const superuser = kyselyOf<Tables>(database.superuserUrl, 1);
  // The other's client cannot even send the script: it has a character that LATIN1 does not.
  for (const [encoding, code] of [
    ['SQL_ASCII', '0A000'],
    ['LATIN1', '22P05'],
  ] as const) {
    const name = `${new URL(database.ownerUrl).pathname.slice(1)}_${encoding.toLowerCase()}`;
    await sql
      .raw(
        `create database ${name} owner ${database.owner} encoding '${encoding}' locale 'C' template template0`,
      )
      .execute(superuser);
    const url = new URL(database.ownerUrl);
    url.pathname = `/${name}`;
    const owner = kyselyOf<Tables>(url.href, 1);
    try {
      const [migration] = auditMigrations({ appRole: database.app });
      const up = sql.raw(migration?.up ?? '');
      expect(await errorOf(owner.transaction().execute((trx) => up.execute(trx)))).toMatchObject({ code });
    } finally {
      await owner.destroy();
      await sql.raw(`drop database ${name}`).execute(superuser);
    }
  }
  await superuser.destroy();
});
