/** A ledger whose audit trail runs: events on demand, a signing key, a bucket on loopback, processes that can be killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { localSigner, type Signer, verifierKeyOf } from '@ringfence/audit/checkpoint';
import { lockedBucket } from '@ringfence/audit/s3';
import { type CopyReport, verifyWriteOnceCopy, type WriteOnceStore } from '@ringfence/audit/write-once';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { type LoopbackS3, loopbackS3 } from '../../../packages/audit/test/loopback-s3.ts';
import { AUDIT_ORIGIN } from '../src/audit-trail.ts';
import { NORTHWIND } from '../src/provision.ts';
import { type Fixture, fixture } from './fixture.ts';

const PROGRAM = fileURLToPath(new URL('../src/audit-trail-process.ts', import.meta.url));
const CREDENTIALS = { accessKeyId: 'COPIER', secretAccessKey: 'copier-secret' };
/** As often as possible: what is waited for are lines, not times. */
const TIMES = { POLL_MS: '20', WATCH_MS: '20', EVERY_MS: '1' };

/** One line of a process or a duty. */
export interface Line {
  readonly line: string;
  readonly [name: string]: unknown;
}

export interface TrailProcess {
  readonly child: ChildProcess;
  readonly stderr: () => string;
  /** The next line of this kind that fits. */
  next(line: string, fits?: (one: Line) => boolean): Promise<Line>;
  /** Its exit code, once it has ended by itself. */
  ended(): Promise<number | null>;
  /** Ends it, and gives its exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

export interface TrailFixture extends Fixture {
  readonly s3: LoopbackS3;
  readonly signer: Signer;
  readonly logKey: string;
  readonly folder: string;
  readonly superuser: pg.Client;
  bucket(prefix?: string): WriteOnceStore;
  /** Records so many events of Northwind. */
  record(events: number): Promise<void>;
  /** Length of Northwind's chain. */
  length(): Promise<number>;
  /** Starts a process; its environment is what is given here and nothing else. */
  start(duty: string, env?: Readonly<Record<string, string>>): TrailProcess;
  readonly signing: Readonly<Record<string, string>>;
  readonly copying: Readonly<Record<string, string>>;
  /** Holds the copy and the database against each other. */
  verify(store: WriteOnceStore): Promise<CopyReport>;
}

export async function trailFixture(serverUrl: string): Promise<TrailFixture> {
  const f = await fixture(serverUrl);
  const s3 = await loopbackS3();
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-trail-'));
  const { privateKey } = generateKeyPairSync('ed25519');
  const keyFile = join(folder, 'signing-key.pem');
  writeFileSync(keyFile, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  const signer = localSigner({ name: AUDIT_ORIGIN, privateKey });
  const logKey = verifierKeyOf(signer);
  const superuser = new pg.Client({ connectionString: f.database.superuserUrl });
  await superuser.connect();
  const pool = new pg.Pool({ connectionString: f.database.copierUrl, max: 2 });
  pool.on('error', () => {});
  const copier = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  const members = f.ledger.tenancy.forOrg(NORTHWIND.id, { actor: 'system:test', kind: 'system' });
  const started: TrailProcess[] = [];
  return {
    ...f,
    ...{ s3, signer, logKey, folder, superuser },
    signing: { ...TIMES, DATABASE_URL: f.database.checkpointerUrl, SIGNING_KEY_FILE: keyFile },
    copying: {
      ...TIMES,
      DATABASE_URL: f.database.copierUrl,
      LOG_KEYS: logKey,
      COPY_TO: 's3://audit-copy/ledger',
      COPY_MODE: 'compliance',
      S3_ENDPOINT: s3.endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    },
    bucket: (prefix = 'ledger') =>
      lockedBucket({
        s3: { endpoint: s3.endpoint, region: 'us-east-1', forcePathStyle: true, credentials: CREDENTIALS },
        ...{ bucket: 'audit-copy', prefix, mode: 'compliance' },
      }),
    record: async (events) => {
      for (let at = 0; at < events; at += 1) {
        await f.ledger.audit.record(members, 'entry.searched', { outcome: 'success', data: { found: at } });
      }
    },
    length: async () => {
      const { rows } = await superuser.query('select seq from audit.head where org_id = $1', [NORTHWIND.id]);
      return Number(rows[0]?.seq ?? 0);
    },
    start: (duty, env = {}) => {
      const process = trailProcess(duty, env);
      started.push(process);
      return process;
    },
    verify: (store) =>
      verifyWriteOnceCopy({ store, org: NORTHWIND.id, origin: AUDIT_ORIGIN, keys: [logKey], db: copier }),
    close: async () => {
      await Promise.all(started.map((one) => one.end('SIGKILL')));
      await Promise.all([superuser.end(), copier.destroy()]);
      await s3.close();
      rmSync(folder, { recursive: true });
      await f.close();
    },
  };
}

function trailProcess(duty: string, env: Readonly<Record<string, string>>): TrailProcess {
  const child = spawn(process.execPath, ['--conditions=@ringfence/source', PROGRAM, duty], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...env },
  });
  const reader = createInterface({ input: child.stdout });
  const closed = Promise.all([once(child, 'close'), once(reader, 'close')]);
  const ended = async () => ((await closed)[0] as [number | null])[0];
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const lines: Line[] = [];
  const waiting = new Set<() => void>();
  reader.on('line', (text) => {
    lines.push(JSON.parse(text) as Line);
    for (const wake of waiting) wake();
  });
  let read = 0;
  return {
    child,
    stderr: () => stderr,
    next: async (line, fits = () => true) => {
      for (;;) {
        while (read < lines.length) {
          const one = lines[read++] as Line;
          if (one.line === line && fits(one)) return one;
        }
        await new Promise<void>((resolve, reject) => {
          const wake = () => {
            waiting.delete(wake);
            resolve();
          };
          waiting.add(wake);
          closed.then(() => reject(new Error(`it ended before a line ${line}: ${stderr}`)), reject);
        });
      }
    },
    ended,
    end: (signal) => {
      child.kill(signal);
      return ended();
    },
  };
}
