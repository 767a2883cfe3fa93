/** The golden schema with break-glass access to it: a role, policies, a key, an audit table, two seeded organisations. */
import { randomBytes } from 'node:crypto';
import { type Kysely, sql, type Transaction } from 'kysely';
import pg from 'pg';
import {
  type BreakGlass,
  type BreakGlassClosed,
  type BreakGlassIssuer,
  type BreakGlassKey,
  type BreakGlassOpened,
  type BreakGlassRequest,
  breakGlass,
  breakGlassPolicies,
  createBreakGlassIssuer,
  type OrgId,
} from '../src/break-glass/index.ts';
import { breakGlassMigrations, installBreakGlassKey } from '../src/migrations/index.ts';
import { ORG_A, ORG_B } from './fixture.ts';
import { type Golden, golden } from './golden-schema.ts';

export interface Tables {
  'app.folder': { org_id: string; id: string; name: string };
  'app.setting': { org_id: string; locale: string };
  'app.note': { org_id: string; id: string; title: string };
}

export type Trail = BreakGlassOpened | BreakGlassClosed;

export interface BreakGlassFixture {
  readonly golden: Golden;
  readonly owner: Kysely<unknown>;
  readonly key: BreakGlassKey;
  readonly issuer: BreakGlassIssuer;
  /** Name and URL of the break-glass role. */
  readonly role: string;
  readonly url: string;
  readonly pool: pg.Pool;
  readonly sessions: BreakGlass<Tables>;
  /** Issues a token for organisation A with defaults. */
  token(request?: Partial<BreakGlassRequest>): string;
  /** The committed audit rows of a token, oldest first. */
  trail(tokenId: string): Promise<{ org: string; actor: string; record: Trail }[]>;
  /** Runs statements on a fresh raw connection of the break-glass role, one after the other; answers the last one's rows. */
  raw(...statements: string[]): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

/** Folder, note and setting of an organisation, written past row-level security. */
function seed(org: OrgId): string {
  return `insert into app.folder values ('${org}', '${org}', 'folder of ${org}');
    insert into app.note (org_id, id, title) values ('${org}', '${org}', 'note of ${org}');
    insert into app.setting values ('${org}', 'en');`;
}

/** The port of the tests: inserts who the database says is acting, and what the session says it did. */
export async function recordInto(trx: Transaction<Tables>, record: Trail): Promise<void> {
  await sql`insert into ops.trail (org_id, actor, token_id, record)
    select org_id, actor, request_id::uuid, ${JSON.stringify(record)} from tenancy.break_glass_context()`.execute(
    trx,
  );
}

export async function breakGlassFixture(serverUrl: string): Promise<BreakGlassFixture> {
  const g = await golden(serverUrl);
  const suffix = randomBytes(4).toString('hex');
  const role = `break_glass_${suffix}`;
  const password = randomBytes(16).toString('hex');
  const url = new URL(g.database.appUrl);
  url.username = role;
  url.password = password;
  await sql
    .raw(`create role ${role} login nosuperuser nobypassrls password '${password}';
      grant connect on database "${url.pathname.slice(1)}" to ${role};
      ${seed(ORG_A)}${seed(ORG_B)}`)
    .execute(g.superuser);
  for (const { up } of breakGlassMigrations({ role })) await sql.raw(up).execute(g.owner);
  await sql
    .raw(`${breakGlassPolicies(g.schema, { role, write: ['app.folder', 'app.reading'] })}
      create schema ops; grant usage on schema ops to ${role};
      create table ops.trail (at bigint generated always as identity primary key, org_id uuid, actor text,
        token_id uuid, record jsonb);
      grant insert on ops.trail to ${role};`)
    .execute(g.owner);
  const key = { id: 'bg1', secret: new Uint8Array(randomBytes(32)) };
  await installBreakGlassKey(g.owner, key);
  const issuer = createBreakGlassIssuer({ key });
  const pool = new pg.Pool({ connectionString: url.href, max: 2 });
  pool.on('error', () => {});
  return {
    golden: g,
    owner: g.owner,
    key,
    issuer,
    role,
    url: url.href,
    pool,
    sessions: breakGlass<Tables>({ pool, audit: { record: recordInto } }),
    token: (request = {}) => issuer.issue({ ...REQUEST, ...request }).token,
    trail: async (tokenId) => {
      const { rows } = await sql<{ org: string; actor: string; record: Trail }>`
        select org_id as org, actor, record from ops.trail where token_id = ${tokenId} order by at`.execute(
        g.owner,
      );
      return rows;
    },
    raw: async (...statements) => {
      const client = new pg.Client({ connectionString: url.href });
      client.on('error', () => {});
      await client.connect();
      try {
        let rows: Record<string, unknown>[] = [];
        for (const statement of statements) ({ rows } = await client.query(statement));
        return rows;
      } finally {
        await client.end();
      }
    },
    close: async () => {
      await pool.end();
      await sql.raw(`drop owned by ${role}; drop role ${role}`).execute(g.superuser);
      await g.close();
    },
  };
}

export const REQUEST: BreakGlassRequest = {
  org: ORG_A,
  actor: 'operator:grace',
  approvedBy: 'operator:ada',
  reason: 'import | fails – for “this” customer',
  ticket: 'INC-4711',
  lifetimeMs: 600_000,
};

/** Id of a token, without trusting it. */
export function idOf(token: string): string {
  return token.split('|')[2] ?? '';
}
