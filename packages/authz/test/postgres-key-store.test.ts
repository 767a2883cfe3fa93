/** The key store on PostgreSQL does what a store must, and what it keeps holds against statements that go around it. */
import { randomBytes, randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OrgId, parseOrgId } from '../src/index.ts';
import type { ApiKeyRecord } from '../src/keys/index.ts';
import { postgresApiKeyStore, settingContext } from '../src/postgres/index.ts';
import { keyStoreCases } from '../src/testing/index.ts';
import { KeyDatabase, refusalOf } from './postgres-fixture.ts';

let db: KeyDatabase;
beforeAll(async () => {
  db = await KeyDatabase.create('authz_keys');
});
afterAll(async () => await db?.drop());

const NOW = 1_800_000_000_000;
const HOUR = 3_600_000;

function record(org: OrgId, part: Partial<ApiKeyRecord> = {}): ApiKeyRecord {
  return {
    id: randomBytes(8).toString('hex'),
    org,
    name: 'feed',
    mac: Uint8Array.from(randomBytes(32)),
    pepper: 'p1',
    creator: { issuer: 'https://id.example.com', subject: 'ada' },
    origin: { mfa: false },
    scope: { roles: ['feed'], actions: ['entry.post'] },
    requestId: randomUUID(),
    createdAt: NOW + 7,
    expiresAt: NOW + 24 * HOUR,
    ...part,
  };
}

const freshOrg = (): OrgId => parseOrgId(randomUUID());

async function stored(org: OrgId, part: Partial<ApiKeyRecord> = {}): Promise<ApiKeyRecord> {
  const key = record(org, part);
  expect(await db.store.insert(key)).toBe('stored');
  return key;
}

describe('the store on PostgreSQL', () => {
  for (const { name, run } of keyStoreCases()) test(name, async () => await run(db.store));

  test('gives back names and texts of any language, and numbers to the millisecond', async () => {
    const org = freshOrg();
    const key = await stored(org, {
      name: `żółw "'\\ 🐢 %s $1`,
      creator: { issuer: "it's", subject: '\\' },
      scope: { roles: ['b,"', 'a'], actions: ['null', '{}'] },
      createdAt: 1_700_000_000_999,
      expiresAt: 1_700_000_001_000,
    });
    expect(await db.store.find(key.id)).toEqual(key);
    expect(await db.store.list(org)).toEqual([key]);
  });
});

