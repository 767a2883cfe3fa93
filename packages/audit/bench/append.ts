/**
 * What an event in the chain costs against a plain insert of the same row, and against chains as they are commonly built,
 * through the same tenancy handle on the same server with fsync on, with and without 1 ms of commit delay. No two events are
 * alike, and all subjects write the same sequence. `append-*`: the event is all there is; `biz-*`: a transaction that updates
 * a row and appends in the flight of COMMIT. Acknowledged means sealed. `one-by-one` is ours through an executor that does
 * not give its context's settings, so with a statement for each event.
 */
import { atCommit, createTenancy, type OrgDb, parseOrgId } from '@ringfence/tenancy';
import { tenancyMigrations } from '@ringfence/tenancy/migrations';
import { CompiledQuery, Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import type { BenchCase, Subject, Suite } from '../../../tools/bench/suite.ts';
import { type PostgresServer, startEmbedded } from '../../../tools/postgres.ts';
import { createTestDatabase } from '../../../tools/test-database.ts';
import { encodeEventBody } from '../src/event-body.ts';
import { newEventId, platformRandom } from '../src/event-id.ts';
import { type Audit, createAudit, type QueryExecutor } from '../src/index.ts';
import { auditMigrations } from '../src/migrations.ts';
import {
  appendedLast,
  deferredTrigger,
  headRowChain,
  PEER_DDL,
  type Peer,
  supaAudit,
  triggerChain,
} from './peers.ts';
import { type Approval, events, varied } from './varied-events.ts';

interface Tables {
  'app.counter': { id: number; value: number };
}

type Events = typeof events;

const SLICE_MS = 700;
const ORGS = Array.from({ length: 100 }, (_, n) =>
  parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(n).padStart(12, '0')}`),
);

/** A server with the schemas, a handle per organisation, and an audit log. */
interface Ground {
  readonly handles: readonly OrgDb<Tables>[];
  readonly audit: Audit<Events>;
  close(): Promise<void>;
}

async function ground(commitDelayUs: number, connections: number): Promise<Ground> {
  const server: PostgresServer = await startEmbedded({
    settings: { fsync: 'on', commit_delay: String(commitDelayUs), commit_siblings: '0' },
  });
  const database = await createTestDatabase(server.url, 'bench');
  const owner = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: poolOf(database.ownerUrl, 1) }) });
  const appRole = database.app;
  const context = 'tenancy.context()';
  for (const { up } of tenancyMigrations({ appRole, signedContext: false })) await sql.raw(up).execute(owner);
  for (const { up } of auditMigrations({ appRole, context })) await sql.raw(up).execute(owner);
  await sql
    .raw(`create schema app; grant usage on schema app to ${appRole};
      create table app.plain (like audit.event including defaults, primary key (org_id, id));
      create table app.counter (id int primary key, value int not null) with (fillfactor = 20);
      insert into app.counter select n, 0 from generate_series(0, 99) n;
      ${PEER_DDL(appRole)}
      grant insert on app.plain to ${appRole}; grant select, update on app.counter to ${appRole};`)
    .execute(owner);
  const pool = poolOf(database.appUrl, connections);
  const sealing = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: poolOf(database.appUrl, 2) }) });
  const tenancy = createTenancy<Tables>({ pool });
  return {
    handles: ORGS.map((org) => tenancy.forOrg(org, { actor: 'user:alice', requestId: 'req-1' })),
    audit: createAudit({ events, db: sealing }),
    close: async () => {
      await Promise.all([pool.end(), sealing.destroy(), owner.destroy()]);
      await server.stop();
    },
  };
}

function poolOf(connectionString: string, max: number): pg.Pool {
  const pool = new pg.Pool({ connectionString, max });
  pool.on('error', () => {});
  return pool;
}

/** Id and body of an event, as a receipt makes them. */
function idAndBody(event: Approval): readonly [string, string] {
  const body = encodeEventBody(events, 'entry.approved', event);
  return [newEventId(Date.now(), platformRandom), body];
}

/** The plain row takes the same bytes and the same columns; it is not hashed and not chained. */
function plainInsert(parameters: readonly unknown[]): CompiledQuery {
  return CompiledQuery.raw(
    `insert into app.plain (org_id, id, at, canon, leaf, actor, action, target)
      values (tenancy.org_id(), $1::uuid, clock_timestamp(), $2::text, decode(repeat('00', 32), 'hex'),
        tenancy.actor(), 'entry.approved', 'entry:' || tenancy.request_id())`,
    [...parameters],
  );
}

/** Writes one event and waits until it is acknowledged. */
type Work = (db: OrgDb<Tables>, event: Approval, writer: number) => Promise<unknown>;

function subject(name: string, { handles }: Ground, writers: number, orgs: number, work: Work): Subject {
  return {
    name,
    measure: async () => {
      const nextEvent = varied();
      const start = performance.now();
      const counts = await Promise.all(
        Array.from({ length: writers }, async (_, writer) => {
          let done = 0;
          for (let turn = writer; performance.now() - start < SLICE_MS; turn += writers, done++) {
            const db = handles[turn % orgs];
            if (db !== undefined) await work(db, nextEvent(), writer);
          }
          return done;
        }),
      );
      return counts.reduce((sum, count) => sum + count, 0) / ((performance.now() - start) / 1_000);
    },
  };
}

async function business(db: OrgDb<Tables>, writer: number, query: CompiledQuery) {
  const queued = await db.transaction().execute(async (trx) => {
    await sql`update app.counter set value = value + 1 where id = ${writer}`.execute(trx);
    return await atCommit(trx, query);
  });
  return await queued.result;
}

/** The handle without the settings of its context. */
function alone(db: OrgDb<Tables>): QueryExecutor {
  return { isTransaction: false, executeQuery: (query) => db.executeQuery(query) };
}

type Kind = 'append' | 'biz';

/** Peers: rows chained in other ways, as they are commonly built. */
const PEERS: Readonly<Record<Kind, readonly Peer[]>> = {
  append: [headRowChain, triggerChain, deferredTrigger, supaAudit],
  biz: [appendedLast, deferredTrigger],
};

function caseOf(kind: Kind, writers: number, orgs: number, delayMs: 0 | 1): BenchCase {
  return {
    id: `${kind}-${writers}-${orgs === 1 ? 'hot' : `${orgs}orgs`}${delayMs === 0 ? '' : '-1ms'}`,
    unit: 'events/s',
    limit: 'plain-insert',
    rounds: 5,
    prepare: async () => {
      const place = await ground(delayMs * 1_000, writers);
      const run = (db: OrgDb<Tables>, writer: number, query: CompiledQuery) =>
        kind === 'append' ? db.executeQuery(query) : business(db, writer, query);
      const ours: Work =
        kind === 'append'
          ? (db, event) => place.audit.record(db, 'entry.approved', event)
          : async (db, event, writer) => {
              const receipt = place.audit.prepare('entry.approved', event);
              return await place.audit.sealed(receipt, await business(db, writer, receipt.query));
            };
      const of = (name: string, work: Work) => subject(name, place, writers, orgs, work);
      const subjects = [
        of('plain-insert', (db, event, writer) => run(db, writer, plainInsert(idAndBody(event)))),
        of('ringfence', ours),
        ...PEERS[kind].map((peer) =>
          of(peer.name, (db, event, writer) => run(db, writer, peer.append(idAndBody(event)))),
        ),
      ];
      if (kind === 'append')
        subjects.push(
          of('one-by-one', (db, event) => place.audit.record(alone(db), 'entry.approved', event)),
        );
      return { subjects, close: () => place.close() };
    },
  };
}

/** Time from COMMIT to the answer that the event is sealed, 99th percentile over business transactions of 64 writers. */
const sealAge: BenchCase = {
  id: 'seal-age-p99',
  unit: 'ms',
  rounds: 5,
  prepare: async () => {
    const place = await ground(1_000, 64);
    const measure = async () => {
      const ages: number[] = [];
      const work: Work = async (db, event, writer) => {
        const receipt = place.audit.prepare('entry.approved', event);
        const result = await business(db, writer, receipt.query);
        const committed = performance.now();
        await place.audit.sealed(receipt, result);
        ages.push(performance.now() - committed);
      };
      await subject('ringfence', place, 64, 1, work).measure();
      return ages.sort((a, b) => a - b)[Math.floor(ages.length * 0.99)] ?? Number.NaN;
    };
    return { subjects: [{ name: 'ringfence', measure }], close: () => place.close() };
  },
};

/** The cases of appending. */
export const suite: Suite = {
  name: 'audit',
  cases: [
    caseOf('append', 16, 1, 0),
    caseOf('append', 64, 1, 0),
    caseOf('append', 64, 1, 1),
    caseOf('append', 64, 100, 0),
    caseOf('biz', 16, 1, 1),
    caseOf('biz', 64, 1, 1),
    caseOf('biz', 64, 100, 1),
    sealAge,
  ],
};
