/**
 * Faults of code, made by running a naive variant in the place of a guard, against the same database, queue and policies.
 * Each gives what the other layers answered; a row or object of the other organisation that comes back fails the test.
 */
import { STSClient } from '@aws-sdk/client-sts';
import pg from 'pg';
import type { PgBoss } from 'pg-boss';
import { orgContext } from '../../src/ambient/index.ts';
import { ContextSigner } from '../../src/context.ts';
import { createTenancy, type OrgDb } from '../../src/index.ts';
import { sendJob } from '../../src/pg-boss/index.ts';
import { createOrgStorage } from '../../src/s3/index.ts';
import { orgKey, type StorageDocuments } from '../../src/storage/index.ts';
import { ALICE, ORG_A, ORG_B, type Tables } from '../fixture.ts';
import type { JobsFixture } from '../jobs-fixture.ts';
import { documentAnswers, type Row } from './storage-documents.ts';

/** What answered, in the order of the table. */
export const CODE_LAYERS = [
  'database',
  'handle',
  'ambient context',
  'storage client',
  'bucket policy',
  'role policy',
  'session policy',
] as const;

type Answers = Partial<Record<(typeof CODE_LAYERS)[number], string>>;

interface CodeMutant {
  readonly breaks: string;
  readonly name: string;
  readonly run: (world: World) => Promise<Answers>;
}

/** What the faults are made in. */
export interface World {
  readonly f: JobsFixture;
  readonly boss: PgBoss;
  readonly documents: StorageDocuments;
}

/** Codes that mean a guard said no; a server that is not there, or a mistake in the attack, refuses nothing. */
const REFUSALS: ReadonlySet<unknown> = new Set([
  'tenancy.no_context',
  'tenancy.context_forged',
  'tenancy.context_expired',
  'tenancy.cross_org_write',
  'tenancy.unsafe_role',
  'tenancy.ambient_mismatch',
  'tenancy.storage_foreign_key',
  '42501',
]);

/** What a refusal is called. */
export async function refusal(run: Promise<unknown>): Promise<string> {
  try {
    await run;
  } catch (error) {
    const { code, constraint } = error as { code?: string; constraint?: string };
    const name = constraint ?? code;
    if (name === undefined || !REFUSALS.has(name)) throw error;
    return name;
  }
  throw new Error('nothing refused it');
}

/** Says so when every row is of the organisation, and that is asserted. */
function ownRows(rows: readonly { readonly org_id?: string | undefined }[], org: string): string {
  if (rows.some(({ org_id }) => org_id !== org)) throw new Error('a row of another organisation was read');
  return rows.length === 0 ? 'no row' : 'own rows only';
}

/** Runs bare SQL over a connection of its own. */
async function bare(url: string, ...statements: string[]): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const results: pg.QueryResult[] = [];
    for (const statement of statements) results.push(await client.query(statement));
    return results.at(-1) as pg.QueryResult;
  } finally {
    await client.end();
  }
}

/** A handle over one connection, which whoever runs first has used as he liked. */
async function nextBorrower<T>(
  f: JobsFixture,
  url: string,
  left: readonly string[],
  run: (db: OrgDb<Tables>) => Promise<T>,
): Promise<T> {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  pool.on('error', () => {});
  try {
    const client = await pool.connect();
    for (const statement of left) await client.query(statement);
    client.release();
    return await run(createTenancy<Tables>({ pool, contextKey: f.contextKey }).forOrg(ORG_B, ALICE));
  } finally {
    await pool.end();
  }
}

const notes = (db: OrgDb<Tables>) => db.selectFrom('app.note').selectAll().execute();
const contextAt = ({ f }: World, ms: number) =>
  `select set_config('ringfence.context', '${new ContextSigner(f.contextKey, 60_000).mintFor(ORG_A, ALICE).at(ms).value}', false)`;
const FOREIGN = orgKey(ORG_B, 'secret');
/** A row that the other organisation alone has. */
const ONLY_B = 'b1';

