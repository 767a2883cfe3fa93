/**
 * Started as a process of its own by the tests of two processes: API keys over the store, and the feed, on PostgreSQL,
 * with the clocks of the machine. Does what it is sent, one thing after the other, and answers.
 */
import { createSecretKey } from 'node:crypto';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { parseOrgId } from '../src/index.ts';
import { type ApiKeys, createApiKeys, type KeySelection } from '../src/keys/index.ts';
import { postgresApiKeyStore, postgresRevocations, settingContext } from '../src/postgres/index.ts';
import { Revocations } from '../src/session/index.ts';
import { MintedSession } from '../src/session/verified-session.ts';
import { FEED, keyPolicy, type keyResources } from './keys-fixture.ts';

/** How the process is set up. */
export interface ChildSetup {
  readonly appUrl: string;
  readonly systemUrl: string;
  readonly pepper: string;
  readonly recordMaxAgeMs: number;
  /** False: it hears of no revocation, and must find out by itself. */
  readonly follows: boolean;
  /** Kills itself (SIGKILL) when a rotation is stored, before anybody was told of it. */
  readonly diesWhenRotated?: boolean;
}

/** What it can be asked. */
export type ChildTask =
  | { readonly op: 'create'; readonly requestId: string; readonly lifetimeMs: number }
  | { readonly op: 'rotate'; readonly requestId: string; readonly id: string; readonly overlapMs: number }
  | { readonly op: 'revoke'; readonly selection: KeySelection }
  /** One verification. */
  | { readonly op: 'verify'; readonly key: string }
  /** Verifies until the key is refused. */
  | { readonly op: 'watch'; readonly key: string };

/** A verification: when it began and was over, epoch ms, and what it said. */
export interface Verification {
  readonly began: number;
  readonly over: number;
  readonly outcome: string;
}

/** Every verification that said `alive` before the one that did not, the last of them first. */
export type Watch = readonly Verification[];

const ORG = parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60');
const ISSUER = 'https://id.example.com';

const setup = JSON.parse(process.argv[2] ?? '') as ChildSetup;
const database = (connectionString: string) =>
  new Kysely<Record<string, never>>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString, max: 2 }) }),
  });
const system = database(setup.systemUrl);
const stored = postgresApiKeyStore({ db: system, inOrg: settingContext(database(setup.appUrl)) });
const feed = postgresRevocations({
  db: system,
  connect: async () => {
    const client = new pg.Client({ connectionString: setup.systemUrl });
    await client.connect();
    return client;
  },
});
const revocations = new Revocations({ publish: feed.publish });
if (setup.follows) await feed.follow(revocations);
const keys: ApiKeys<typeof keyResources> = createApiKeys({
  prefix: 'ldg',
  type: 'live',
  peppers: { current: 'p1', keys: { p1: createSecretKey(Buffer.from(setup.pepper, 'hex')) } },
  store: {
    insert: (record) => stored.insert(record),
    find: (id) => stored.find(id),
    rotate: async (rotation) => {
      const outcome = await stored.rotate(rotation);
      if (setup.diesWhenRotated === true) process.kill(process.pid, 'SIGKILL');
      return outcome;
    },
    revoke: (selection, at) => stored.revoke(selection, at),
    touch: (uses) => stored.touch(uses),
    list: (org) => stored.list(org),
  },
  policy: () => keyPolicy,
  directory: {
    assurance: async () => ({ plan: 'pro', ssoProven: false }) as const,
    connectionOrg: async () => undefined,
    member: async () => ({ id: 'user:olga', roles: ['owner'] as const }),
  },
  revocations,
  recordMaxAgeMs: setup.recordMaxAgeMs,
});

function request(requestId: string, lifetimeMs: number) {
  const now = Date.now();
  const session = new MintedSession({
    door: 'cookie',
    issuer: ISSUER,
    subject: 'olga',
    issuedAt: now,
    issuedNotBefore: now,
    expiresAt: now + 3_600_000,
    tokenId: undefined,
    sessionId: undefined,
    mfa: true,
    acr: undefined,
    authenticatedAt: now,
    ssoConnection: undefined,
  });
  return { session, org: ORG, requestId, lifetimeMs };
}

async function verification(key: string): Promise<Verification> {
  const began = Date.now();
  const outcome = await keys.verify(key).then(
    () => 'alive',
    (error: { readonly reason?: string }) => error.reason ?? String(error),
  );
  return { began, over: Date.now(), outcome };
}

async function watch(key: string): Promise<Watch> {
  let last: Verification | undefined;
  for (;;) {
    const each = await verification(key);
    if (each.outcome !== 'alive') return last === undefined ? [each] : [each, last];
    last = each;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function answer(task: ChildTask): Promise<unknown> {
  switch (task.op) {
    case 'create':
    case 'rotate': {
      const issued =
        task.op === 'create'
          ? await keys.create({ ...request(task.requestId, task.lifetimeMs), name: 'feed', scope: FEED })
          : await keys.rotate({
              ...request(task.requestId, 3_600_000),
              id: task.id,
              overlapMs: task.overlapMs,
            });
      return { id: issued.id, expiresAt: issued.expiresAt, key: issued.key.reveal() };
    }
    case 'revoke':
      return await keys.revoke(task.selection);
    case 'verify':
      return (await verification(task.key)).outcome;
    case 'watch':
      return await watch(task.key);
  }
}

process.on('message', ({ n, task }: { readonly n: number; readonly task: ChildTask }) => {
  answer(task).then(
    (value) => process.send?.({ n, value }),
    (error: { readonly reason?: string }) => process.send?.({ n, refused: error.reason ?? String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ ready: true });
