/**
 * `verify --directory` and `verify --bucket` on a copy that was changed in every way the verification tells apart: each class
 * of finding is told by the command, with exit code 1, for each form of store that can have it. And everything that the
 * command refuses, with exit code 2.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { localSigner, verifierKeyOf } from '../src/checkpoint/index.ts';
import { runCli } from '../src/cli/run-cli.ts';
import type { OrgId } from '../src/index.ts';
import type { CopyFindingClass } from '../src/write-once/index.ts';
import { ORIGIN } from './checkpoint-fixture.ts';
import { type CopyAttack, copyAttacks, copyOf, DEPLOYMENT, KEPT_SIZE, noteOf } from './copy-corpus.ts';
import { bucketAt, type CopyFixture, CREDENTIALS, copyFixture } from './copy-fixture.ts';
import { honest } from './export-corpus.ts';
import { ORG_A, ORG_B } from './fixture.ts';
import { type LoopbackS3, loopbackS3, type MemoryVersion } from './loopback-s3.ts';
import { newSigner } from './memory-log.ts';

/** Every class there is, and where the command has told of it. */
const CLASSES: Readonly<Record<CopyFindingClass, readonly ('directory' | 'bucket' | 'database')[]>> = {
  missing: ['directory', 'bucket', 'database'],
  altered: ['directory', 'bucket', 'database'],
  foreign: ['directory', 'bucket', 'database'],
  gap: ['directory', 'bucket', 'database'],
  chain: ['directory', 'bucket', 'database'],
  unsigned: ['directory', 'bucket', 'database'],
  root_mismatch: ['directory', 'bucket', 'database'],
  cut: ['directory', 'bucket'],
  rewritten: ['directory', 'bucket'],
  delete_marker: ['bucket', 'database'],
  overwritten: ['bucket', 'database'],
  unlocked: ['bucket', 'database'],
  retention_shortened: ['bucket', 'database'],
  bypassed: ['database'],
  database: ['database'],
};
const told = new Map<string, Set<string>>();
function tell(where: string, out: string): void {
  for (const [, name = ''] of out.matchAll(/^([a-z_]+)(?: \S+)?: /gm))
    told.set(name, (told.get(name) ?? new Set()).add(where));
}

const signer = newSigner(DEPLOYMENT);
const key = verifierKeyOf(signer);
const folder = mkdtempSync(join(tmpdir(), 'verify-copy-'));
let s3: LoopbackS3;

beforeAll(async () => {
  s3 = await loopbackS3();
  vi.stubEnv('AWS_REGION', 'us-east-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', CREDENTIALS.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', CREDENTIALS.secretAccessKey);
});
beforeEach(() => {
  s3.objects.clear();
  s3.fault = undefined;
});
afterAll(async () => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
  await s3.close();
});

async function verify(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const result = { out: '', err: '' };
  const into = (name: 'out' | 'err') =>
    new Writable({
      write: (chunk, _, done) => {
        result[name] += chunk;
        done();
      },
    });
  const io = { directory: folder, stdout: into('out'), stderr: into('err') };
  return { code: await runCli(['verify', ...args], io), ...result };
}

/** The attacks of the corpus: of each kind and verdict the first, so that each refusal has one of each kind. */
let chosen: Promise<readonly CopyAttack[]> | undefined;
function attacks(): Promise<readonly CopyAttack[]> {
  chosen ??= chooseAttacks();
  return chosen;
}
async function chooseAttacks(): Promise<readonly CopyAttack[]> {
  const first = new Map<string, CopyAttack>();
  for await (const attack of copyAttacks(honest(), signer, 0)) {
    const which = `${attack.kind} ${attack.verdict}`;
    if (!first.has(which)) first.set(which, attack);
  }
  return [...first.values()];
}

const TRUST = ['--org', ORG_A, '--origin', DEPLOYMENT, '--key', key];

