/** One statement for many contexts: each event is recorded under its own, verified, and no other's. Played with signed ones. */
import { randomBytes } from 'node:crypto';
import { createTenancy, type OrgDb, type Tenancy } from '@ringfence/tenancy';
import { installContextKey, tenancyMigrations } from '@ringfence/tenancy/migrations';
import { type CompiledQuery, type Kysely, type QueryResult, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { createTestDatabase, type TestDatabase } from '../../../tools/test-database.ts';
import {
  type ContextExecutor,
  createAudit,
  type OrgId,
  parseOrgId,
  type QueryExecutor,
} from '../src/index.ts';
import { auditMigrations } from '../src/migrations.ts';
import { events, kyselyOf, type Tables, waitingForLocks } from './fixture.ts';

const KEY = { id: 'k1', secret: new Uint8Array(randomBytes(32)) };
const OUTCOME = { outcome: 'success' } as const;

let database: TestDatabase;
let owner: Kysely<Tables>;
let superuser: Kysely<Tables>;
let pool: pg.Pool;
let own: Kysely<Tables>;
let tenancy: Tenancy<Tables>;

beforeAll(async () => {
  database = await createTestDatabase(inject('databaseUrl'), 'mixed');
  owner = kyselyOf(database.ownerUrl, 1);
  superuser = kyselyOf(database.superuserUrl, 1);
  own = kyselyOf(database.appUrl, 8);
  const { app: appRole } = database;
  for (const { up } of tenancyMigrations({ appRole, signedContext: true })) await sql.raw(up).execute(owner);
  const context = 'tenancy.context()';
  for (const { up } of auditMigrations({ appRole, context })) await sql.raw(up).execute(owner);
  await installContextKey(owner as Kysely<unknown>, KEY);
  pool = new pg.Pool({ connectionString: database.appUrl, max: 4 });
  pool.on('error', () => {});
  tenancy = createTenancy<Tables>({ pool, contextKey: KEY });
});

afterAll(async () => {
  await Promise.all([pool.end(), own.destroy(), owner.destroy(), superuser.destroy()]);
  await database.drop();
});

const orgOf = (n: number): OrgId => parseOrgId(`0190f5d2-7b1c-7d34-9a55-${String(n).padStart(12, '0')}`);

function handleOf(org: OrgId, actor = 'user:alice', requestId = 'r-1'): OrgDb<Tables> {
  return tenancy.forOrg(org, { actor, requestId });
}

/** A handle whose context somebody changed on its way. */
function changed(org: OrgId, change: (context: string) => string): ContextExecutor {
  const db = handleOf(org, 'user:mallory');
  return {
    isTransaction: false,
    executeQuery: (query) => db.executeQuery(query),
    contextSettings: () => ({ 'ringfence.context': change(db.contextSettings()['ringfence.context'] ?? '') }),
  };
}

/** An audit log with its statements, each of which a hook may hold. */
function auditOf(before: () => Promise<void> = async () => {}) {
  const statements: string[] = [];
  const db: QueryExecutor = {
    isTransaction: false,
    executeQuery: async <R>(query: CompiledQuery<R>): Promise<QueryResult<R>> => {
      statements.push(query.sql);
      await before();
      return await own.executeQuery(query);
    },
  };
  return { audit: createAudit({ events, db }), statements };
}

async function recordsOf(ids: readonly string[]) {
  const { rows } = await sql<{ id: string; org_id: string; actor: string; canon: string; seq: string }>`
    select e.id, e.org_id, e.actor, e.canon, s.seq from audit.event e
      join audit.seal s on s.org_id = e.org_id and s.event_id = e.id where e.id = any (${ids}::uuid[])`.execute(
    superuser,
  );
  return new Map(rows.map((row) => [row.id, row]));
}

async function verified(org: OrgId): Promise<number> {
  const db = handleOf(org);
  const report = await createAudit({ events, db: own }).verify(db, org);
  expect(report).toMatchObject({ ok: true, findings: [] });
  return report.checked;
}

test('events of many organisations, actors and requests are one statement, each under its own', async () => {
  const { audit, statements } = auditOf();
  const writers = Array.from({ length: 60 }, (_, n) => ({
    org: orgOf(n % 20),
    actor: `user:u${n}`,
    request: `r-${n}`,
  }));
  const sealed = await Promise.all(
    writers.map(({ org, actor, request }) =>
      audit.record(handleOf(org, actor, request), 'login.succeeded', OUTCOME),
    ),
  );
  expect(statements.filter((text) => text.includes('append_batch'))).toHaveLength(1);
  const records = await recordsOf(sealed.map(({ id }) => id));
  for (const [n, { org, actor, request }] of writers.entries()) {
    const record = records.get(sealed[n]?.id ?? '');
    expect(record).toMatchObject({ org_id: org, actor, seq: String(sealed[n]?.orgSeq) });
    expect(JSON.parse(record?.canon ?? '')).toMatchObject({ org, actor, request });
  }
  for (let n = 0; n < 20; n++) expect(await verified(orgOf(n))).toBe(3);
});

const resigned = (context: string): string => context.slice(0, -64) + randomBytes(32).toString('hex');

test.each<[string, string, (context: string) => string]>([
  [
    'names another organisation',
    'tenancy.context_forged',
    (context) => context.replace(orgOf(31), orgOf(32)),
  ],
  ['names another actor', 'tenancy.context_forged', (context) => context.replace('user:mallory', 'user:ceo')],
  ['lives longer', 'tenancy.context_forged', (context) => context.replace(/^(1\|k1\|)\d/, '$19')],
  ['has another signature', 'tenancy.context_forged', resigned],
  ['has no signature', 'tenancy.context_forged', (context) => context.slice(0, -64)],
  ['names no key', 'tenancy.context_forged', (context) => context.replace('|k1|', '|-|')],
  ['is empty', 'tenancy.no_context', () => ''],
  ['is something else', 'tenancy.context_forged', () => '1|2|3'],
])('an event whose context %s is refused, and the others get through', async (_, rule, change) => {
  const { audit, statements } = auditOf();
  const victim = orgOf(32);
  const before = await verified(victim);
  const answers = await Promise.allSettled([
    audit.record(handleOf(orgOf(30)), 'login.succeeded', OUTCOME),
    audit.record(changed(orgOf(31), change), 'login.succeeded', OUTCOME),
    audit.record(handleOf(victim), 'login.succeeded', OUTCOME),
    audit.record(handleOf(orgOf(30)), 'login.succeeded', OUTCOME),
  ]);
  expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  expect(answers[1]).toMatchObject({ reason: { code: 'audit.context_refused', retryable: false } });
  expect(String((answers[1] as PromiseRejectedResult).reason)).toContain(rule);
  expect(statements.filter((text) => text.includes('append_batch'))).toHaveLength(1);
  expect(await verified(victim)).toBe(before + 1);
  expect(await verified(orgOf(31))).toBe(0);
});

test('events keep their own places and columns when the first of a batch is refused, or its chain is held', async () => {
  const [held, free] = [orgOf(35), orgOf(36)];
  const { audit, statements } = auditOf();
  const record = (org: OrgId, target: string) =>
    audit.record(handleOf(org), 'entry.approved', { ...OUTCOME, target });
  await Promise.all([record(held, 'h1'), record(free, 'f1')]);
  statements.length = 0;
  let answers: Promise<PromiseSettledResult<unknown>[]> | undefined;
  await handleOf(held)
    .transaction()
    .execute(async (trx) => {
      await trx.executeQuery(audit.prepare('login.succeeded', OUTCOME).query); // holds the chain until COMMIT
      const forged = audit.record(changed(free, resigned), 'login.succeeded', OUTCOME);
      answers = Promise.allSettled([
        forged,
        record(held, 'h2'),
        record(free, 'f2'),
        record(held, 'h3'),
        record(free, 'f3'),
      ]);
      while ((await audit.stats()).pending < 2) expect(await waitingForLocks(superuser)).toBe(0);
    });
  const places = (await answers)?.map((one) => (one.status === 'fulfilled' ? one.value : one.reason));
  expect(places).toMatchObject([
    { code: 'audit.context_refused' },
    { orgSeq: 3 },
    { orgSeq: 2 },
    { orgSeq: 4 },
    { orgSeq: 3 },
  ]);
  expect(statements.filter((text) => text.includes('append_batch'))).toHaveLength(1);
  expect([await verified(held), await verified(free)]).toEqual([4, 3]);
});

test('a context that expires while its event waits takes that event out, and one is refused for ever after', async () => {
  let waiting = true;
  const { audit } = auditOf(async () => {
    while (waiting) {
      const { rows } = await sql<{ expired: boolean }>`
        select clock_timestamp() > to_timestamp(${expiresMs}::float8 / 1000) as expired`.execute(own);
      waiting = rows[0]?.expired !== true;
    }
  });
  const hasty = createTenancy<Tables>({ pool, contextKey: KEY, contextLifetimeMs: 1_000 });
  const short = hasty.forOrg(orgOf(41), { actor: 'user:alice' });
  const settings = short.contextSettings();
  const expiresMs = Number(settings['ringfence.context']?.split('|')[2]);
  const replayed: ContextExecutor = {
    isTransaction: false,
    executeQuery: (query) => short.executeQuery(query),
    contextSettings: () => settings,
  };
  const [late, other] = await Promise.allSettled([
    audit.record(replayed, 'login.succeeded', OUTCOME),
    audit.record(handleOf(orgOf(42)), 'login.succeeded', OUTCOME),
  ]);
  expect(late).toMatchObject({ status: 'rejected', reason: { code: 'audit.context_refused' } });
  expect(other.status).toBe('fulfilled');
  await expect(audit.record(replayed, 'login.succeeded', OUTCOME)).rejects.toThrow('tenancy.context_expired');
  expect((await audit.record(short, 'login.succeeded', OUTCOME)).orgSeq).toBe(1); // the handle signs a fresh one
});

test('what stands in a body changes neither its own context nor its neighbour’s', async () => {
  const { audit } = auditOf();
  const [mine, theirs] = [orgOf(51), orgOf(52)];
  const foreign = handleOf(theirs).contextSettings()['ringfence.context'];
  const texts = [
    `","id":"x","org":"${theirs}","request":null,"v":1}`,
    `'); select set_config('ringfence.context', '${foreign}', true); --`,
    `ringfence.context=${foreign}`,
  ];
  const sealed = await Promise.all(
    texts.map((text) => audit.record(handleOf(mine), 'note.taken', { ...OUTCOME, data: { text } })),
  );
  for (const { org_id, canon } of (await recordsOf(sealed.map(({ id }) => id))).values()) {
    expect(org_id).toBe(mine);
    expect(JSON.parse(canon)).toMatchObject({ org: mine, actor: 'user:alice' });
  }
  expect(await verified(mine)).toBe(3);
  expect(await verified(theirs)).toBe(0);
});

test('leaves no context behind, not even the one its caller had', async () => {
  const client = await pool.connect();
  try {
    const [name = '', value = ''] = Object.entries(handleOf(orgOf(61)).contextSettings())[0] ?? [];
    await client.query('begin');
    await client.query('select set_config($1, $2, true)', [name, value]);
    const batch = `select refused from audit.append_batch(array[gen_random_uuid()], $1, '{1}', $2, $3, true)`;
    const { rows } = await client.query(batch, [
      ['{"outcome":"success","type":"login.succeeded"}'],
      [name],
      [handleOf(orgOf(62)).contextSettings()[name]],
    ]);
    expect(rows).toEqual([{ refused: null }]);
    expect((await client.query('select current_setting($1) as left', [name])).rows).toEqual([{ left: '' }]);
    await expect(client.query('select count(*) from audit.event')).rejects.toMatchObject({
      constraint: 'tenancy.no_context',
    });
  } finally {
    await client.query('rollback');
    client.release();
  }
});

test('each of sixty-four callers gets the answer to its own event, whatever fails around it', {
  timeout: 120_000,
}, async () => {
  const caller = fc.record({ org: fc.integer({ min: 70, max: 74 }), actor: fc.nat(9), bad: fc.nat(9) });
  await fc.assert(
    fc.asyncProperty(fc.array(caller, { minLength: 64, maxLength: 64 }), async (callers) => {
      const { audit } = auditOf();
      const answers = await Promise.allSettled(
        callers.map(({ org, actor, bad }, n) => {
          const db = bad === 0 ? changed(orgOf(org), resigned) : handleOf(orgOf(org), `user:u${actor}`);
          const target = bad === 1 ? (n as never) : `e${n}`; // not of the catalogue
          return audit.record(db, 'entry.approved', { ...OUTCOME, target });
        }),
      );
      const ids = answers.map((answer) => (answer.status === 'fulfilled' ? answer.value.id : ''));
      const records = await recordsOf(ids.filter((id) => id !== ''));
      for (const [n, { org, actor, bad }] of callers.entries()) {
        const answer = answers[n];
        if (bad <= 1) {
          const code = bad === 0 ? 'audit.context_refused' : 'audit.invalid_event';
          expect(answer).toMatchObject({ status: 'rejected', reason: { code } });
          continue;
        }
        const record = records.get(ids[n] ?? '');
        expect(answer).toMatchObject({ status: 'fulfilled', value: { orgSeq: Number(record?.seq) } });
        expect(record).toMatchObject({ org_id: orgOf(org), actor: `user:u${actor}` });
        expect(JSON.parse(record?.canon ?? '').event.target.id).toBe(`e${n}`);
      }
    }),
    { numRuns: 10 },
  );
  for (let n = 70; n <= 74; n++) await verified(orgOf(n));
});

test('two processes with the same sixteen organisations, in opposite order, wait for nobody', {
  timeout: 120_000,
}, async () => {
  const orgs = Array.from({ length: 16 }, (_, n) => orgOf(80 + n));
  const processes = [orgs, orgs.toReversed()].map((order) => {
    const sealing = kyselyOf<Tables>(database.appUrl, 4);
    return { order, sealing, audit: createAudit({ events, db: sealing }) };
  });
  const deadlocks = async () => {
    const { rows } = await sql<{ n: string }>`
      select deadlocks as n from pg_stat_database where datname = current_database()`.execute(superuser);
    return Number(rows[0]?.n);
  };
  const before = await deadlocks();
  await Promise.all(
    Array.from({ length: 64 }, async (_, writer) => {
      const { order, audit } = processes[writer % 2] ?? { order: [], audit: undefined };
      for (let round = 0; round < 2; round++)
        await Promise.all(
          order.map((org) => audit?.record(handleOf(org, `user:w${writer}`), 'login.succeeded', OUTCOME)),
        );
    }),
  );
  await sql`select pg_stat_force_next_flush()`.execute(superuser);
  expect(await deadlocks()).toBe(before);
  for (const org of orgs) expect(await verified(org)).toBe(128);
  await Promise.all(processes.map(({ sealing }) => sealing.destroy()));
});

test('a handle without settings is a mistake of the programmer, and one with foreign ones hurts nobody else', async () => {
  const { audit } = auditOf();
  const db = handleOf(orgOf(98));
  const withSettings = (settings: Record<string, string>): ContextExecutor => ({
    isTransaction: false,
    executeQuery: (query) => db.executeQuery(query),
    contextSettings: () => settings,
  });
  await expect(audit.record(withSettings({}), 'login.succeeded', OUTCOME)).rejects.toThrow(TypeError);
  const answers = await Promise.allSettled([
    audit.record(db, 'login.succeeded', OUTCOME),
    audit.record(withSettings({ search_path: 'app' }), 'login.succeeded', OUTCOME),
    audit.record(db, 'login.succeeded', OUTCOME),
  ]);
  expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(await verified(orgOf(98))).toBe(2);
});
