/** The strongest change a database superuser can make to the audit log: everything in the database agrees afterwards. */
import pg from 'pg';

const TABLES = ['event', 'seal', 'head', 'checkpoint', 'tile', 'cosignature', 'copy'];

/** Every link anew from the changed leaves, then the head. */
const RECHAIN = `
do $$
declare
  link record;
  last bytea := decode(repeat('00', 32), 'hex');
begin
  for link in select s.org_id, s.seq, e.leaf from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id
               where s.org_id = current_setting('rewrite.org')::uuid order by s.seq loop
    last := sha256(decode('02', 'hex') || uuid_send(link.org_id) || int8send(link.seq) || last || link.leaf);
    update audit.seal set hash = last where org_id = link.org_id and seq = link.seq;
  end loop;
  update audit.head set hash = last where org_id = current_setting('rewrite.org')::uuid;
end $$`;

/** What is rewritten. */
export interface Rewrite {
  /** URL of the database superuser. */
  readonly superuserUrl: string;
  /** Whose log. */
  readonly org: string;
  /** The actor who approved. */
  readonly from: string;
  /** The actor who shall have approved. */
  readonly to: string;
}

/** Replaces who approved, and computes leaf, chain and head anew, with the triggers off and on again. */
export async function rewriteHistory({ superuserUrl, org, from, to }: Rewrite): Promise<void> {
  const forged = 'replace(canon, $2, $3)';
  await unguarded(superuserUrl, async (client) => {
    const { rowCount } = await client.query(
      `update audit.event
          set canon = ${forged}, leaf = sha256('\\x00' || convert_to(${forged}, 'UTF8')), actor = $3
        where org_id = $1 and action = 'entry.approved' and actor = $2`,
      [org, from, to],
    );
    if (rowCount === 0) throw new Error('the attack changed no row, so it shows nothing');
    await rechain(client, org);
  });
}

/** Computes every link anew, and the head, so that the chain adds up. */
export async function rechain(client: pg.Client, org: string): Promise<void> {
  await client.query("select set_config('rewrite.org', $1, true)", [org]);
  await client.query(RECHAIN);
}

/** Removes what was signed, cosigned and copied, as if it had never been: the next checkpoint is the first. */
export async function forgetSignatures({ superuserUrl, org }: Rewrite): Promise<void> {
  await unguarded(superuserUrl, async (client) => {
    for (const table of ['cosignature', 'checkpoint', 'tile', 'copy']) {
      await client.query(`delete from audit.${table} where org_id = $1`, [org]);
    }
  });
}

/** One transaction without triggers, which are as before when it ends. */
export async function unguarded(url: string, run: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query<{ on: string }>(
      `select format('alter table audit.%I enable always trigger %I', c.relname, t.tgname) as on
         from pg_trigger t join pg_class c on c.oid = t.tgrelid
        where c.relnamespace = 'audit'::regnamespace and c.relname = any($1) and t.tgenabled = 'A'`,
      [TABLES],
    );
    for (const table of TABLES) await client.query(`alter table audit.${table} disable trigger user`);
    await run(client);
    for (const { on } of rows) await client.query(on);
    await client.query('commit');
  } finally {
    await client.end();
  }
}
