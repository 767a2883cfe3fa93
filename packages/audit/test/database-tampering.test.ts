/**
 * Hundreds of changes that a superuser makes with the triggers off: each to a chain of its own, each found as what it is by
 * the holder of the last head, and no untouched chain is suspected.
 */
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type ChainHead, type ChainReport, type OrgId, parseOrgId } from '../src/index.ts';
import { type Fixture, fixture } from './fixture.ts';

const LENGTH = 8;
const FORGED = '0190f5d2-7b1c-7d34-9a51-3f2e8c1bffff';

/** One way to change a chain at a place; `$org`, `$place` and `$id` (of the event there) are filled in. */
interface Way {
  readonly kind: 'E' | 'D' | 'R' | 'I' | 'T' | 'W';
  readonly verdict: string;
  readonly sql: string;
  /** Last place at which it is a change. Default the last link. */
  readonly last?: number;
  /** Last place at which its class can be told: that takes a link behind those that were moved. Default every place. */
  readonly told?: number;
}

const EDIT = `update audit.event set canon = replace(canon, '"12.50"', '"99.50"') where $at;`;
const LEAF = `update audit.event set leaf = sha256(decode('00', 'hex') || convert_to(canon, 'UTF8')) where $at;`;
const DELETE_EVENT = 'delete from audit.event where $at;';
const DELETE_SEAL = `delete from audit.seal where org_id = '$org' and seq = $place;`;
const CLOSE = `
update audit.seal set seq = seq + 1000 where org_id = '$org' and seq > $place;
update audit.seal set seq = seq - 1001 where org_id = '$org' and seq > 1000;
update audit.head set seq = ${LENGTH - 1} where org_id = '$org';`;
const CUT = `
delete from audit.event where org_id = '$org' and id in (select event_id from audit.seal where org_id = '$org' and seq >= $place);
delete from audit.seal where org_id = '$org' and seq >= $place;`;
const SET_BACK = `
delete from audit.head where org_id = '$org';
insert into audit.head select org_id, seq, hash from audit.seal where org_id = '$org' order by seq desc limit 1;`;
const RECHAIN = `do $$ declare r record; h bytea := decode(repeat('00', 32), 'hex'); begin
  for r in select s.seq, e.leaf from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
            where s.org_id = '$org' order by s.seq loop
    h := sha256(decode('02', 'hex') || uuid_send('$org') || int8send(r.seq) || h || r.leaf);
    update audit.seal set hash = h where org_id = '$org' and seq = r.seq;
  end loop;
  update audit.head set hash = h, seq = (select max(seq) from audit.seal where org_id = '$org') where org_id = '$org'; end $$;`;
const FORGE = `insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
  select org_id, '${FORGED}', at, replace(canon, id::text, '${FORGED}'), sha256(decode('00', 'hex') ||
         convert_to(replace(canon, id::text, '${FORGED}'), 'UTF8')), actor, action, target from audit.event where $at;`;
const OPEN = `
update audit.seal set seq = seq + 1000 where org_id = '$org' and seq >= $place;
update audit.seal set seq = seq - 999 where org_id = '$org' and seq > 1000;
update audit.head set seq = ${LENGTH + 1} where org_id = '$org';`;
const EXCHANGE = (column: string) => `
create temporary table exchanged on commit drop as select seq, event_id, hash from audit.seal
  where org_id = '$org' and seq in ($place, $place + 1);
update audit.seal set event_id = gen_random_uuid() where org_id = '$org' and seq = $place;
update audit.seal s set ${column} from exchanged x
  where s.org_id = '$org' and s.seq = $place + 1 and x.seq = $place;
update audit.seal s set ${column} from exchanged x
  where s.org_id = '$org' and s.seq = $place and x.seq = $place + 1;
drop table exchanged;`;

const WAYS: readonly Way[] = [
  { kind: 'E', verdict: 'edited', sql: EDIT },
  { kind: 'E', verdict: 'edited', sql: EDIT + LEAF },
  { kind: 'E', verdict: 'edited', sql: `update audit.event set leaf = sha256('x') where $at;` },
  { kind: 'E', verdict: 'edited', sql: `update audit.event set actor = 'user:eve' where $at;` },
  { kind: 'E', verdict: 'edited', sql: `update audit.event set action = 'entry.read' where $at;` },
  { kind: 'E', verdict: 'edited', sql: 'update audit.event set target = null where $at;' },
  { kind: 'E', verdict: 'edited', sql: `update audit.event set at = at - interval '1 us' where $at;` },
  {
    kind: 'E',
    verdict: 'edited',
    sql: `update audit.seal set hash = sha256('x') where org_id = '$org' and seq = $place;`,
  },
  {
    kind: 'E',
    verdict: 'malformed',
    sql: `${EDIT.replace(`replace(canon, '"12.50"', '"99.50"')`, "canon || ' '")}${LEAF}${RECHAIN}`,
  },
  { kind: 'D', verdict: 'deleted', sql: DELETE_EVENT },
  { kind: 'D', verdict: 'deleted', sql: DELETE_SEAL, last: LENGTH - 1 },
  { kind: 'D', verdict: 'deleted', sql: DELETE_EVENT + DELETE_SEAL, last: LENGTH - 1 },
  {
    kind: 'D',
    verdict: 'deleted',
    sql: DELETE_EVENT + DELETE_SEAL + CLOSE,
    last: LENGTH - 1,
    told: LENGTH - 2,
  },
  { kind: 'R', verdict: 'reordered', sql: EXCHANGE('event_id = x.event_id'), last: LENGTH - 1 },
  {
    kind: 'R',
    verdict: 'reordered',
    sql: EXCHANGE('event_id = x.event_id, hash = x.hash'),
    last: LENGTH - 1,
    told: LENGTH - 2,
  },
  { kind: 'I', verdict: 'inserted', sql: FORGE },
  {
    kind: 'I',
    verdict: 'inserted',
    sql: `${FORGE}${OPEN}insert into audit.seal (org_id, seq, event_id, hash) values ('$org', $place, '${FORGED}', sha256('x'));`,
  },
  {
    kind: 'I',
    verdict: 'rewritten',
    sql: `${FORGE}${OPEN}insert into audit.seal (org_id, seq, event_id, hash) values ('$org', $place, '${FORGED}', sha256('x'));${RECHAIN}`,
  },
  { kind: 'T', verdict: 'cut', sql: CUT },
  { kind: 'T', verdict: 'cut', sql: CUT + SET_BACK },
  { kind: 'W', verdict: 'rewritten', sql: EDIT + LEAF + RECHAIN },
  { kind: 'W', verdict: 'cut', sql: DELETE_EVENT + DELETE_SEAL + CLOSE + RECHAIN },
  { kind: 'W', verdict: 'rewritten', sql: EXCHANGE('event_id = x.event_id') + RECHAIN, last: LENGTH - 1 },
];