describe('the app role', () => {
  test('has no right on any table, whatever the organisation of its transaction', async () => {
    const { org, id } = await stored(freshOrg());
    for (const table of ['api_key', 'credential', 'revocation']) {
      for (const statement of [
        `select * from authz.${table}`,
        `update authz.${table} set id = id`,
        `delete from authz.${table}`,
        `truncate authz.${table}`,
        `insert into authz.${table} default values`,
      ])
        expect(await refusalOf(db.asApp(org, statement))).toBe('42501');
    }
    expect(await db.store.find(id)).toBeDefined();
  });

  test('sees no row of another organisation even where it was granted the table by mistake', async () => {
    const [mine, other] = [await stored(freshOrg()), await stored(freshOrg())];
    await db.owner.query(`grant select, update on authz.api_key to ${db.database.app}`);
    try {
      const seen = await db.asApp(mine.org, 'select id from authz.api_key');
      expect(seen).toEqual([{ id: mine.id }]);
      const changed = await db.asApp(
        mine.org,
        `update authz.api_key set revoked_at = now() where id = '${other.id}' returning id`,
      );
      expect(changed).toEqual([]);
    } finally {
      await db.owner.query(`revoke all on authz.api_key from ${db.database.app}`);
    }
  });

  test('may call the functions of an organisation, and none of those that belong to none', async () => {
    const { org, id } = await stored(freshOrg());
    for (const call of [
      `find_key('${id}')`,
      'revoke_every_key(0)',
      `publish_revocation('org', '', 'x', 0)`,
      `read_revocations('0')`,
      `store_key('${org}', '{}')`,
      `own_org('${org}')`,
    ])
      expect(await refusalOf(db.asApp(org, `select authz.${call}`)), call).toBe('42501');
    expect(await db.asApp(org, `select authz.list_keys('${org}') is not null as listed`)).toEqual([
      { listed: true },
    ]);
  });

  test('gets nothing and changes nothing of another organisation through a function', async () => {
    const [mine, other] = [await stored(freshOrg()), await stored(freshOrg())];
    const foreign = JSON.stringify({ ...record(other.org), mac: '00'.repeat(32) });
    for (const call of [
      `list_keys('${other.org}')`,
      `revoke_keys('${other.org}', null, null, null, ${NOW})`,
      `rotate_key('${other.org}', '${other.id}', '${foreign}', ${NOW + HOUR})`,
      `insert_key('${other.org}', '${foreign}')`,
      `insert_key('${mine.org}', '${foreign}')`,
      `touch_keys('${other.org}', '[]')`,
      `list_credentials('${other.org}')`,
      `find_credential('${other.org}', 'x')`,
      `revoke_credential('${other.org}', 'x', 0)`,
      `replace_credential('${other.org}', 'x', 1, '00', 0)`,
      `insert_credential('${mine.org}', '{"org":"${other.org}"}')`,
    ])
      expect(await refusalOf(db.asApp(mine.org, `select authz.${call}`)), call).toBe('42501 authz.other_org');
    const own = JSON.stringify({ ...record(mine.org), mac: '00'.repeat(32) });
    expect(
      await db.asApp(
        mine.org,
        `select authz.rotate_key('${mine.org}', '${other.id}', '${own}', ${NOW + HOUR}) as outcome`,
      ),
    ).toEqual([{ outcome: 'conflict' }]);
    expect(await db.store.find(other.id)).toEqual(other);
    expect(await db.store.list(mine.org)).toEqual([mine]);
  });

  test('is refused without an organisation, rather than answered with nothing', async () => {
    const org = freshOrg();
    for (const call of [
      `list_keys('${org}')`,
      `touch_keys('${org}', '[]')`,
      `find_credential('${org}', 'x')`,
    ])
      expect(await refusalOf(sql.raw(`select authz.${call}`).execute(db.app)), call).toBe(
        '42501 authz.no_context',
      );
  });

  test('finds every function closed to the public, and those of the owner bound to names of their own', async () => {
    const { rows } = await db.owner.query<{ name: string; path: string | null; open: boolean }>(`
      select proname as name, (select c from unnest(proconfig) c where c like 'search_path=%') as path,
             coalesce(proacl is null or proacl::text ~ '[{,]=', true) as open
        from pg_proc where pronamespace = 'authz'::regnamespace and prosecdef`);
    expect(rows.length).toBeGreaterThan(13);
    for (const each of rows)
      expect(each).toEqual({ name: each.name, path: 'search_path=pg_catalog, pg_temp', open: false });
  });

  test('cannot store a second key under an id that is taken, in whatever organisation', async () => {
    const other = await stored(freshOrg());
    const org = freshOrg();
    expect(await refusalOf(db.store.insert(record(org, { id: other.id })))).toBe('23505 api_key_id');
    expect(await db.store.find(other.id)).toEqual(other);
  });
});

