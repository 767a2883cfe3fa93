/** The last two links of the log exchanged by a superuser, each time as consistently as he can: verification finds it. */
import type { ChainHead } from '@ringfence/audit/verify';
import type pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { rechain, unguarded } from '../src/demo/rewritten-history.ts';
import { postEntry } from '../src/entries.ts';
import { verifyLog } from '../src/log-access.ts';
import { ENTRY, type Fixture, fixture, superuserOf } from './fixture.ts';

let f: Fixture;
let superuser: pg.Client;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  superuser = await superuserOf(f);
});
afterAll(async () => {
  await superuser?.end();
  await f?.close();
});

const verified = (expectedHead: readonly ChainHead[] = []) =>
  f.ledger.audit.verify(f.ledger.tenancy.forOrg(f.auditor.org, f.auditor.principal), f.auditor.org, {
    expectedHead,
  });

/** Exchanges the last two links: the events alone, or each with its hash. */
async function exchange(what: 'events' | 'links', andRechain = false): Promise<void> {
  const { org } = f.auditor;
  await unguarded(f.database.superuserUrl, async (client) => {
    const last = 'delete from audit.seal where org_id = $1 and seq > $2 returning *';
    const { rows: heads } = await client.query('select seq from audit.head where org_id = $1', [org]);
    const { rows } = await client.query(last, [org, Number(heads[0].seq) - 2]);
    const [first, second] = rows.toSorted((a, b) => Number(a.seq) - Number(b.seq));
    for (const [into, from] of [
      [first, second],
      [second, first],
    ]) {
      await client.query(
        'insert into audit.seal (org_id, seq, event_id, hash, sealed_at) values ($1, $2, $3, $4, $5)',
        [org, into.seq, from.event_id, what === 'links' ? from.hash : into.hash, into.sealed_at],
      );
    }
    if (andRechain) await rechain(client, org);
  });
}

test.each(['events', 'links'] as const)('the %s alone: the chain itself tells', async (what) => {
  await postEntry(f.ledger, f.bookkeeper, ENTRY);
  await postEntry(f.ledger, f.bookkeeper, ENTRY);
  const { head, ok } = await verified();
  expect(ok).toBe(true);
  await exchange(what);
  const exchanged = await verified();
  expect(exchanged.ok).toBe(false);
  expect(exchanged.findings.map(({ seq }) => seq)).toContain(head.seq - 1);
  await exchange(what); // back again
  expect(await verified([head])).toMatchObject({ ok: true, findings: [] });
});

test('with the chain computed anew, it adds up by itself, and not against a head that was kept', async () => {
  await postEntry(f.ledger, f.bookkeeper, ENTRY);
  const { head } = await verified();
  await exchange('links', true);
  expect(await verified()).toMatchObject({ ok: true });
  expect((await verified([head])).findings).toMatchObject([{ class: 'rewritten', seq: head.seq }]);
  await exchange('links', true);
  expect(await verified([head])).toMatchObject({ ok: true, findings: [] });
});

test('an auditor who verifies the log is told, and that they were is in the log', async () => {
  await exchange('links');
  expect((await verifyLog(f.ledger, f.auditor)).ok).toBe(false);
  const { rows } = await superuser.query(
    `select canon from audit.event where action = 'audit_log.verified' order by at desc limit 1`,
  );
  expect(JSON.parse(rows[0].canon).event.data).toMatchObject({ ok: false });
});
