/**
 * Many sealed-looking events for tests and benchmarks of reading: records of the format with their leaves, put in by a
 * superuser. Their links have places but no true hashes.
 */

const START_MS = Date.UTC(2026, 0, 1);

/**
 * SQL that inserts `rows` events of one organisation, ten seconds apart from 2026-01-01 on: of 50 actors the first has
 * half of all, of 20 actions the first half, and every target about 40 events. Ids are UUIDv7 of their times, as those of real events.
 */
export function generatedEvents(org: string, rows: number, from = 1): string {
  return `
insert into audit.event (org_id, id, at, canon, leaf, actor, action, target)
select org_id, id, at, canon, sha256(decode('00', 'hex') || convert_to(canon, 'UTF8')), actor, action, target
  from (
    select g.*, format('{"actor":"%s","at":"%s","event":{"data":{"amount":"12.50","text":"%s"},"outcome":"success",'
             '"target":{"id":"%s","type":"entry"},"type":"%s"},"id":"%s","org":"%s","request":"req-1","v":1}',
             actor, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), repeat('lorem ipsum ', 40),
             substr(target, 7), action, id, org_id) as canon
      from (
        select '${org}'::uuid as org_id,
               (lpad(to_hex(${START_MS} + n::bigint * 10000), 12, '0') || '7' || substr(md5('${org}' || n), 6, 3) || '8'
                 || substr(md5('${org}' || n), 10, 15))::uuid as id,
               timestamptz '2026-01-01T00:00:00Z' + n * interval '10 seconds' as at,
               'user:' || md5(case when n % 2 = 0 then '0' else (n / 2 % 49 + 1)::text end) as actor,
               case when n % 2 = 0 then 'entry.posted' else 'entry.action' || n / 2 % 19 end as action,
               'entry:' || md5((n % ${Math.max(1, Math.ceil(rows / 40))})::text) as target
          from generate_series(${from}, ${from + rows - 1}) n) g) r;
insert into audit.seal (org_id, seq, event_id, hash)
select org_id, row_number() over (order by at, id) + ${from - 1}, id, leaf
  from audit.event where org_id = '${org}' and at >= timestamptz '2026-01-01T00:00:00Z' + ${from} * interval '10 seconds'`;
}