describe('a key that is stored', () => {
  test.each([
    ['a later expiry', "expires_at = expires_at + interval '1 day'"],
    ['other actions', "actions = array['entry.approve']"],
    ['other roles', "roles = array['owner']"],
    ['another creator', "creator_id = 'olga'"],
    ['a second factor at its origin', 'origin_mfa = not origin_mfa'],
    ['another MAC', "mac = decode(repeat('00', 32), 'hex')"],
    ['another organisation', 'org_id = gen_random_uuid()'],
    ['another creation', "created_at = created_at - interval '1 day'"],
    ['no revocation any more', 'revoked_at = null'],
    ['a later revocation', "revoked_at = revoked_at + interval '1 day'"],
    ['no successor any more', 'successor = null, overlap_until = null'],
    ['a longer overlap', "overlap_until = overlap_until + interval '1 minute'"],
    ['an earlier last use', "last_used_at = last_used_at - interval '1 second'"],
    ['no last use any more', 'last_used_at = null'],
  ])('gets not even from the owner, nor under a replication role: %s', async (_what, change) => {
    const { org, id } = await stored(freshOrg());
    await db.store.rotate({ org, id, successor: record(org), overlapUntil: NOW + HOUR });
    await db.store.touch([{ org, id, at: NOW + 60_000 }]);
    await db.store.revoke({ kind: 'key', org, id }, NOW + 1);
    const before = await db.store.find(id);
    const update = `update authz.api_key set ${change} where id = '${id}'`;
    expect(await refusalOf(db.owner.query(update))).toBe('42501 authz.key_is_kept');
    await db.asSuperuser(async (superuser) => {
      await superuser.query('set session_replication_role = replica');
      expect(await refusalOf(superuser.query(update))).toBe('42501 authz.key_is_kept');
    });
    expect(await db.store.find(id)).toEqual(before);
  });

  test.each([
    ['without an end', { expiresAt: NOW + 800 * 24 * HOUR }],
    ['that ends before it begins', { expiresAt: NOW }],
    ['that ends between two seconds', { expiresAt: NOW + 1_500 }],
    ['with a short MAC', { mac: new Uint8Array(31) }],
    ['with no action', { scope: { roles: ['feed'], actions: [] } }],
    ['with an id of another form', { id: 'short' }],
  ])('is none %s', async (_what, part) => {
    const org = freshOrg();
    expect(await refusalOf(db.store.insert(record(org, part)))).toMatch(/^23514 api_key_/);
    expect(await db.store.list(org)).toEqual([]);
  });

  test('has no overlap that outlasts it, or that ends between two seconds', async () => {
    const { org, id } = await stored(freshOrg());
    for (const overlapUntil of [NOW + 25 * HOUR, NOW + HOUR + 1]) {
      const rotation = { org, id, successor: record(org), overlapUntil };
      expect(await refusalOf(db.store.rotate(rotation))).toBe('23514 api_key_overlap');
    }
    expect(await db.store.list(org)).toHaveLength(1); // no successor either
  });
});

