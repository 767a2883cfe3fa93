/** A copier that is killed at every write, before and after the store has applied it, on servers of both kinds. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { bucketAt, type CopyFixture, copyFixture } from './copy-fixture.ts';
import { type LoopbackS3, loopbackS3 } from './loopback-s3.ts';

const CHILD = fileURLToPath(new URL('copy-crash-child.ts', import.meta.url));
let f: CopyFixture;
let s3: LoopbackS3;

beforeAll(async () => {
  f = await copyFixture(inject('databaseUrl'));
  s3 = await loopbackS3();
});
afterAll(async () => {
  await s3.close();
  await f.close();
});

test.each([
  ['before the store applies it', false, true],
  ['after the store applied it, where If-None-Match is ignored', true, false],
])(
  'killed at each write, %s: no gap, no object twice',
  { timeout: 60_000 },
  async (_, applies, conditional) => {
    const org = await f.signed(2);
    s3.objects.clear();
    s3.conditional = conditional;
    const args = ['--conditions=@ringfence/source', CHILD, f.database.queueUrl, s3.endpoint, org, f.keyLine];
    let child: ChildProcess;
    const killed = new Set<string>();
    s3.fault = ({ operation, key }, apply) => {
      if (operation !== 'put' || killed.has(key)) return false;
      killed.add(key);
      if (applies) apply();
      child.kill('SIGKILL');
      return true;
    };
    for (let runs = 0; runs < 10; runs++) {
      child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
      const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
      if (signal === 'SIGKILL') continue;
      expect(code).toBe(0);
      break;
    }
    expect(killed.size).toBe(3);
    expect([...s3.objects.values()].map((versions) => versions.length)).toEqual([1, 1, 1]);
    const report = await f.verify(org, bucketAt(s3.endpoint), { db: f.copying });
    expect(report).toMatchObject({ ok: true, findings: [], signed: 2 });
  },
);
