/** Plays a way around the guards as one role, in a transaction that is rolled back, and says what the role met. */
import type { CompiledQuery, QueryResult } from 'kysely';
import pg from 'pg';
import {
  type Audit,
  type ChainHead,
  type EventCatalogue,
  type OrgId,
  type QueryExecutor,
  RingfenceAuditError,
} from '../../src/index.ts';
import type { Bypass, Met } from './bypasses.ts';

/** Where to play. */
export interface Stage {
  readonly client: pg.Client;
  readonly audit: Audit<EventCatalogue>;
  readonly org: OrgId;
  /** Head of the honest log. */
  readonly kept: ChainHead;
  /** What `{name}` stands for. */
  readonly names: Readonly<Record<string, string>>;
}

/** What the log says of the past: every event that existed when the head was kept. */
const HISTORY = `
select md5(string_agg(concat_ws('|', s.seq, s.event_id, s.hash, e.canon, e.leaf, e.actor, e.at), ',' order by s.seq, e.canon)) as history,
       count(*)::int as events
  from audit.seal s join audit.event e on e.org_id = s.org_id and e.id = s.event_id where s.org_id = $1 and s.seq <= $2`;

/** The client as what a Kysely is to the package. */
export function executorOf(client: pg.Client): QueryExecutor {
  return {
    isTransaction: true,
    executeQuery: async <R>({ sql, parameters }: CompiledQuery<R>): Promise<QueryResult<R>> => {
      const { rows } = await client.query(sql, [...parameters]);
      return { rows: rows as R[] };
    },
  };
}

/** Plays it. `then` runs before the rollback when it was not refused; with `goOn` a refusal ends one statement, not all. */
export async function play(
  { client, audit, org, kept, names }: Stage,
  { sql, copy }: Bypass,
  {
    then = async () => {},
    goOn = false,
  }: { readonly then?: () => Promise<void>; readonly goOn?: boolean } = {},
): Promise<{ readonly met: Met; readonly error: unknown }> {
  const filled = (text: string) =>
    Object.entries(names).reduce((one, [name, value]) => one.replaceAll(`{${name}}`, value), text);
  await client.query('begin');
  try {
    await client.query(
      `select set_config('ringfence.org_id', $1, true), set_config('ringfence.actor', 'user:mallory', true)`,
      [org],
    );
    const before = await historyOf(client, org, kept);
    for (const statement of sql) {
      await client.query('savepoint statement');
      try {
        if (statement.startsWith('copy')) await copyIn(client, filled(statement), filled(copy ?? ''));
        else await client.query(filled(statement));
      } catch (error) {
        if (!goOn) return { met: 'refused', error };
        await client.query('rollback to statement');
      }
    }
    await client.query('savepoint verified');
    const met = await verdict({ client, audit, org, kept, names }, before);
    await client.query('rollback to verified');
    await then();
    return { met, error: undefined };
  } finally {
    await client.query('rollback');
  }
}

async function verdict({ client, audit, org, kept }: Stage, before: string): Promise<Met> {
  const db = executorOf(client);
  try {
    const alone = await audit.verify(db, org);
    if (!alone.ok) return alone.findings[0]?.class ?? 'malformed';
    const withHead = await audit.verify(db, org, { expectedHead: kept });
    if (!withHead.ok) return `kept head: ${withHead.findings[0]?.class}`;
    if ((await historyOf(client, org, kept)) !== before) return 'not found';
    return withHead.head.seq === kept.seq ? 'no effect' : 'future only';
  } catch (error) {
    if (error instanceof RingfenceAuditError) throw error;
    return 'verification fails';
  }
}

async function historyOf(client: pg.Client, org: OrgId, kept: ChainHead): Promise<string> {
  const { rows } = await client.query(HISTORY, [org, kept.seq]);
  return JSON.stringify(rows);
}

/** COPY … FROM STDIN by the protocol; pg has no public call for it. */
async function copyIn(client: pg.Client, statement: string, data: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const query = new pg.Query(statement);
    Object.assign(query, {
      handleCopyInResponse: (connection: { sendCopyFromChunk(chunk: Buffer): void; endCopyFrom(): void }) => {
        connection.sendCopyFromChunk(Buffer.from(data));
        connection.endCopyFrom();
      },
    });
    query.on('end', () => resolve());
    query.on('error', reject);
    client.query(query);
  });
}
