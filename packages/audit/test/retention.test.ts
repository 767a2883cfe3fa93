/** Pruning takes the content of old events out, and no verifier mistakes it for anything else, nor anything else for it. */
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { verifyInDatabase } from '../src/database-verification.ts';
import { exportLog, type OrgId, verifyExport } from '../src/index.ts';
import { listEvents } from '../src/query/index.ts';
import { pruneLog } from '../src/retention/index.ts';
import { errorOf } from './fixture.ts';
import { OLD_DAYS, type RetentionFixture, retentionFixture } from './retention-fixture.ts';

let f: RetentionFixture;
beforeAll(async () => {
  f = await retentionFixture(inject('databaseUrl'));
});
afterAll(() => f.close());

const DAY_MS = 24 * 3_600_000;
const before = new Date(Date.now() - 366 * DAY_MS);
const policy = 'records schedule 4.2';
const prune = (org: OrgId, request = { before, policy }) => pruneLog(f.pruning(org), request);
const inDatabase = (org: OrgId) => verifyInDatabase(f.handle(org), org, {});

async function exported(org: OrgId): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportLog(f.handle(org), org)) chunks.push(chunk);
  return chunks;
}

const classes = ({ findings }: { readonly findings: readonly { readonly class: string }[] }) => [
  ...new Set(findings.map((finding) => finding.class)),
];

test('takes the old events out, keeps their leaves, and says so in the chain', async () => {
  const org = await f.log(6, 3);
  const done = await prune(org);
  expect(done).toMatchObject({ removed: 6, through: 6 });
  const report = await inDatabase(org);
  expect(report).toMatchObject({ ok: true, checked: 10, pruned: 6, head: { seq: 10 } });
  expect(await verifyExport(await exported(org))).toMatchObject({ ok: true, checked: 10, pruned: 6 });
  const page = await listEvents(f.handle(org), org, {});
  expect(page.entries.map(({ seal }) => seal?.seq)).toEqual([10, 9, 8, 7]);
  expect(page.entries[0]).toMatchObject({
    id: done.event,
    actor: 'system:retention',
    event: {
      type: 'log.pruned',
      data: { through: 6, policy, hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
    },
  });
  expect(await prune(org)).toEqual({ event: null, removed: 0, through: 6 });
});
