import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { OrgId } from '../src/index.ts';
import { createKeyOperations, isIntactShredCertificate } from '../src/operations/index.ts';
import { CliStage, CONFIG } from './cli-setup.ts';
import { CELL, codeOfAsync } from './keyring-setup.ts';
import { anyOrg, manyOrgs } from './operations-setup.ts';

let stage: CliStage;
beforeAll(async () => {
  stage = await CliStage.open(inject('databaseUrl'));
});
afterAll(() => stage.close());

/** KEKs of all living wraps of an organisation. */
async function keksOf(id: OrgId): Promise<readonly string[]> {
  return (await stage.database.store.load(id)).flatMap(({ wraps }) => wraps.map(({ kekUri }) => kekUri));
}

describe('status', () => {
  it('shows versions, wraps and KEKs to a person, without colour in a pipe', async () => {
    const id = await stage.madeOrg();
    const { code, stdout, stderr } = await stage.cli(['status', id]);
    expect([code, stderr]).toEqual([0, '']);
    const [{ keyId } = { keyId: '' }] = await stage.database.store.load(id);
    expect(stdout).toContain(`${id}  live`);
    expect(stdout).toMatch(new RegExp(`1 +active +${keyId} +\\d{4}-.* +local:a`));
    expect(stdout).toContain('KEK local:a: enabled');
    expect(stdout).not.toContain('\u001b');
  });

  it('gives one JSON document, and 1 for an organisation without keys', async () => {
    const [id, stranger] = [await stage.madeOrg(), anyOrg()];
    const { code, stdout } = await stage.cli(['status', id, stranger, '--json'], {
      env: { KEK_FOR: 'local:b' },
    });
    expect(code).toBe(1);
    const states = (JSON.parse(stdout) as { orgs: { org: string; state: string }[] }).orgs;
    expect(new Map(states.map(({ org: of, state }) => [of, state]))).toEqual(
      new Map([
        [id, 'live'],
        [stranger, 'unknown'],
      ]),
    );
  });

  it('goes through all organisations of the configuration', async () => {
    const ids = await Promise.all(manyOrgs(3).map((id) => stage.madeOrg(id)));
    const { code, stdout, stderr } = await stage.cli(['status'], { env: { ORGS: ids.join(' ') } });
    expect(code).toBe(0);
    for (const id of ids) expect(stdout).toContain(id);
    expect(stderr).toBe('1/3 organisations\n2/3 organisations\n3/3 organisations\n');
  });
});

describe('rotate', () => {
  it('says what it would do, and does it', async () => {
    const id = await stage.madeOrg();
    const dry = await stage.cli(['rotate', id, '--dry-run', '--json']);
    expect(JSON.parse(dry.stdout)).toEqual({
      command: 'rotate',
      org: id,
      dryRun: true,
      version: 2,
      kekUris: ['local:a'],
      kmsCalls: 2,
    });
    expect(await stage.database.store.load(id)).toHaveLength(1);
    const { code, stdout } = await stage.cli(['rotate', id]);
    expect(code).toBe(0);
    expect(stdout).toContain('version 2 is active');
    expect((await stage.database.store.load(id)).map(({ state }) => state)).toEqual([
      'decrypt_only',
      'active',
    ]);
  });

  it('reports its KMS calls to the key-use ledger before it ends, failed ones too', async () => {
    const id = await stage.madeOrg();
    const file = join(stage.folder, 'key-use.jsonl');
    await stage.cli(['rotate', id], { env: { KEY_USE: file } });
    await stage.cli(['rotate', id], { env: { KEY_USE: file, KMS_BROKEN: '1' } });
    const reports = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(reports.map((line) => JSON.parse(line))).toMatchObject([
      {
        org: id,
        kms: [
          { operation: 'wrap', outcome: 'ok' },
          { operation: 'unwrap', outcome: 'ok' },
        ],
      },
      { org: id, kms: [{ operation: 'wrap', outcome: 'error' }] },
    ]);
  });

  it('tells an error as code and message, without a stack and without steering the terminal', async () => {
    const id = await stage.madeOrg();
    const { code, stdout, stderr } = await stage.cli(['rotate', id], { env: { KMS_BROKEN: '1' } });
    expect([code, stdout, stderr]).toEqual([1, '', 'cli.unexpected: \\u{1b}[2Jbroken\n']);
    const unknown = await stage.cli(['rotate', anyOrg(), '--json']);
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toBe('crypto.org_unknown: the organisation has no keys\n');
    expect(JSON.parse(unknown.stdout)).toMatchObject({ error: { code: 'crypto.org_unknown' } });
  });
});

