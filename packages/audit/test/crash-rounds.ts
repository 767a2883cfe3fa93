/**
 * Rounds of crashes: the server is shut down at once while events are being recorded in every way, and started again on
 * the same files. What had been acknowledged must be in the chain, at its place and under its hash.
 */
import { randomUUID } from 'node:crypto';
import { CompiledQuery, sql } from 'kysely';
import { expect } from 'vitest';
import { startEmbedded } from '../../../tools/postgres.ts';
import { parseOrgId, type SealedEvent } from '../src/index.ts';
import { type Fixture, fixture } from './fixture.ts';

const ORGS = ['0190f5d2-7b1c-7d34-9a51-00000000c001', '0190f5d2-7b1c-7d34-9a51-00000000c002'].map(parseOrgId);
/** Acknowledgements of a round before the crash comes. */
const BEFORE_CRASH = 150;

/** What some rounds came to. */
export interface Rounds {
  /** Events acknowledged. */
  readonly acknowledged: number;
  /** Of those, missing after a crash, at another place or under another hash. */
  readonly lost: number;
  /** Events committed but not sealed when a crash came; the next sealing took them. */
  readonly sealedLater: number;
  /** Acknowledged by the control, which answers before its COMMIT is on disk, and gone after a crash. */
  readonly lostByControl: number;
}

/** The control: transactions that are answered before their COMMIT is on disk, with nobody else flushing it for them. */
async function unflushed(f: Fixture): Promise<string[]> {
  const ids = Array.from({ length: 50 }, () => randomUUID());
  for (const id of ids) {
    await f.app.transaction().execute(async (trx) => {
      await sql`set local synchronous_commit = off`.execute(trx);
      await sql`insert into app.control values (${id}::uuid)`.execute(trx);
    });
  }
  return ids;
}

/** Runs the rounds on a server of their own. */
export async function crashRounds(rounds: number): Promise<Rounds> {
  // The WAL writer must not do the control's flushing for it.
  const server = await startEmbedded({ settings: { fsync: 'on', wal_writer_delay: '10s' } });
  const f = await fixture(server.url, 40);
  const acknowledged: { org: string; event: SealedEvent }[] = [];
  let sealedLater = 0;
  try {
    await sql.raw('create table app.control (id uuid primary key)').execute(f.owner);
    await sql.raw(`grant insert on app.control to ${f.database.app}`).execute(f.owner);
    for (let round = 0; round < rounds; round++) {
      let going = true;
      let enough = () => {};
      const reached = new Promise<void>((resolve) => {
        enough = resolve;
      });
      const before = acknowledged.length;
      const until = async (work: () => Promise<void>) => {
        while (going) await work().catch((error: unknown) => expect(error).toBeInstanceOf(Error));
      };
      const write = (org: (typeof ORGS)[number]) => {
        const handle = f.handle(org);
        const { contextSettings: _, ...alone } = handle;
        const told = (event: SealedEvent) => {
          acknowledged.push({ org, event });
          if (acknowledged.length - before >= BEFORE_CRASH) enough();
        };
        const login = { outcome: 'success' } as const;
        const receipt = () => f.audit.prepare('login.succeeded', login);
        return [
          ...Array.from(
            { length: 8 },
            () => async () => told(await f.audit.record(handle, 'login.succeeded', login)),
          ),
          ...Array.from(
            { length: 3 },
            () => async () => told(await f.audit.record(alone, 'login.succeeded', login)),
          ),
          ...Array.from({ length: 5 }, () => async () => told(await f.append(org, receipt()))),
        ];
      };
      const running = ORGS.flatMap(write).map(until);
      await reached;
      going = false;
      await server.crash();
      await Promise.all(running);
      sealedLater += (await f.audit.stats()).pending;
      await f.audit.sealPending();
    }
    const control = await unflushed(f);
    await server.crash();
    expect((await f.audit.stats()).pending).toBe(0);
    for (const org of ORGS) {
      const report = await f.inOrg(org, (trx) => f.audit.verify(trx, org));
      expect(report).toMatchObject({ ok: true, findings: [] });
    }
    const { rows } = await f.superuser.executeQuery<{
      org_id: string;
      id: string;
      seq: string;
      hash: string;
    }>(
      CompiledQuery.raw(
        "select org_id, event_id as id, seq, encode(hash, 'hex') as hash from audit.seal",
      ) as CompiledQuery<{ org_id: string; id: string; seq: string; hash: string }>,
    );
    const sealed = new Map(rows.map((row) => [row.id, row]));
    const lost = acknowledged.filter(({ org, event }) => {
      const row = sealed.get(event.id);
      return row?.org_id !== org || Number(row.seq) !== event.orgSeq || row.hash !== event.hash;
    });
    const { rows: kept } = await sql<{ id: string }>`select id from app.control`.execute(f.superuser);
    const there = new Set(kept.map(({ id }) => id));
    return {
      acknowledged: acknowledged.length,
      lost: lost.length,
      sealedLater,
      lostByControl: control.filter((id) => !there.has(id)).length,
    };
  } finally {
    await f.close();
    await server.stop();
  }
}
