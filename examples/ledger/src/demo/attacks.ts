/**
 * The attacks of the demo. Each does what an attacker would do, on the running app, and returns what stopped it. An
 * attack that is not stopped says so: nothing here assumes that the guard holds. The tests run the same functions.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import pg from 'pg';
import { readAttachment } from '../attachments.ts';
import { approveEntry, readEntry } from '../entries.ts';
import type { Ledger } from '../ledger.ts';
import { STATEMENT_IMPORT } from '../queues.ts';
import { NOT_STOPPED, type Outcome, type Scene } from './scene.ts';
import type { Toured } from './tour.ts';

/** What the attacks work on. */
export interface Stage {
  readonly ledger: Ledger;
  /** The attacker's own organisation. */
  readonly mine: Toured;
  /** The organisation under attack. */
  readonly theirs: Toured;
  /** URL of the app role, as a leaked configuration would give it away. */
  readonly appUrl: string;
  /** URL of the queue's login, as a leaked configuration would give it away. */
  readonly queueUrl: string;
  /** URL of the owner of the tables. */
  readonly ownerUrl: string;
  /** URL of the database superuser. */
  readonly superuserUrl: string;
}

type Attack = Scene<Stage>;

/** Runs an attack that must be refused with an error. */
async function refused(run: () => Promise<unknown>): Promise<Outcome> {
  try {
    await run();
  } catch (error) {
    const { code, constraint, message } = error as { code?: string; constraint?: string; message: string };
    return { stopped: true, code: constraint ?? code ?? 'no code', answer: firstSentence(message) };
  }
  return { stopped: false, code: NOT_STOPPED, answer: 'the attack went through' };
}

function firstSentence(message: string): string {
  return message.split('\n')[0] ?? '';
}

async function withClient<T>(url: string, run: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}

const foreignEntry: Attack = {
  name: 'A member asks for an entry of the other organisation by its id',
  expected: 'ledger.entry_not_found',
  run: ({ ledger, mine, theirs }) =>
    refused(() => readEntry(ledger, mine.controller, theirs.entryIds[0] ?? '')),
};

const withoutContext: Attack = {
  name: 'A leaked app password: a statement without an organisation context',
  expected: 'tenancy.no_context',
  run: ({ appUrl }) =>
    refused(() => withClient(appUrl, (client) => client.query('select * from ledger.entry'))),
};

/** The injected expression replaces the context while the statement runs; the rows of the victim must not appear. */
const injection: Attack = {
  name: 'SQL injection that switches the organisation inside the statement',
  expected: 'tenancy.context_forged',
  run: ({ ledger, mine, theirs }) =>
    refused(async () => {
      const handle = ledger.tenancy.forOrg(mine.org.id, mine.bookkeeper.principal);
      const forged = `replace(current_setting('ringfence.context'), '${mine.org.id}', '${theirs.org.id}')`;
      const input = `x' or (select set_config('ringfence.context', ${forged}, true)) <> '`;
      await handle.transaction().execute(async (trx) => {
        const search = `select id from ledger.entry where memo = '${input}'`;
        await sql.raw(search).execute(trx); // the vulnerable statement: from here on the context is the attacker's
        await trx.selectFrom('ledger.entry').selectAll().execute();
      });
    }),
};

const keyRows: Attack = {
  name: 'SQL injection that shreds the keys of the other organisation',
  expected: '42501',
  run: ({ ledger, mine, theirs }) =>
    refused(async () => {
      const handle = ledger.tenancy.forOrg(mine.org.id, mine.bookkeeper.principal);
      await sql
        .raw(`update crypto.dek_version set state = 'shredded' where org_id = '${theirs.org.id}'`)
        .execute(handle);
    }),
};

const movedCiphertext: Attack = {
  name: 'A database superuser copies a sealed memo into another row of the same organisation',
  expected: 'crypto.decrypt_failed',
  run: async ({ ledger, mine, superuserUrl }) => {
    const [from = '', to = ''] = mine.entryIds.slice(2);
    const read = (id: string) => readEntry(ledger, mine.controller, id);
    await read(to); // opens before the move, so that only the move can be what breaks it
    const move = (client: pg.Client, source: string) =>
      client.query('update ledger.entry set memo = $2 where id = $1', [to, source]);
    return await withClient(superuserUrl, async (client) => {
      const memo = async (id: string) =>
        String((await client.query('select memo from ledger.entry where id = $1', [id])).rows[0]?.memo);
      const [own, foreign] = [await memo(to), await memo(from)];
      await move(client, foreign);
      const result = await refused(() => read(to));
      await move(client, own);
      return result;
    });
  },
};