describe('steps at once', () => {
  test('by two processes rotate a key once, while a third holds it for a moment', async () => {
    const { org, id } = await stored(freshOrg());
    const processes = [1, 2].map(() => postgresApiKeyStore({ db: db.system, inOrg: settingContext(db.app) }));
    let racing: Promise<readonly string[]> | undefined;
    await holding(id, async () => {
      racing = Promise.all(
        processes.map((store) => store.rotate({ org, id, successor: record(org), overlapUntil: NOW + HOUR })),
      );
      racing.catch(() => {}); // awaited below
      await waiting(2);
    });
    expect((await racing)?.toSorted()).toEqual(['conflict', 'stored']);
    expect(await db.store.list(org)).toHaveLength(2);
  });

  test.each(['org', 'creator'] as const)(
    'leave no successor alive that was stored while a revocation by %s waited',
    async (kind) => {
      const old = await stored(freshOrg());
      const { org, id, creator } = old;
      const successor = record(org);
      let revoking: Promise<readonly string[]> | undefined;
      await db.app.transaction().execute(async (trx) => {
        const store = postgresApiKeyStore({
          db: db.system,
          inOrg: async (of, work) => {
            await sql`select set_config('ringfence.org_id', ${of}, true)`.execute(trx);
            return await work(trx);
          },
        });
        expect(await store.rotate({ org, id, successor, overlapUntil: NOW + HOUR })).toBe('stored');
        revoking = db.store.revoke(kind === 'org' ? { kind, org } : { kind, org, creator }, NOW + 60_000);
        await waiting(1);
      });
      expect((await revoking)?.toSorted()).toEqual([id, successor.id].toSorted());
      for (const key of await db.store.list(org)) expect(key.revokedAt).toBe(NOW + 60_000);
    },
  );

  test('of a rotation are both or neither, when the session is lost in the middle', async () => {
    const { org, id } = await stored(freshOrg());
    const rotation = { org, id, successor: record(org), overlapUntil: NOW + HOUR };
    const cut = postgresApiKeyStore({
      db: db.system,
      inOrg: async (of, work) =>
        await settingContext(db.app)(of, async (trx) => {
          const answer = await work(trx);
          const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx);
          await db.asSuperuser(async (superuser) => {
            await superuser.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]);
          });
          return answer;
        }),
    });
    await expect(cut.rotate(rotation)).rejects.toThrow();
    expect(await db.store.find(id)).not.toHaveProperty('successor');
    expect(await db.store.list(org)).toHaveLength(1);
    expect(await db.store.rotate(rotation)).toBe('stored'); // and can be asked for again
  });

  test('whose answer was lost are not carried out twice', async () => {
    const org = freshOrg();
    const deaf = postgresApiKeyStore({
      db: db.system,
      inOrg: async (of, work) => {
        await settingContext(db.app)(of, work);
        throw new Error('the answer was lost');
      },
    });
    const key = record(org);
    await expect(deaf.insert(key)).rejects.toThrow('lost');
    expect(await db.store.insert({ ...key, id: randomBytes(8).toString('hex') })).toBe('replayed');
    const rotation = { org, id: key.id, successor: record(org), overlapUntil: NOW + HOUR };
    await expect(deaf.rotate(rotation)).rejects.toThrow('lost');
    expect(await db.store.rotate(rotation)).toBe('replayed');
    expect(await db.store.list(org)).toHaveLength(2);
  });

  test.each(['another batch of uses', 'a revocation'] as const)(
    'of a batch of uses and %s do not end in a deadlock, whatever order the planner takes keys in',
    async (other) => {
      const org = freshOrg();
      const id = (n: number) => `${n}`.repeat(8) + randomBytes(4).toString('hex');
      const ids = Array.from({ length: 9 }, (_, n) => id(9 - n)); // stored in descending order
      for (const each of ids) await stored(org, { id: each });
      const uses = ids.map((each) => ({ org, id: each, at: NOW + 60_000 }));
      const planned = (settings: readonly string[]) =>
        postgresApiKeyStore({
          db: db.system,
          inOrg: async (of, work) =>
            await settingContext(db.app)(of, async (trx) => {
              for (const name of settings) await sql.raw(`set local enable_${name} = off`).execute(trx);
              return await work(trx);
            }),
        });
      const asStored = planned(['nestloop', 'mergejoin', 'indexscan', 'bitmapscan', 'sort']);
      const byId = planned(['hashjoin', 'mergejoin', 'seqscan', 'hashagg', 'bitmapscan']);
      const revocation = { kind: 'org', org } as const;
      let steps: Promise<unknown> | undefined;
      await holding(`${ids[4]}`, async () => {
        steps = Promise.all([
          byId.touch(uses),
          other === 'a revocation' ? asStored.revoke(revocation, NOW) : asStored.touch(uses),
        ]);
        steps.catch(() => {}); // awaited below
        await waiting(2);
      });
      await steps;
      for (const key of await db.store.list(org)) {
        expect(key.lastUsedAt).toBe(NOW + 60_000);
        if (other === 'a revocation') expect(key.revokedAt).toBe(NOW);
      }
    },
  );
});

/** Resolves once this many sessions of the database wait for a lock. */
async function waiting(sessions: number): Promise<void> {
  await db.asSuperuser(async (superuser) => {
    const look = async () =>
      (
        await superuser.query(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        )
      ).rows.length;
    await expect.poll(look, { timeout: 15_000, interval: 5 }).toBeGreaterThanOrEqual(sessions);
  });
}

/** Runs something while the owner holds a key. The key is let go whatever happens: all that follows would wait for it. */
async function holding(id: string, run: () => Promise<void>): Promise<void> {
  await db.owner.query('begin');
  await db.owner.query(`select from authz.api_key where id = '${id}' for update`);
  try {
    await run();
  } finally {
    await db.owner.query('commit');
  }
}