/** Puts a copy where a command reads it, and gives the arguments that name it. */
const PLACES: Readonly<Record<'directory' | 'bucket', (copy: CopyAttack['copy']) => readonly string[]>> = {
  directory: (copy) => {
    const root = mkdtempSync(join(folder, 'copy-'));
    for (const [name, body] of copy) {
      mkdirSync(dirname(join(root, ORG_A, name)), { recursive: true });
      writeFileSync(join(root, ORG_A, name), body);
    }
    return ['--directory', root];
  },
  bucket: (copy) => {
    for (const [name, body] of copy)
      s3.objects.set(`ledger/${ORG_A}/${name}`, [versionOf(Buffer.from(body))]);
    return ['--bucket', 's3://audit-copy/ledger', '--endpoint', s3.endpoint];
  },
};
let versions = 0;
const versionOf = (body: Buffer): MemoryVersion => ({
  ...{ id: `v${++versions}`, at: Date.now(), body, meta: undefined, marker: false },
  ...{ mode: 'COMPLIANCE', until: '2099-01-01T00:00:00Z' },
});

describe.each(['directory', 'bucket'] as const)('a copy of the corpus in a %s', (place) => {
  beforeAll(async () => {
    writeFileSync(join(folder, 'kept.note'), await noteOf(honest(), KEPT_SIZE, signer));
  });

  test('holds as it was made: exit code 0', async () => {
    const where = PLACES[place](await copyOf(honest(), signer));
    const { code, out, err } = await verify(...where, ...TRUST, '--note', 'kept.note');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^ok: \d+ objects, 14 links, 0 findings\nsigned up to 14, head 14:[0-9a-f]{64}\n$/);
    expect((await verify(...where, ...TRUST)).out).toContain(
      'neither a kept note nor the database was given',
    );
  });

  test('does not hold with any kind of change: exit code 1, and the class of it', async () => {
    const wrong: string[] = [];
    const kinds = new Set<string>();
    for (const { kind, what, verdict, copy } of await attacks()) {
      s3.objects.clear();
      const where = PLACES[place](copy);
      const { code, out, err } = await verify(...where, ...TRUST, '--note', 'kept.note');
      const json = JSON.parse((await verify(...where, ...TRUST, '--note', 'kept.note', '--json')).out);
      const classes = json.findings.map((finding: { class: string }) => finding.class);
      const said = new RegExp(`^${verdict}(?: \\S+)?: .+$`, 'm').test(out) && out.includes('\nNOT OK: ');
      if (code !== 1 || err !== '' || !said || json.ok !== false || !classes.includes(verdict))
        wrong.push(`${kind} ${what}: ${verdict}, not ${code} ${out}${err}`);
      tell(place, out);
      kinds.add(kind);
    }
    expect(wrong).toEqual([]);
    expect([...kinds].toSorted()).toEqual(['B', 'D', 'E', 'I', 'R', 'S', 'T', 'W']);
  }, 120_000);
});

