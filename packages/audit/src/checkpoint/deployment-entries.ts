/**
 * Entries of the deployment's log. They are stored, with place and salt, before anything over them is signed: so the root
 * of a size is decided once, whatever dies or runs at the same time afterwards.
 */

import type { RandomBytes } from '../event-id.ts';
import type { QueryExecutor } from '../executor.ts';
import { openCheckpoint } from '../verify/checkpoint.ts';
import { sameBytes } from '../verify/link.ts';
import type { VerifierKey } from '../verify/signed-note.ts';
import { DEPLOYMENT, rowsOf, sizeOf } from './database.ts';

/** Newest checkpoint of each organisation that has no entry yet. */
const MISSING = `
select c.org_id::text as org, c.size, c.root, c.note from audit.head h
 cross join lateral (select k.org_id, k.size, k.root, k.note from audit.checkpoint k where k.org_id = h.org_id
                      order by k.size desc limit 1) c
 where c.org_id <> $1::uuid
   and not exists (select from audit.deployment_entry d where d.org_id = c.org_id and d.size = c.size)
 order by c.org_id limit 10000`;

const ADD = `
insert into audit.deployment_entry (org_id, size, root, salt, place)
select n.org, n.size, decode(n.root, 'hex'), decode(n.salt, 'hex'),
       (select coalesce(max(d.place) + 1, 0) from audit.deployment_entry d) + n.row - 1
  from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) with ordinality n(org, size, root, salt, row)`;

interface Missing {
  readonly org: string;
  readonly size: unknown;
  readonly root: Uint8Array;
  readonly note: string;
}

/**
 * Adds an entry for each newest checkpoint that has none, and returns the organisations whose stored checkpoint is not the
 * signed one: they get no entry, and hold up nobody.
 */
export async function addEntries(
  db: QueryExecutor,
  trust: { readonly origin: string; readonly keys: readonly VerifierKey[] },
  random: RandomBytes,
): Promise<string[]> {
  const missing = await rowsOf<Missing>(db, MISSING, [DEPLOYMENT]);
  const honest: Missing[] = [];
  const refused: string[] = [];
  for (const row of missing) {
    const opened = await openCheckpoint(row.note, { origin: `${trust.origin}/${row.org}`, keys: trust.keys });
    const agrees =
      opened.ok && opened.checkpoint.size === sizeOf(row.size) && sameBytes(opened.checkpoint.root, row.root);
    if (agrees) honest.push(row);
    else refused.push(row.org);
  }
  if (honest.length > 0) {
    await rowsOf(db, ADD, [
      honest.map(({ org }) => org),
      honest.map(({ size }) => sizeOf(size)),
      honest.map(({ root }) => Buffer.from(root).toString('hex')),
      honest.map(() => Buffer.from(random(32)).toString('hex')),
    ]);
  }
  return refused;
}