const editedAudit: Attack = {
  name: 'A database superuser turns the triggers off and edits who approved',
  expected: 'audit.edited',
  run: async ({ ledger, theirs, superuserUrl }) => {
    const changed = await withClient(superuserUrl, async (client) => {
      await client.query('alter table audit.event disable trigger all');
      const forged = `replace(canon, '${theirs.controller.actor}', '${theirs.bookkeeper.actor}')`;
      const { rowCount } = await client.query(
        `update audit.event
            set canon = ${forged}, leaf = sha256('\\x00' || convert_to(${forged}, 'UTF8')), actor = $2
          where org_id = $1 and action = 'entry.approved'`,
        [theirs.org.id, theirs.bookkeeper.actor],
      );
      await client.query('alter table audit.event enable always trigger refuse_change');
      await client.query('alter table audit.event enable always trigger refuse_row_change');
      return rowCount;
    });
    if (changed === 0) throw new Error('the attack changed no row, so it shows nothing');
    const db = ledger.tenancy.forOrg(theirs.org.id, theirs.auditor.principal);
    const { findings } = await ledger.audit.verify(db, theirs.org.id);
    const [finding] = findings;
    if (finding === undefined) return { stopped: false, code: NOT_STOPPED, answer: 'the chain verifies' };
    return {
      stopped: true,
      code: `audit.${finding.class}`,
      answer: `the verifier finds event ${finding.seq} and ${findings.length - 1} more`,
    };
  },
};

const triggers: Attack = {
  name: 'The owner of the tables deletes from the audit log',
  expected: 'audit.append_only',
  run: ({ ownerUrl }) =>
    refused(() => withClient(ownerUrl, (client) => client.query('delete from audit.event'))),
};

const withoutPermission: Attack = {
  name: 'A member without the permission: the auditor approves an entry',
  expected: 'authz.denied',
  run: ({ ledger, mine }) =>
    refused(() => approveEntry(ledger, mine.auditor, mine.entryIds[3] ?? '', 'looks fine to me')),
};

/** The attacker can write to the queue and has a job of its own there; the worker runs what it is handed. */
const foreignJob: Attack = {
  name: "A leaked queue password: the attacker's import, rewritten into a job of the other organisation",
  expected: 'tenancy.job_altered',
  run: ({ ledger, mine, theirs, queueUrl }) =>
    withClient(queueUrl, async (client) => {
      const { rows } = await client.query(
        `select jsonb_set(data, '{envelope}', to_jsonb(replace(data->>'envelope', $1, $2))) as data
           from pgboss.job where name = $3 and data->>'envelope' like '%|' || $1 || '|%' limit 1`,
        [mine.org.id, theirs.org.id, STATEMENT_IMPORT],
      );
      const id = randomUUID();
      await ledger.queue.send(STATEMENT_IMPORT, rows[0].data, { id });
      for (;;) {
        const [job] = (await client.query('select state, output from pgboss.job where id = $1', [id])).rows;
        if (job.state === 'completed') return { stopped: false, code: NOT_STOPPED, answer: 'the job ran' };
        if (job.state === 'failed')
          return { stopped: true, code: job.output.code, answer: job.output.message };
        await delay(50);
      }
    }),
};

const foreignObject: Attack = {
  name: "A database superuser points an attachment's row at the object of the other organisation",
  expected: 'tenancy.storage_foreign_key',
  run: ({ ledger, mine, theirs, superuserUrl }) =>
    withClient(superuserUrl, async (client) => {
      const keyOf = async (id: string) =>
        (await client.query('select object_key from ledger.attachment where id = $1', [id])).rows[0]
          .object_key;
      const point = (key: string) =>
        client.query('update ledger.attachment set object_key = $2 where id = $1', [mine.attachmentId, key]);
      const read = () => readAttachment(ledger, mine.controller, mine.attachmentId, 0, 10);
      await read(); // opens before, so that only the foreign key can be what stops it
      const own = await keyOf(mine.attachmentId);
      await point(await keyOf(theirs.attachmentId));
      const result = await refused(read);
      await point(own);
      return result;
    }),
};

/** All attacks, in the order they are played: the one that damages the audit log comes last. */
export const attacks: readonly Attack[] = [
  foreignEntry,
  withoutContext,
  injection,
  keyRows,
  movedCiphertext,
  withoutPermission,
  foreignJob,
  foreignObject,
  triggers,
  editedAudit,
];
