/** A captured change stays a record that an export can carry, whatever the context says. */
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { captureTriggers } from '../src/capture/index.ts';
import { exportLog } from '../src/index.ts';
import { verifyExport } from '../src/verify/index.ts';
import { errorOf, type Fixture, fixture, ORG_A } from './fixture.ts';

let f: Fixture;

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'), 2);
  await sql
    .raw(`create table app.bill (org_id uuid, id int, primary key (org_id, id));
      grant select, insert on app.bill to ${f.database.app};
      ${captureTriggers({ table: 'app.bill', target: 'bill' }).up}`)
    .execute(f.owner);
});

afterAll(() => f.close());

test('a change under an actor or a request that no line of an export could hold is refused', async () => {
  const insert = (id: number, options: { actor?: string; request?: string }) =>
    f.inOrg(ORG_A, (trx) => sql`insert into app.bill values (${ORG_A}, ${id})`.execute(trx), options);
  for (const length of [1_001, 1_200_000]) {
    const long = 'x'.repeat(length);
    expect(await errorOf(insert(1, { actor: long }))).toMatchObject({ constraint: 'audit.uncaptured' });
    expect(await errorOf(insert(1, { request: long }))).toMatchObject({ constraint: 'audit.uncaptured' });
  }
  await insert(2, { actor: '\u0001'.repeat(1_000), request: '\u0001'.repeat(1_000) });
  await f.audit.sealPending();
  const report = await f.inOrg(ORG_A, async (trx) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of exportLog(trx, ORG_A)) chunks.push(chunk);
    return await verifyExport(chunks, { org: ORG_A });
  });
  expect(report).toMatchObject({ ok: true, checked: 1 });
});