/** The client's own guard, which needs no server to refuse. */
async function storageClient({ documents }: World, key: string): Promise<string> {
  const credentials = { accessKeyId: 'A', secretAccessKey: 'B' };
  const sts = new STSClient({
    endpoint: 'http://127.0.0.1:1',
    region: 'us-east-1',
    credentials,
    maxAttempts: 1,
  });
  const storage = createOrgStorage({ ...documents, s3: { region: 'us-east-1' }, sts });
  try {
    return await refusal(storage.forOrg(ORG_A).get(key));
  } finally {
    await storage.close();
    sts.destroy();
  }
}

/** Sends a job through pg-boss, lets `alter` at its table, and takes it as a worker without any check would. */
async function delivered(
  { f, boss }: World,
  org: typeof ORG_A,
  alter: string,
): Promise<{ org: string; id: string; key: string }> {
  const request = { org, principal: ALICE, payload: { id: ONLY_B, body: 'x' } };
  const id = (await sendJob(f.jobs, boss, 'note.add', request)) ?? '';
  await bare(f.database.ownerUrl, `update pgboss.job set ${alter} where id = '${id}'`);
  const [job] = await boss.fetch<{ envelope: string; payload: string }>('note.add');
  if (job?.id !== id) throw new Error('the queue delivered another job');
  await boss.complete('note.add', id);
  const payload = JSON.parse(job.data.payload) as { id: string; key?: string };
  return { org: job.data.envelope.split('|')[2] ?? '', id: payload.id, key: payload.key ?? '' };
}