describe('a copy of a log in its database', () => {
  let f: CopyFixture;
  let org: OrgId;
  let where: readonly string[];
  let honestObjects: Map<string, MemoryVersion[]>;
  beforeAll(async () => {
    f = await copyFixture(inject('databaseUrl'));
    org = await f.signed(3, 7);
    await f.copyTo(bucketAt(s3.endpoint)).copy(org);
    honestObjects = new Map(s3.objects);
    where = ['--bucket', 's3://audit-copy/ledger', '--endpoint', s3.endpoint];
    where = [...where, '--org', org, '--origin', ORIGIN, '--key', f.keyLine];
    writeFileSync(join(folder, 'own.note'), (await f.checkpointer.newest(org))?.note ?? '');
  });
  afterAll(async () => await f?.close());
  beforeEach(() => {
    for (const [name, found] of honestObjects)
      s3.objects.set(
        name,
        found.map((version) => ({ ...version })),
      );
  });

  const place = (seq: number) => String(seq).padStart(16, '0');
  const SEGMENT = `segments/${place(3)}-${place(7)}.ndjson`;
  const of = (name: string): MemoryVersion[] => s3.objects.get(`ledger/${org}/${name}`) ?? [];
  const put = (name: string, ...found: readonly MemoryVersion[]) =>
    s3.objects.set(`ledger/${org}/${name}`, [...found]);
  const changed = (name: string, change: Partial<MemoryVersion>) =>
    put(name, ...of(name).map((version) => ({ ...version, ...change })));
  const bodyOf = (name: string) => of(name)[0]?.body ?? Buffer.alloc(0);

  test.each<[CopyFindingClass, readonly ('bucket' | 'database')[], () => unknown]>([
    [
      'delete_marker',
      ['bucket', 'database'],
      () => put(SEGMENT, { ...versionOf(Buffer.alloc(0)), marker: true }, ...of(SEGMENT)),
    ],
    ['overwritten', ['bucket', 'database'], () => put(SEGMENT, versionOf(bodyOf(SEGMENT)), ...of(SEGMENT))],
    ['unlocked', ['bucket', 'database'], () => changed(SEGMENT, { mode: undefined })],
    [
      'retention_shortened',
      ['bucket', 'database'],
      () => changed(SEGMENT, { until: '2027-01-01T00:00:00Z' }),
    ],
    ['bypassed', ['database'], () => s3.objects.delete(`ledger/${org}/${SEGMENT}`)],
    [
      'altered',
      ['database'],
      () => changed(SEGMENT, { body: Buffer.from(bodyOf(SEGMENT).toString().replace('success', 'failure')) }),
    ],
    ['foreign', ['bucket', 'database'], () => put('readme.txt', versionOf(Buffer.from('x')))],
    ['gap', ['bucket', 'database'], () => s3.objects.delete(`ledger/${org}/${SEGMENT}`)],
    [
      'chain',
      ['bucket', 'database'],
      () => changed(SEGMENT, { body: bodyOf(`segments/${place(0)}-${place(3)}.ndjson`) }),
    ],
    [
      'unsigned',
      ['bucket', 'database'],
      () => changed(`checkpoint/${place(7)}`, { body: bodyOf(`checkpoint/${place(3)}`) }),
    ],
    [
      'root_mismatch',
      ['bucket', 'database'],
      () => changed(SEGMENT, { body: Buffer.from(bodyOf(SEGMENT).toString().replace('success', 'failure')) }),
    ],
    ['missing', ['bucket', 'database'], () => s3.objects.clear()],
  ])('%s is told by the command, by the bucket alone or with the database', async (name, places, attack) => {
    attack();
    for (const from of places) {
      const database = from === 'database' ? ['--database', f.database.queueUrl] : [];
      const { code, out, err } = await verify(...where, ...database);
      expect({ code, err }).toEqual({ code: 1, err: '' });
      expect(out).toMatch(new RegExp(`^${name}(?: \\S+)?: .+$`, 'm'));
      tell(from, out);
    }
  });

  test('a database that is not what was copied is told', async () => {
    expect(await verify(...where, '--database', f.database.queueUrl, '--note', 'own.note')).toMatchObject({
      code: 0,
      err: '',
    });
    await f.grow(org, 1);
    const next = await f.checkpointer.checkpoint(org);
    writeFileSync(join(folder, 'next.note'), next?.note ?? '');
    const cut = await verify(...where, '--note', 'next.note');
    expect([cut.code, cut.out]).toEqual([1, expect.stringMatching(/^cut: /)]);
    await f.tamper(async (trx) => {
      await trx.executeQuery({
        ...{ sql: 'delete from audit.checkpoint where org_id = $1 and size = 7', parameters: [org] },
        ...{ query: { kind: 'RawNode' } as never, queryId: { queryId: 'q' } },
      });
    });
    const { code, out } = await verify(...where, '--database', f.database.queueUrl);
    expect(code).toBe(1);
    tell('database', out);
    expect(out).toMatch(/^database: .*checkpoint of 7/m);
  });

  test('whoever does not see the log is told so before anything is read', async () => {
    s3.seen.length = 0;
    const { code, err } = await verify(...where, '--database', f.database.appUrl);
    expect([code, err]).toEqual([2, expect.stringMatching(/^audit\.(other_org|no_context): /)]);
    expect(s3.seen).toEqual([]);
    const other = f.inOrg(ORG_B, (db) => f.verify(org, bucketAt(s3.endpoint), { db }));
    await expect(other).rejects.toMatchObject({ code: 'audit.other_org' });
    expect(s3.seen).toEqual([]);
  });
});

