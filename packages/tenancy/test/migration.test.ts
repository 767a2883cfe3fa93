import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { expect, inject, test } from 'vitest';
import { applyMigration, type MigrationStep, migrationSteps, readCatalog } from '../src/policies/index.ts';
import { ALICE, codeOf, ORG_A, ORG_B } from './fixture.ts';
import { BACKFILL, type Shop, shop, TABLES } from './migration-setup.ts';
import { summary } from './policies-setup.ts';

async function onShop(rows: number, run: (stage: Shop) => Promise<void>): Promise<void> {
  const stage = await shop(inject('databaseUrl'), rows);
  try {
    await run(stage);
  } finally {
    await stage.close();
  }
}

test('a schema in use becomes the declared one', () =>
  onShop(50, async ({ owner, schema }) => {
    const ran: MigrationStep[] = [];
    const left = await applyMigration(owner, schema, {
      backfill: BACKFILL,
      onStep: (step) => {
        ran.push(step);
      },
    });
    expect(left).toEqual([]);
    expect(
      ran
        .map(({ lock }) => lock)
        .filter(({ mode, duration }) => mode.endsWith(' EXCLUSIVE') && duration === 'scan')
        .map(({ mode }) => mode),
    ).toEqual(ran.filter(({ lock }) => lock.duration === 'scan').map(() => 'SHARE UPDATE EXCLUSIVE'));
    // Guarded last, and those that others point to behind them.
    const guards = ran.filter(({ phase }) => phase === 'guard').map(({ relation }) => relation);
    expect(guards.filter((one) => TABLES.includes(one as never))).toEqual([...TABLES]);
    expect(migrationSteps(schema, await readCatalog(owner))).toEqual([]);
  }));

test('the lock a step states is the strongest it takes', () =>
  onShop(5, async ({ owner, schema }) => {
    const steps = migrationSteps(schema, await readCatalog(owner), { backfill: BACKFILL });
    const strength = [
      'ACCESS SHARE',
      'ROW SHARE',
      'ROW EXCLUSIVE',
      'SHARE UPDATE EXCLUSIVE',
      'SHARE',
      'SHARE ROW EXCLUSIVE',
      'EXCLUSIVE',
      'ACCESS EXCLUSIVE',
    ];
    let compared = 0;
    for (const step of steps) {
      if (step.transaction === 'none') {
        await sql.raw(step.sql).execute(owner);
        continue;
      }
      await owner.transaction().execute(async (trx) => {
        await sql.raw(step.sql).execute(trx);
        const { rows } = await sql<{
          mode: string;
        }>`select distinct mode from pg_locks l join pg_class c on c.oid = l.relation
          join pg_namespace n on n.oid = c.relnamespace where pid = pg_backend_pid() and locktype = 'relation' and n.nspname = 'shop' and c.relkind = 'r'`.execute(
          trx,
        );
        const taken = rows.map(({ mode }) =>
          mode
            .replace('Lock', '')
            .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
            .toUpperCase(),
        );
        const strongest = taken.sort((a, b) => strength.indexOf(b) - strength.indexOf(a))[0] ?? 'none';
        expect(`${step.why}: ${strongest}`).toBe(`${step.why}: ${step.lock.mode}`);
        compared += 1;
      });
    }
    expect(compared).toBeGreaterThan(20);
  }));

test('rows written all the while are there in the end, each in its organisation', () =>
  onShop(20_000, async ({ owner, schema, legacy, tenancy, folders }) => {
    const written: { id: string; org: string }[] = [];
    let migrating = true;
    let refused = 0;
    const writer = async (org: typeof ORG_A) => {
      for (let place = 100_000; migrating || place < 100_020; place += 1) {
        const [id, folder] = [randomUUID(), folders[org] ?? ''];
        try {
          await legacy.query(
            "insert into shop.note (id, folder_id, place, slug, currency) values ($1, $2, $3, $4, 'EUR')",
            [id, folder, place, `${org}-${place}`],
          );
        } catch (error) {
          // Once guarded, the table takes rows through handles only.
          expect((error as { code?: unknown }).code).toBe('42501');
          refused += 1;
          await sql`insert into shop.note (id, folder_id, place, slug, currency)
            values (${id}, ${folder}, ${place}, ${`${org}-${place}`}, 'EUR')`.execute(
            tenancy.forOrg(org, ALICE),
          );
        }
        written.push({ id, org });
      }
    };
    const writers = [writer(ORG_A), writer(ORG_B)];
    expect(await applyMigration(owner, schema, { backfill: BACKFILL })).toEqual([]);
    migrating = false;
    await Promise.all(writers);
    expect(refused).toBeGreaterThan(0);
    for (const org of [ORG_A, ORG_B]) {
      const { rows } = await sql<{
        id: string;
      }>`select id from shop.note where place >= 100000 order by id`.execute(tenancy.forOrg(org, ALICE));
      const mine = written.filter((one) => one.org === org).map(({ id }) => id);
      expect(rows.map(({ id }) => id)).toEqual(mine.sort());
      const { rows: all } = await sql<{
        n: number;
      }>`select count(*)::int as n from shop.note where place < 100000`.execute(tenancy.forOrg(org, ALICE));
      expect(all).toEqual([{ n: 20_000 }]);
    }
  }));

