/** Exports of a real database: honest logs pass whatever they hold and however they are read; changed ones do not. */
import { createHash } from 'node:crypto';
import { sql, type Transaction } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { exportLog, type OrgId, parseOrgId, verifyExport } from '../src/index.ts';
import { errorOf, type Fixture, fixture, ORG_A, ORG_B, type Tables } from './fixture.ts';

let f: Fixture;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});
afterAll(() => f.close());

async function bytesOf(org: OrgId, options = {}): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportLog(f.superuser, org, options)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function note(org: OrgId, text: string): Promise<void> {
  await f.append(org, f.audit.prepare('note.taken', { outcome: 'success', data: { text } }));
}

/** Puts the guards back. */
async function enableAlways(trx: Transaction<Tables>): Promise<void> {
  const { rows } = await sql<{
    table: string;
    name: string;
  }>`select tgrelid::regclass::text as table, tgname as name
    from pg_trigger where tgfoid = 'audit.refuse_change'::regproc`.execute(trx);
  for (const { table, name } of rows)
    await sql.raw(`alter table ${table} enable always trigger ${name}`).execute(trx);
}

const orgOf = (number: number) => parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(number).padStart(12, '0')}`);

test('an export of any honest log passes, under any settings of the session, page by page', async () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.constantFrom('"\\\b\f\n\r\t\u0001\u001f\u007f', '\u2028\ufeff\uffff😀é', "'; --"),
  );
  let org = 100;
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        text.filter((one) => !one.includes('\u0000') && !/\p{Cs}/u.test(one)),
        { minLength: 1, maxLength: 5 },
      ),
      fc.constantFrom('UTC', 'Asia/Kathmandu', 'America/St_Johns', 'Pacific/Chatham'),
      fc.constantFrom('ISO, DMY', 'German', 'SQL, MDY', 'Postgres'),
      fc.constantFrom('hex', 'escape'),
      fc.integer({ min: 1, max: 4 }),
      async (texts, zone, dates, bytea, pageSize) => {
        const id = orgOf(++org);
        for (const one of texts) await note(id, one);
        await sql`select set_config('TimeZone', ${zone}, false), set_config('DateStyle', ${dates}, false),
          set_config('bytea_output', ${bytea}, false), set_config('extra_float_digits', '-15', false),
          set_config('standard_conforming_strings', 'on', false)`.execute(f.superuser);
        const data = await bytesOf(id, { pageSize });
        expect(data.toString()).toBe((await bytesOf(id)).toString());
        expect(await verifyExport([data])).toMatchObject({
          ok: true,
          checked: texts.length,
          head: { seq: texts.length },
        });
        expect(await f.audit.verify(f.superuser, id, { pageSize })).toMatchObject({
          ok: true,
          checked: texts.length,
        });
      },
    ),
    { numRuns: 40 },
  );
});

test('an export can begin behind a kept head, and is refused without it', async () => {
  for (let number = 1; number <= 5; number++) await note(ORG_A, `${number}`);
  const { head } = await verifyExport([await bytesOf(ORG_A)]);
  await note(ORG_A, '6');
  const notes = ['ledger.example/audit\n6\n'];
  const later = await bytesOf(ORG_A, { from: head, notes });
  expect(await verifyExport([later], { expectedHead: head })).toMatchObject({
    ok: true,
    checked: 1,
    from: head,
    notes,
  });
  expect((await verifyExport([later])).findings).toMatchObject([{ class: 'deleted', seq: 1 }]);
  const other = { seq: 5, hash: 'f'.repeat(64) };
  expect((await verifyExport([later], { expectedHead: other })).findings).toMatchObject([
    { class: 'rewritten' },
  ]);
  expect((await verifyExport([later], { org: ORG_B, expectedHead: head })).ok).toBe(false);
});

test('an empty log is an export of two lines', async () => {
  const data = await bytesOf(orgOf(1));
  expect(data.toString().split('\n')).toHaveLength(3);
  expect(await verifyExport([data])).toMatchObject({ ok: true, checked: 0 });
});

test('exports what a superuser left of a log, and the verifier names it', async () => {
  const org = orgOf(2);
  for (let number = 1; number <= 6; number++) await note(org, `${number}`);
  await f.superuser.transaction().execute(async (trx) => {
    for (const table of ['event', 'seal'])
      await sql.raw(`alter table audit.${table} disable trigger all`).execute(trx);
    const at = (seq: number) =>
      sql`id in (select event_id from audit.seal where org_id = ${org} and seq = ${seq})`;
    await sql`delete from audit.event where ${at(2)}`.execute(trx);
    await sql`update audit.event set canon = replace(canon, 'user:alice', 'user:bob'),
      leaf = sha256(decode('00', 'hex') || convert_to(replace(canon, 'user:alice', 'user:bob'), 'UTF8')) where ${at(4)}`.execute(
      trx,
    );
    await sql`delete from audit.seal where org_id = ${org} and seq = 6`.execute(trx);
    await enableAlways(trx);
  });
  const { findings } = await verifyExport([await bytesOf(org)]);
  expect(findings.map((finding) => [finding.class, finding.seq])).toEqual([
    ['deleted', 2],
    ['edited', 4],
    ['cut', 6],
  ]);
});

test('a record in which no line could stand is exported as a string, and found', async () => {
  const org = orgOf(3);
  for (let number = 1; number <= 4; number++) await note(org, `${number}`);
  const forged = ['x', '{"a":1}\n', `{"a":1},"hash":"${'0'.repeat(64)}"`];
  await f.superuser.transaction().execute(async (trx) => {
    await sql`alter table audit.event disable trigger all`.execute(trx);
    for (const [index, canon] of forged.entries()) {
      await sql`update audit.event set canon = ${canon}, leaf = sha256(decode('00', 'hex') || convert_to(${canon}, 'UTF8'))
        where id in (select event_id from audit.seal where org_id = ${org} and seq = ${index + 2})`.execute(
        trx,
      );
    }
    await sql`alter table audit.event enable trigger all`.execute(trx);
    await enableAlways(trx);
  });
  const data = await bytesOf(org);
  const canons = data
    .toString()
    .split('\n')
    .slice(2, 5)
    .map((line) => line.slice(9, line.lastIndexOf(',"hash":"')));
  expect(canons).toEqual(['"x"', '"{\\"a\\":1}\\n"', forged[2]]);
  const { findings, checked } = await verifyExport([data]);
  expect([checked, ...findings.map((finding) => [finding.class, finding.seq])]).toEqual([
    4,
    ['edited', 2],
    ['edited', 3],
    ['edited', 4],
  ]);
});

test('refuses to export what the caller cannot see', async () => {
  const chunks = f.inOrg(ORG_B, async (trx) => {
    for await (const chunk of exportLog(trx, ORG_A)) return chunk;
  });
  expect(await errorOf(chunks)).toMatchObject({ code: 'audit.other_org' });
});

test('never throws, whatever the bytes, and holds no line longer than the limit', async () => {
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
  const data = await bytesOf(ORG_A);
  const header = data.subarray(0, data.indexOf(10) + 1);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 200 })),
      fc.boolean(),
      fc.json(),
      async (chunks, begun, json) => {
        const all = [...(begun ? [header] : []), ...chunks, Buffer.from(`\n${json}\n`)];
        expect((await verifyExport(all, { sha256 })).ok).toBe(false);
      },
    ),
    { numRuns: 1_000 },
  );
  for (const odd of [null, 7, 'text', {}]) expect((await verifyExport([odd] as never)).ok).toBe(false);
  const giant = Array.from({ length: 40 }, () => new Uint8Array(1 << 18).fill(65));
  const report = await verifyExport([header, ...giant, Buffer.from('\n'), data.subarray(header.length)], {
    sha256,
  });
  expect(report.findings[0]).toMatchObject({ class: 'malformed', detail: 'a line longer than 1 MiB' });
  const cutAnywhere = fc.array(fc.nat(data.length), { maxLength: 9 });
  await fc.assert(
    fc.asyncProperty(cutAnywhere, async (places) => {
      const cuts = [0, ...places.toSorted((a, b) => a - b), data.length];
      const pieces = cuts.slice(1).map((to, index) => data.subarray(cuts[index], to));
      expect(
        await verifyExport(new Blob(pieces.map((piece) => new Uint8Array(piece))).stream(), { sha256 }),
      ).toMatchObject({
        ok: true,
        checked: 6,
      });
      expect(await verifyExport(pieces, { sha256 })).toMatchObject({ ok: true, checked: 6 });
    }),
    { numRuns: 50 },
  );
});

test('a page that holds nothing, or part of a row, is refused before anything is read', async () => {
  for (const pageSize of [0, -1, 1.5, Number.NaN, 100_001]) {
    await expect(bytesOf(ORG_A, { pageSize })).rejects.toThrow('pageSize is a whole number from 1 to 100000');
    await expect(f.audit.verify(f.superuser, ORG_A, { pageSize })).rejects.toThrow(TypeError);
  }
});