describe('rewrap', () => {
  it('counts in a dry run what it then does, and needs nothing the second time', async () => {
    const ids = await Promise.all(manyOrgs(4).map((id) => stage.madeOrg(id)));
    const [first] = ids as [OrgId];
    await stage.cli(['rotate', first]);
    const env = { KEK_FOR: 'local:b' };
    const dry = JSON.parse((await stage.cli(['rewrap', ...ids, '--dry-run', '--json'], { env })).stdout);
    expect(dry).toMatchObject({
      orgs: 4,
      rewrapped: 4,
      versions: 5,
      kmsCalls: 11,
      into: [{ kekUri: 'local:b' }],
    });
    expect(await keksOf(first)).toEqual(['local:a', 'local:a']);
    const real = await stage.cli(['rewrap', ...ids, '--json'], { env });
    expect(real.code).toBe(0);
    const { versions, kmsCalls, failures } = JSON.parse(real.stdout);
    expect({ versions, kmsCalls, failures }).toEqual({ versions: 5, kmsCalls: 11, failures: [] });
    expect(real.stderr).toContain('4/4 organisations, 5 versions, 0 failed');
    for (const id of ids) expect(new Set(await keksOf(id))).toEqual(new Set(['local:b']));
    const again = await stage.cli(['rewrap', ...ids], { env });
    expect(again.stdout).toContain('0 organisations re-wrapped (0 versions), 4 needed nothing');
  });

  it('tells the organisations that failed, does the others, and exits with 1', async () => {
    const [good, bad] = [await stage.madeOrg(), await stage.madeOrg()];
    const owner = stage.database.db;
    await sql`update crypto.dek_wrap set binding = decode(repeat('00', 32), 'hex') where org_id = ${bad}`.execute(
      owner,
    );
    const { code, stdout } = await stage.cli(['rewrap', good, bad, '--to', 'local:b']);
    expect(code).toBe(1);
    expect(stdout).toContain(`${bad}: crypto.wrap_tampered: `);
    expect([await keksOf(good), await keksOf(bad)]).toEqual([['local:b'], ['local:a']]);
  });

  it('stops at an interrupt after what is in hand, says how to go on, and goes on there', async () => {
    const ids = await Promise.all(manyOrgs(60).map((id) => stage.madeOrg(id)));
    const args = ['rewrap', '--to', 'local:b', '--concurrency', '2'];
    const env = { ORGS: ids.join(' '), KMS_DELAY_MS: '20' };
    const halted = await stage.cli(args, {
      env,
      started: (child) => child.stderr?.once('data', () => child.kill('SIGINT')),
    });
    expect(halted.code).toBe(1);
    expect(halted.stderr).toContain('stopping after the organisations in hand');
    expect(halted.stderr).not.toContain('60/60');
    const [, after = ''] = /--resume-after (\S+)/.exec(halted.stdout) ?? [];
    expect(halted.stdout).toContain(
      `npx @ringfence/crypto rewrap --config ${CONFIG} --to local:b --concurrency 2 `,
    );
    expect(ids).toContain(after);
    const done = ids.indexOf(after as OrgId) + 1;
    for (const id of ids.slice(0, done)) expect(await keksOf(id)).toEqual(['local:b']);
    const resumed = await stage.cli([...args, '--resume-after', after, '--json'], {
      env: { ORGS: ids.join(' ') },
    });
    expect(resumed.code).toBe(0);
    expect(JSON.parse(resumed.stdout)).toMatchObject({ orgs: 60 - done, failed: 0, aborted: false });
    for (const id of ids) expect(await keksOf(id)).toEqual(['local:b']);
  });
});