test('rows that break a key stop it with the cause, and it goes on once they are mended', () =>
  onShop(5, async ({ owner, schema }) => {
    await sql.raw('update shop.note set place = 1').execute(owner);
    const run = () => applyMigration(owner, schema, { backfill: BACKFILL });
    const error = await run().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'tenancy.migration_failed', cause: { code: '23505' } });
    const invalid = (await readCatalog(owner)).indexes.filter(({ valid }) => !valid);
    expect(invalid.map(({ name }) => name)).toEqual(['note_org_id_folder_id_place_ringfence']);
    await sql
      .raw(
        'with numbered as (select id, row_number() over () as n from shop.note) update shop.note t set place = n from numbered where numbered.id = t.id',
      )
      .execute(owner);
    expect(await run()).toEqual([]);
  }));

test('a row that points into another organisation stops it, and is named by PostgreSQL only', () =>
  onShop(2, async ({ owner, schema, folders }) => {
    await sql`insert into shop.folder values (${randomUUID()}, ${ORG_A}, ${folders[ORG_B]}, '/crossing')`.execute(
      owner,
    );
    const error = await applyMigration(owner, schema, { backfill: BACKFILL }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'tenancy.migration_failed', cause: { code: '23503' } });
    expect(String(error)).not.toContain(ORG_B);
  }));

test('a row whose organisation the expression does not know stops it before anything is guarded', () =>
  onShop(2, async ({ owner, schema, legacy }) => {
    await sql`insert into shop.note (id, slug) values (${randomUUID()}, 'nowhere')`.execute(owner);
    expect(await codeOf(applyMigration(owner, schema, { backfill: BACKFILL }))).toBe(
      'tenancy.migration_failed',
    );
    expect((await legacy.query('select from shop.note')).rowCount).toBe(5);
  }));

test('a policy that would hide rows from the backfill is an error, not rows left out', () =>
  onShop(2, async ({ owner, schema }) => {
    await sql.raw('alter table shop.folder force row level security').execute(owner);
    const error = await applyMigration(owner, schema, { backfill: BACKFILL }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'tenancy.migration_failed', cause: { code: '42501' } });
  }));

test('without a backfill expression it refuses to begin', () =>
  onShop(1, async ({ owner, schema }) => {
    const { 'shop.note': _, ...others } = BACKFILL;
    const before = summary([]);
    expect(await codeOf(applyMigration(owner, schema, { backfill: others }))).toBe(
      'tenancy.migration_blocked',
    );
    const columns = (await readCatalog(owner)).relations.flatMap((relation) => relation.columns);
    expect(columns.filter(({ name }) => name === 'org_id').map(({ name }) => name)).toEqual(before);
  }));

test('a reader that holds a table makes it wait and try again, not fail', () =>
  onShop(2, async ({ owner, schema, legacy }) => {
    const reader = await legacy.connect();
    await reader.query('begin; select from shop.note');
    const run = applyMigration(owner, schema, { backfill: BACKFILL, lockTimeoutMs: 100 });
    const waiting = async () =>
      (
        await sql<{
          n: number;
        }>`select count(*)::int as n from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())`.execute(
          owner,
        )
      ).rows[0]?.n;
    await expect.poll(waiting).toBeGreaterThan(0);
    await expect.poll(waiting).toBe(0); // it gave way to those who queue behind it
    await reader.query('commit');
    reader.release();
    expect(await run).toEqual([]);
  }));

test('two runs at once exclude each other and both come to the end', () =>
  onShop(50, async ({ owner, schema }) => {
    const run = () => applyMigration(owner, schema, { backfill: BACKFILL });
    expect(await Promise.all([run(), run()])).toEqual([[], []]);
  }));
