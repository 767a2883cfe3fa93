/** Time stamps from openssl's own authority, over HTTP; skipped by name where there is no openssl. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { httpTimestampAuthority, timestampNote } from '../src/checkpoint/index.ts';
import { RingfenceAuditError } from '../src/index.ts';
import { errorOf } from './fixture.ts';

const NOTE =
  'ledger.example/audit/one\n8\nLhKklF9W+D9dOzKlLfdnvrPHiNAoetszOBQd+iXMZ1k=\n\n\u2014 a AAAAAAA=\n';
const missing = spawnSync('openssl', ['version']).status !== 0;
const folder = mkdtempSync(join(tmpdir(), 'tsa-'));
const file = (name: string) => join(folder, name);
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
const answers: { status: number; body?: Uint8Array; location?: string }[] = [];
let server: Server;
let url: string;

const CONFIG = `
[req]
distinguished_name = name
x509_extensions = stamping
[name]
[stamping]
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = one
[one]
serial = ${file('serial')}
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
`;

function stamp(query: Uint8Array): Uint8Array {
  writeFileSync(file('query'), query);
  openssl(
    'ts',
    '-reply',
    '-config',
    file('config'),
    '-queryfile',
    file('query'),
    '-inkey',
    file('key'),
    '-signer',
    file('cert'),
    '-out',
    file('reply'),
  );
  return readFileSync(file('reply'));
}

beforeAll(async () => {
  if (!missing) {
    writeFileSync(file('config'), CONFIG);
    writeFileSync(file('serial'), '01\n');
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      file('key'),
      '-out',
      file('cert'),
      '-subj',
      '/CN=tsa.example',
      '-days',
      '2',
      '-config',
      file('config'),
    );
  }
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { status, body, location } = answers.shift() ?? { status: 200 };
      response.writeHead(status, location === undefined ? {} : { location });
      response.end(body ?? (status === 200 ? stamp(Buffer.concat(chunks)) : ''));
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
  rmSync(folder, { recursive: true });
});

test.skipIf(missing)('has a note stamped, and openssl verifies the stamp against it', async () => {
  const before = Math.floor(Date.now() / 1_000) * 1_000;
  const { timeMs, request, response } = await timestampNote(NOTE, httpTimestampAuthority({ url }));
  expect(timeMs).toBeGreaterThanOrEqual(before);
  expect(timeMs).toBeLessThanOrEqual(Date.now());
  writeFileSync(file('note'), NOTE);
  writeFileSync(file('asked'), request);
  writeFileSync(file('answered'), response);
  const verify = ['ts', '-verify', '-in', file('answered'), '-CAfile', file('cert')];
  expect(openssl(...verify, '-data', file('note')).toString()).toContain('Verification: OK');
  expect(openssl(...verify, '-queryfile', file('asked')).toString()).toContain('Verification: OK');
  writeFileSync(file('note'), NOTE.replace('\n8\n', '\n9\n'));
  expect(() => openssl(...verify, '-data', file('note'))).toThrow();
});

test.skipIf(missing)('refuses a stamp for another note or another request, and a refusal', async () => {
  const { response } = await timestampNote(NOTE, httpTimestampAuthority({ url }));
  const replay = () => Promise.resolve(response);
  expect(await errorOf(timestampNote(NOTE, replay))).toMatchObject({
    code: 'audit.timestamp_refused',
    message: expect.stringContaining('another request'),
  });
  expect(await errorOf(timestampNote(`${NOTE}x`, replay))).toMatchObject({
    message: expect.stringContaining('something else'),
  });
  const unknownDigest = (query: Uint8Array) => {
    const changed = Uint8Array.from(query);
    changed[19] = (changed[19] ?? 0) ^ 3;
    return Promise.resolve(stamp(changed));
  };
  expect(await errorOf(timestampNote(NOTE, unknownDigest))).toMatchObject({
    message: expect.stringContaining('status 2'),
  });
});

test.skipIf(missing)(
  'answers changed or cut bytes with a stamp for this request or its own error',
  async () => {
    const nonce = Uint8Array.from({ length: 8 }, (_, n) => n + 1);
    const random = () => nonce;
    const { response } = await timestampNote(NOTE, httpTimestampAuthority({ url }), random);
    const outcome = async (bytes: Uint8Array) => {
      try {
        return (await timestampNote(NOTE, () => Promise.resolve(bytes), random)).timeMs;
      } catch (error) {
        if (error instanceof RingfenceAuditError && error.code === 'audit.timestamp_refused')
          return 'refused';
        throw error;
      }
    };
    for (let end = 0; end < response.length; end++)
      expect(await outcome(response.subarray(0, end))).toBe('refused');
    for (let at = 0; at < response.length; at++) {
      const changed = Uint8Array.from(response);
      changed[at] = (changed[at] ?? 0) ^ 0x81;
      expect(await outcome(changed)).toBeDefined();
    }
  },
);

test('answers bytes of any kind with its own error', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      expect(await errorOf(timestampNote(NOTE, () => Promise.resolve(bytes)))).toMatchObject({
        code: 'audit.timestamp_refused',
      });
    }),
  );
});

test('does not follow a redirect, and reads no more than a response may have', async () => {
  const authority = httpTimestampAuthority({ url });
  for (const answer of [
    { status: 302, location: url },
    { status: 500 },
    { status: 200, body: new Uint8Array(300_000) },
    { status: 200, body: Uint8Array.of(0x30, 0x03, 0x30, 0x01, 0x02) },
  ]) {
    answers.push(answer);
    expect(await errorOf(timestampNote(NOTE, authority))).toMatchObject({ code: 'audit.timestamp_refused' });
    expect(answers).toEqual([]);
  }
});