describe('shred', () => {
  const reason = ['--reason', 'contract 17 ended'];

  it('changes nothing without the id typed once more', async () => {
    const [id, other] = [await stage.madeOrg(), anyOrg()];
    for (const args of [
      ['shred', id, ...reason],
      ['shred', id, ...reason, '--confirm', other],
      ['shred', id, ...reason, '--confirm', ''],
      ['shred', id, '--confirm', id],
      ['shred', ...reason, '--confirm', id],
    ]) {
      const { code, stdout, stderr } = await stage.cli(args);
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(/^cli\.(usage|not_confirmed): /);
    }
    const dry = await stage.cli(['shred', id, ...reason, '--dry-run']);
    expect(dry.code).toBe(0);
    expect(dry.stdout).toContain(`would destroy 1 data-key versions with 1 wraps of organisation ${id}`);
    expect(await keksOf(id)).toEqual(['local:a']);
  });

  it('destroys the keys, prints the certificate and hands it to the audit log', async () => {
    const id = await stage.madeOrg();
    const sealed = (await stage.keyring.org(id)).sealText(CELL, 'memo');
    const log = join(stage.folder, 'audit.log');
    const args = ['shred', id, ...reason, '--confirm', id, '--backups-days', '30', '--json'];
    const { code, stdout } = await stage.cli(args, { env: { RECORD: log } });
    expect(code).toBe(0);
    const { certificate } = JSON.parse(stdout);
    expect(isIntactShredCertificate(certificate)).toBe(true);
    expect(certificate).toMatchObject({ org: id, reason: 'contract 17 ended', wrapsDestroyed: 1 });
    expect(JSON.parse(readFileSync(log, 'utf8'))).toEqual(certificate);
    stage.keyring.revoke(id);
    expect(await codeOfAsync(stage.keyring.org(id).then((keys) => keys.openText(CELL, sealed)))).toBe(
      'crypto.key_shredded',
    );
  });

  it('prints the certificate even when the audit log fails, and exits with 1', async () => {
    const id = await stage.madeOrg();
    const args = ['shred', id, ...reason, '--confirm', id, '--json'];
    const { code, stdout, stderr } = await stage.cli(args, { env: { RECORD: 'fail' } });
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ recorded: false, certificate: { org: id } });
    expect(stderr).toContain('the audit log is down');
  });

  it('asks on a terminal and takes nothing but the id', async () => {
    const [kept, gone] = [await stage.madeOrg(), await stage.madeOrg()];
    const answers: [OrgId, string, number][] = [
      [kept, 'yes', 2],
      [kept, '', 2],
      [gone, gone, 0],
    ];
    for (const [id, answer, code] of answers) {
      const asked = await stage.onTerminal(['shred', id, ...reason], `${answer}\n`);
      expect(asked.code).toBe(code);
      expect(asked.stderr).toContain('Type the id of the organisation to go on: ');
    }
    expect(await keksOf(kept)).toEqual(['local:a']);
    expect(await keksOf(gone)).toEqual([]);
  });
});

describe('verify-retired', () => {
  it('counts what names old versions, retires on demand, and fails when a retired one is named', async () => {
    const id = await stage.madeOrg();
    await stage.cli(['rotate', id]);
    const ago = new Date(Date.now() - 3_600_000);
    await sql`alter table crypto.dek_version disable trigger user`.execute(stage.database.db);
    await sql`update crypto.dek_version set created_at = ${ago} where org_id = ${id}`.execute(
      stage.database.db,
    );
    await sql`alter table crypto.dek_version enable trigger user`.execute(stage.database.db);
    const used = await stage.cli(['verify-retired', id, '--retire'], { env: { NAMED: '3' } });
    expect([used.code, used.stdout]).toEqual([0, expect.stringMatching(/decrypt_only .*memo: 3 +in use/)]);
    const free = await stage.cli(['verify-retired', id]);
    expect(free.stdout).toMatch(/decrypt_only .*memo: 0 +can be retired/);
    const retired = await stage.cli(['verify-retired', id, '--retire', '--json']);
    expect(retired.code).toBe(0);
    expect(JSON.parse(retired.stdout).versions).toMatchObject([
      { version: 1, state: 'retired', retired: true },
    ]);
    expect((await stage.cli(['verify-retired', id])).stdout).toContain('verified');
    const versions = await stage.database.store.load(id);
    expect(JSON.parse(retired.stdout).versions[0].proof).toMatchObject({
      org: id,
      keyId: versions[0]?.keyId,
    });
    const broken = await stage.cli(['verify-retired', id], { env: { NAMED: '1' } });
    expect(broken.code).toBe(1);
    expect(broken.stdout).toContain('version 1 is retired but still named');
  });
});

it('is over the same operations as the library', async () => {
  const id = await stage.madeOrg();
  await stage.cli(['rotate', id]);
  const operations = createKeyOperations({
    app: 'test',
    kms: [stage.kms],
    store: stage.database.store,
    kekFor: () => 'local:a',
  });
  expect((await operations.status(id)).versions.map(({ version }) => version)).toEqual([1, 2]);
});