/** The faults. */
const MUTANTS: readonly CodeMutant[] = [
  {
    breaks: 'driver',
    name: 'statement past the handle, without context',
    run: async ({ f }) => ({ database: await refusal(bare(f.database.appUrl, 'select * from app.note')) }),
  },
  {
    breaks: 'driver',
    name: 'context set in a transaction of its own',
    run: async (world) => ({
      database: await refusal(
        bare(
          world.f.database.appUrl,
          contextAt(world, Date.now()).replace('false', 'true'),
          'select * from app.note',
        ),
      ),
    }),
  },
  {
    breaks: 'driver',
    name: 'context set for the session',
    run: async (world) => {
      const { appUrl } = world.f.database;
      const left = [contextAt(world, Date.now())];
      const rows = await nextBorrower(world.f, appUrl, left, notes);
      const late = bare(appUrl, contextAt(world, Date.now() - 120_000), 'select * from app.note');
      return { handle: ownRows(rows, ORG_B), database: await refusal(late) };
    },
  },
  {
    breaks: 'driver',
    name: 'context without signature',
    run: async ({ f }) => ({
      database: await refusal(notes(createTenancy<Tables>({ pool: f.pool }).forOrg(ORG_B, ALICE))),
    }),
  },
  {
    breaks: 'driver',
    name: 'connection as the owner of the tables',
    run: async ({ f }) => ({
      handle: await refusal(nextBorrower(f, f.database.ownerUrl, [], notes)),
      database: ownRows((await bare(f.database.ownerUrl, 'select * from app.note')).rows, ORG_A),
    }),
  },
  {
    breaks: 'driver',
    name: 'connection as a superuser',
    run: async ({ f }) => ({ handle: await refusal(nextBorrower(f, f.database.superuserUrl, [], notes)) }),
  },
  {
    breaks: 'application',
    name: 'query without its WHERE',
    run: async ({ f }) => ({ database: ownRows(await notes(f.tenancy.forOrg(ORG_A, ALICE)), ORG_A) }),
  },
  {
    breaks: 'application',
    name: 'org_id taken from the request body',
    run: async ({ f }) => {
      const row = { org_id: ORG_B, id: 'moved', body: 'x' };
      const insert = f.tenancy.forOrg(ORG_A, ALICE).insertInto('app.note').values(row).execute();
      return { database: await refusal(insert) };
    },
  },
  {
    breaks: 'application',
    name: 'handle of another organisation than the session',
    run: async ({ f }) => {
      const { runWithOrg } = orgContext<OrgDb<Tables>>();
      const handle = (org: typeof ORG_A) => f.tenancy.forOrg(org, ALICE);
      const nested = async () => runWithOrg(handle(ORG_B), () => notes(handle(ORG_B)));
      return { 'ambient context': await refusal(runWithOrg(handle(ORG_A), nested)) };
    },
  },
  {
    breaks: 'worker',
    name: 'organisation believed without its envelope',
    run: async ({ f }) => ({
      // Whoever reaches the queue with the rights of the application changes nothing.
      database: await refusal(bare(f.database.appUrl, `update pgboss.job set data = '{"org":"x"}'`)),
    }),
  },
  {
    breaks: 'worker',
    name: 'payload believed without its envelope',
    run: async (world) => {
      const payload = JSON.stringify(JSON.stringify({ id: ONLY_B, key: FOREIGN }));
      const job = await delivered(world, ORG_A, `data = jsonb_set(data, '{payload}', '${payload}')`);
      const db = world.f.tenancy.forOrg(job.org as typeof ORG_A, ALICE);
      const rows = await db.selectFrom('app.note').selectAll().where('id', '=', job.id).execute();
      return { database: ownRows(rows, ORG_A), 'storage client': await storageClient(world, job.key) };
    },
  },
  {
    breaks: 'worker',
    name: "worker of one organisation without assertion, given another's job",
    run: async (world) => {
      const job = await delivered(world, ORG_B, 'priority = 0');
      if (job.org !== ORG_B) throw new Error('the job is not of the other organisation');
      const db = world.f.tenancy.forOrg(ORG_A, ALICE);
      const rows = await db.selectFrom('app.note').selectAll().where('id', '=', job.id).execute();
      return { database: ownRows(rows, ORG_A), 'storage client': await storageClient(world, FOREIGN) };
    },
  },
  ...(
    [
      ['client asks for any key', { action: 's3:GetObject', key: FOREIGN }],
      ['client writes to any key', { action: 's3:PutObject', key: FOREIGN }],
      ['client lists any prefix', { action: 's3:ListBucket', prefix: `org/${ORG_B}/` }],
      ['client lists without a prefix', { action: 's3:ListBucket' }],
    ] as const
  ).map(
    ([name, request]): CodeMutant => ({
      breaks: 'storage client',
      name,
      run: async ({ documents }) => documentAnswers(documents, ORG_A, { tag: ORG_A, ...request }),
    }),
  ),
  {
    breaks: 'sessions',
    name: 'session without its session policy',
    run: async (world) => {
      const { 'session policy': _, ...answers } = documentAnswers(world.documents, ORG_A, {
        action: 's3:GetObject',
        key: FOREIGN,
        tag: ORG_A,
      });
      return { ...answers, 'storage client': await storageClient(world, FOREIGN) };
    },
  },
  {
    breaks: 'sessions',
    name: 'session without the tag of its organisation',
    run: async (world) => ({
      ...documentAnswers(world.documents, ORG_A, { action: 's3:GetObject', key: FOREIGN }),
      'storage client': await storageClient(world, FOREIGN),
    }),
  },
  {
    breaks: 'sessions',
    name: "the application's own credentials instead of a session",
    run: async (world) => {
      const { 'bucket policy': answer = '' } = documentAnswers(world.documents, ORG_A, {
        action: 's3:GetObject',
        key: FOREIGN,
        principal: world.documents.appArn,
      });
      return { 'bucket policy': answer, 'storage client': await storageClient(world, FOREIGN) };
    },
  },
];

/** Makes every fault, and gives a row of the table for each. */
export async function scoreCode(world: World): Promise<Row[]> {
  const only = { org_id: ORG_B, id: ONLY_B, body: 'x' };
  await world.f.tenancy.forOrg(ORG_B, ALICE).insertInto('app.note').values(only).execute();
  const rows: Row[] = [];
  for (const { breaks, name, run } of MUTANTS) {
    const answers = await run(world).catch((cause: unknown) => {
      throw new Error(`${breaks}: ${name}`, { cause });
    });
    rows.push({ breaks, name, caughtBy: CODE_LAYERS.map((layer) => answers[layer]) });
  }
  return rows;
}
