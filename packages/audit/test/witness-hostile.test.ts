/** Witnesses that answer whatever they like: each is its own failure, in bounded time and memory, and the others go on. */

import { generateKeyPairSync } from 'node:crypto';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import {
  httpWitness,
  localSigner,
  verifierKeyOf,
  type Witness,
  type WitnessedHead,
} from '../src/checkpoint/index.ts';
import { createWitness } from '../src/checkpoint/witness.ts';
import { parseVerifierKey } from '../src/verify/signed-note.ts';
import { type CheckpointFixture, checkpointFixture, ORIGIN } from './checkpoint-fixture.ts';

let f: CheckpointFixture;
const servers: Server[] = [];

beforeAll(async () => {
  f = await checkpointFixture(inject('databaseUrl'));
});
afterAll(() => f.close());
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** An honest witness in this process. */
function honest(origin: string): Witness {
  const heads = new Map<string, WitnessedHead>();
  const { privateKey } = generateKeyPairSync('ed25519');
  const signer = localSigner({ name: 'honest', privateKey });
  const witness = createWitness({
    signer,
    logs: [{ origin, keys: [verifierKeyOf(f.signer)] }],
    state: {
      read: (log) => heads.get(log),
      write: async (log, head) => {
        heads.set(log, head);
      },
    },
  });
  return {
    key: parseVerifierKey(witness.key),
    addCheckpoint: (body) => witness.addCheckpoint(new TextEncoder().encode(body)),
  };
}

/** The key of a witness that is never cosigned with. */
const hostileKey = (name: string) => ({ ...honest('nowhere').key, name });

const answering = (name: string, answer: unknown): Witness => ({
  key: hostileKey(name),
  addCheckpoint: async () => answer as never,
});

const HOSTILE: readonly [string, () => Witness, string][] = [
  ['409 and the largest size that a number holds', 'witness_seen', '9007199254740991\n'],
  ['409 and a size that no number holds', 'unavailable', '9999999999999999\n'],
  ['409 and 2^64', 'unavailable', '18446744073709551616\n'],
  ['409 and a negative size', 'unavailable', '-1\n'],
  ['409 and NaN', 'unavailable', 'NaN\n'],
  ['409 and Infinity', 'unavailable', 'Infinity\n'],
  ['409 and a fraction', 'unavailable', '1.5\n'],
  ['409 and an exponent', 'unavailable', '1e3\n'],
  ['409 and two sizes', 'unavailable', '1\n2\n'],
  ['409 and nothing', 'unavailable', ''],
  ['409 and the same size again and again', 'refused', '1\n'],
].map(([what = '', code = '', body = '']) => [
  what,
  () => answering('hostile', { status: 409, body }),
  {
    witness_seen: 'audit.history_changed',
    unavailable: 'audit.witness_unavailable',
    refused: 'audit.witness_refused',
  }[code] ?? '',
]);

const SHAPES: typeof HOSTILE = [
  ['no answer', () => answering('hostile', undefined), 'audit.witness_unavailable'],
  ['an answer without a body', () => answering('hostile', { status: 200 }), 'audit.witness_unavailable'],
  [
    'a status that is no number',
    () => answering('hostile', { status: '200', body: '' }),
    'audit.witness_unavailable',
  ],
  [
    'an endless text',
    () => answering('hostile', { status: 200, body: 'x'.repeat(1 << 20) }),
    'audit.witness_unavailable',
  ],
  [
    'an exception before it is asked',
    () => ({
      key: hostileKey('hostile'),
      addCheckpoint: () => {
        throw new TypeError('x');
      },
    }),
    'audit.witness_unavailable',
  ],
  [
    'a rejection that is no error',
    () => ({ key: hostileKey('hostile'), addCheckpoint: () => Promise.reject(undefined) }),
    'audit.witness_unavailable',
  ],
  [
    'a strange signature line',
    () => answering('hostile', { status: 200, body: '— x\n\n— y' }),
    'audit.witness_unavailable',
  ],
  ['status 500', () => answering('hostile', { status: 500, body: '' }), 'audit.witness_refused'],
  ['status NaN', () => answering('hostile', { status: Number.NaN, body: '' }), 'audit.witness_unavailable'],
];

test.each([...HOSTILE, ...SHAPES])('%s: the other witness cosigns', async (_, make, code) => {
  const org = await f.org(3);
  const checkpointer = f.another({ witnesses: () => [make(), honest(`${ORIGIN}/${org}`)] });
  await checkpointer.checkpoint(org);
  const { cosigned, failed } = await checkpointer.cosign(org);
  expect(cosigned).toEqual(['honest']);
  expect(failed).toMatchObject([{ witness: 'hostile', error: { name: 'RingfenceAuditError', code } }]);
});

async function serve(answer: (response: ServerResponse) => void): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    answer(response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.each([
  ['never answers', () => {}],
  ['sends headers and no more', (response: ServerResponse) => void response.writeHead(200).write('')],
  ['begins a body and stops', (response: ServerResponse) => void response.writeHead(200).write('— ')],
])('a server that %s is left after its time', async (_, answer) => {
  const org = await f.org(2);
  const url = await serve(answer);
  const slow = { ...httpWitness({ url, key: keyLine, timeoutMs: 50 }), key: hostileKey('slow') };
  const checkpointer = f.another({ witnesses: () => [slow, honest(`${ORIGIN}/${org}`)] });
  await checkpointer.checkpoint(org);
  const { cosigned, failed } = await checkpointer.cosign(org);
  expect(cosigned).toEqual(['honest']);
  expect(failed).toMatchObject([{ witness: 'slow', error: { code: 'audit.witness_unavailable' } }]);
});

const keyLine = (() => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const signer = localSigner({ name: 'served', privateKey });
  return createWitness({
    signer,
    logs: [],
    state: { read: () => undefined, write: () => Promise.resolve() },
  }).key;
})();

test('an endless body is read no further than an answer can be long', async () => {
  const org = await f.org(2);
  const chunk = Buffer.alloc(64 * 1024, 'x');
  let sent = 0;
  const url = await serve((response) => {
    const more = () => {
      while (!response.destroyed) {
        sent += chunk.length;
        if (!response.write(chunk)) return;
      }
    };
    response.on('drain', more);
    response.writeHead(409);
    more();
  });
  const checkpointer = f.another({
    witnesses: () => [httpWitness({ url, key: keyLine }), honest(`${ORIGIN}/${org}`)],
  });
  await checkpointer.checkpoint(org);
  const { cosigned, failed } = await checkpointer.cosign(org);
  expect(cosigned).toEqual(['honest']);
  expect(failed).toMatchObject([{ error: { code: 'audit.witness_unavailable' } }]);
  expect(sent).toBeLessThan(64 << 20);
});

test('the run alarms on a witness that has seen more, and tells of the log all the same', async () => {
  const org = await f.org(4);
  const ahead = answering('ahead', { status: 409, body: '99\n' });
  const stop = new AbortController();
  const errors: unknown[] = [];
  const signed: unknown[] = [];
  const checkpointer = f.another({
    witnesses: (log) => (log === org ? [ahead, honest(`${ORIGIN}/${org}`)] : []),
  });
  await new Promise<void>((resolve) => {
    void checkpointer.run({
      everyEvents: 1,
      signal: stop.signal,
      onSigned: (log, report) => {
        if (log === org) signed.push(report.cosigned);
      },
      onError: (error, log) => {
        errors.push([(error as { code?: unknown }).code, log]);
        stop.abort();
        resolve();
      },
    });
  });
  expect(errors).toEqual([['audit.history_changed', org]]);
  expect(signed).toEqual([['honest']]);
});