test('every class of finding was told by the command, in every form that can have it', () => {
  const seen = Object.fromEntries(
    Object.keys(CLASSES).map((name) => [name, [...(told.get(name) ?? [])].toSorted()]),
  );
  const all = Object.fromEntries(Object.entries(CLASSES).map(([name, where]) => [name, where.toSorted()]));
  expect(seen).toEqual(all);
  expect([...told.keys()].filter((name) => !(name in CLASSES))).toEqual([]);
});

describe('is refused with exit code 2 and one line, before anything is read', () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const stranger = localSigner({ name: DEPLOYMENT, privateKey });
  const without = (option: string) => TRUST.filter((_, at) => TRUST[at - (at % 2)] !== option);
  const BUCKET = ['--bucket', 's3://audit-copy/ledger', '--endpoint', 'http://127.0.0.1:1'];
  beforeAll(async () => {
    writeFileSync(join(folder, 'kept.note'), await noteOf(honest(), KEPT_SIZE, signer));
    writeFileSync(join(folder, 'strange.note'), await noteOf(honest(), KEPT_SIZE, stranger));
    writeFileSync(join(folder, 'no.note'), 'no note');
  });

  test.each<[string, readonly string[], RegExp]>([
    [
      'no organisation',
      [...BUCKET, ...without('--org')],
      /^cli\.usage: a copy is verified with --org, --origin and --key/,
    ],
    ['no origin', [...BUCKET, ...without('--origin')], /^cli\.usage: a copy is verified with/],
    ['no key', [...BUCKET, ...without('--key')], /^cli\.usage: a copy is verified with/],
    [
      'two places',
      [...BUCKET, '--directory', '.', ...TRUST],
      /^cli\.usage: a copy is either in --bucket or in --directory/,
    ],
    ['a bucket without a scheme', ['--bucket', 'audit-copy', ...TRUST], /^cli\.usage: --bucket is s3:/],
    ['a bucket without a name', ['--bucket', 's3://', ...TRUST], /^cli\.usage: --bucket is s3:/],
    [
      'an organisation that is none',
      ['--directory', '.', ...without('--org'), '--org', 'x'],
      /^cli\.usage: --org is the UUID/,
    ],
    ['a key that is none', ['--directory', '.', ...without('--key'), '--key', 'x+y+z'], /^cli\.usage: /],
    [
      'a directory that is not there',
      ['--directory', 'absent', ...TRUST],
      /^cli\.file: there is no directory /,
    ],
    ['a file in its place', ['--directory', 'kept.note', ...TRUST], /^cli\.file: there is no directory /],
    [
      'a note that is not there',
      ['--directory', '.', ...TRUST, '--note', 'absent.note'],
      /^cli\.file: ENOENT/,
    ],
    ['a note that is none', ['--directory', '.', ...TRUST, '--note', 'no.note'], /^cli\.usage: /],
    ['a note by another key', ['--directory', '.', ...TRUST, '--note', 'strange.note'], /^cli\.usage: /],
    [
      'a note of another log',
      ['--directory', '.', ...without('--org'), '--org', ORG_B, '--note', 'kept.note'],
      /^cli\.usage: /,
    ],
    [
      'a head, which a copy has none of',
      ['--directory', '.', ...TRUST, '--head', `1:${'0'.repeat(64)}`],
      /^cli\.usage: Unknown option '--head'/,
    ],
    [
      'an export beside it',
      ['--directory', '.', ...TRUST, 'export.ndjson'],
      /^cli\.usage: Unexpected argument/,
    ],
    [
      'a database that is not there',
      ['--directory', '.', ...TRUST, '--database', 'postgres://u:secret@127.0.0.1:1/x'],
      /^cli\.database: no connection to the database/,
    ],
    ['a store that does not answer', [...BUCKET, ...TRUST], /^audit\.copy_unavailable: /],
  ])('%s', async (_, args, line) => {
    const { code, out, err } = await verify(...args);
    expect([code, out, err.split('\n').length]).toEqual([2, '', 2]);
    expect(err).toMatch(line);
    expect(err).not.toMatch(/secret| at .*:\d+/);
    expect(JSON.parse((await verify(...args, '--json')).out)).toMatchObject({
      error: { code: err.split(':')[0] },
    });
  });
});