interface Variant extends Way {
  readonly org: OrgId;
  readonly place: number;
}

const orgOf = (number: number) => parseOrgId(`0190f5d2-7b1c-7d34-9a51-${String(number).padStart(12, '0')}`);
const VARIANTS: readonly Variant[] = WAYS.flatMap((way) =>
  Array.from({ length: way.last ?? LENGTH }, (_, index) => ({ ...way, place: index + 1 })),
).flatMap((way, index) => [
  { ...way, org: orgOf(2 * index) },
  { ...way, org: orgOf(2 * index + 1) },
]);
const UNTOUCHED: readonly OrgId[] = Array.from({ length: 20 }, (_, index) => orgOf(100_000 + index));

const EVENT = `{"data":{"amount":"12.50"},"outcome":"success","target":{"id":"e1","type":"entry"},"type":"entry.posted"}`;
let f: Fixture;
const kept = new Map<OrgId, ChainHead>();

beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
  const orgs = [...VARIANTS.map(({ org }) => org), ...UNTOUCHED];
  await sql
    .raw(`do $$ declare o uuid; n integer := 0; begin
      perform set_config('ringfence.actor', 'user:alice', true);
      foreach o in array array[${orgs.map((org) => `'${org}'`).join()}]::uuid[] loop
        perform set_config('ringfence.org_id', o::text, true);
        for i in 1..${LENGTH} loop
          n := n + 1;
          perform audit.append(('0190f5d2-0000-7d34-9a51-' || lpad(n::text, 12, '0'))::uuid, '${EVENT}', true);
        end loop;
      end loop; end $$`)
    .execute(f.superuser);
  await f.audit.sealPending();
  const heads = await sql<{ org: string; seq: string; hash: string }>`
    select org_id as org, seq, encode(hash, 'hex') as hash from audit.head`.execute(f.superuser);
  for (const { org, seq, hash } of heads.rows) kept.set(parseOrgId(org), { seq: Number(seq), hash });
}, 120_000);
afterAll(() => f.close());

const verify = (org: OrgId, expectedHead?: ChainHead): Promise<ChainReport> =>
  f.inOrg(org, (trx) => f.audit.verify(trx, org, { ...(expectedHead !== undefined && { expectedHead }) }));

/** Whether a change needs a kept head to be seen. */
const adds = ({ sql: text }: Way) => text.includes(RECHAIN) || text.includes(SET_BACK);

test('every change is found as what it is, and no other chain is suspected', async () => {
  expect(VARIANTS.length).toBeGreaterThanOrEqual(300);
  await f.superuser.transaction().execute(async (trx) => {
    await sql`set local session_replication_role = replica`.execute(trx);
    for (const table of ['event', 'seal', 'head'])
      await sql.raw(`alter table audit.${table} disable trigger all`).execute(trx);
    await sql`alter table audit.event drop constraint event_leaf`.execute(trx);
    const script = VARIANTS.map(({ sql: text, org, place }) =>
      text
        .replaceAll(
          '$at',
          `org_id = '${org}' and id = (select event_id from audit.seal where org_id = '${org}' and seq = ${place})`,
        )
        .replaceAll('$org', org)
        .replaceAll('$place', String(place)),
    );
    await sql.raw(script.join('\n')).execute(trx);
  });
  const wrong: string[] = [];
  for (const variant of VARIANTS) {
    const { org, kind, verdict, place, told = LENGTH } = variant;
    const report = await verify(org, kept.get(org));
    const classes = [...new Set(report.findings.map((finding) => finding.class as string))];
    if (place > told ? report.ok : !classes.includes(verdict))
      wrong.push(`${kind} at ${place}: ${verdict}, not ${classes.join(' ')} (${variant.sql.slice(0, 90)})`);
    else if (!adds(variant) && (await verify(org)).ok)
      wrong.push(`${kind} at ${place} is not seen without a head`);
  }
  expect(wrong).toEqual([]);
  for (const org of UNTOUCHED)
    expect(await verify(org, kept.get(org))).toMatchObject({ ok: true, checked: LENGTH });
}, 240_000);
