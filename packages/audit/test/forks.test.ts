/** Sixty-four writers in every way there is to write, in every isolation level, from two processes: one chain, no forks, no gaps. */
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createAudit, parseOrgId, type SealedEvent } from '../src/index.ts';
import { events, type Fixture, fixture, type Isolation, kyselyOf, type Tables } from './fixture.ts';

const OUTCOME = { outcome: 'success' } as const;

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 32);
});

afterAll(() => f.close());

test.each<Isolation>(['read committed', 'repeatable read', 'serializable'])(
  'sixty-four writers over two organisations, transactions in %s among them',
  { timeout: 120_000 },
  async (isolation) => {
    const orgs = [1, 2].map((n) => parseOrgId(`0190f5d2-7b1c-7d34-9a56-000000${isolation.length}000${n}`));
    const sealing = kyselyOf<Tables>(f.database.appUrl, 4);
    const processes = [f.audit, createAudit({ events, db: sealing })];
    const sealed = new Map(orgs.map((org) => [org, [] as SealedEvent[]]));
    let rolledBack = 0;
    const writers = Array.from({ length: 64 }, async (_, writer) => {
      const audit = processes[writer % 2] ?? f.audit;
      const org = parseOrgId(orgs[(writer >> 1) % 2]);
      const handle = f.handle(org, { actor: `user:w${writer}` });
      const { contextSettings: _settings, ...alone } = handle;
      const transaction = async (round: number): Promise<SealedEvent | undefined> => {
        const receipt = audit.prepare('entry.approved', { target: `w${writer}-${round}`, ...OUTCOME });
        try {
          const result = await f.inOrg(
            org,
            async (trx) => {
              const appended = await trx.executeQuery(receipt.query);
              if (round % 4 === 3) throw new Error('rolled back');
              return appended;
            },
            { isolation },
          );
          return await audit.sealed(receipt, round % 2 === 0 ? result : undefined);
        } catch (error) {
          expect((error as Error).message).toBe('rolled back');
          rolledBack++;
          return undefined;
        }
      };
      for (let round = 0; round < 6; round++) {
        const way = writer % 4;
        const event =
          way < 2
            ? await audit.record(handle, 'login.succeeded', OUTCOME)
            : way === 2
              ? await transaction(round)
              : await audit.record(alone, 'login.succeeded', OUTCOME);
        if (event !== undefined) sealed.get(org)?.push(event);
      }
    });
    await Promise.all(writers);
    expect(rolledBack).toBe(16);
    for (const [org, told] of sealed) {
      const expected = Array.from({ length: told.length }, (_, n) => n + 1);
      expect(told.map(({ orgSeq }) => orgSeq).toSorted((a, b) => a - b)).toEqual(expected);
      const report = await f.inOrg(org, (trx) => f.audit.verify(trx, org));
      expect(report).toMatchObject({ ok: true, findings: [], checked: told.length });
      const { rows } = await sql<{ id: string; seq: string; hash: string }>`
        select event_id as id, seq, encode(hash, 'hex') as hash from audit.seal where org_id = ${org}`.execute(
        f.superuser,
      );
      const links = new Map(rows.map((row) => [row.id, row]));
      for (const { id, orgSeq, hash } of told)
        expect(links.get(id)).toMatchObject({ seq: String(orgSeq), hash });
      const forks = await sql`select from audit.seal where org_id = ${org} group by seq having count(*) > 1
        union all select from audit.seal where org_id = ${org} group by hash having count(*) > 1`.execute(
        f.superuser,
      );
      expect(forks.rows).toEqual([]);
    }
    await sealing.destroy();
  },
);
