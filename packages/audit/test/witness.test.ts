/** A witness over real HTTP: what it cosigns, what it refuses, what it remembers. */
import { spawn } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { createWitness, fileWitnessState, httpWitness, localSigner } from '../src/checkpoint/index.ts';
import { run } from '../src/checkpoint/witness-command.ts';
import { openCheckpoint } from '../src/verify/checkpoint.ts';
import { parseNote, parseVerifierKey, verifyNote } from '../src/verify/signed-note.ts';
import { type CheckpointFixture, checkpointFixture, ORIGIN } from './checkpoint-fixture.ts';
import { MemoryLog, newSigner } from './memory-log.ts';

const LOG = 'ledger.example/audit/one';

interface Running {
  readonly key: string;
  readonly url: string;
  stop(): Promise<number>;
}

let directory: string;
const running: Running[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'witness-'));
});

afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
  rmSync(directory, { recursive: true });
});

/** Runs the command itself. */
async function start(logs: readonly { origin: string; key: string }[], dir = directory): Promise<Running> {
  const end = new AbortController();
  const args = ['--name', 'witness.example/w', '--directory', dir, '--listen', '127.0.0.1:0'];
  for (const { origin, key } of logs) args.push('--log', `${origin}=${key}`);
  let told = '';
  let exit: Promise<number> | undefined;
  const listening = new Promise<void>((resolve, reject) => {
    const stdout = {
      write: (text: string) => {
        told += text;
        resolve();
      },
    };
    const stderr = { write: (text: string) => reject(new Error(text)) };
    exit = run(args, { stdout, stderr, signal: end.signal });
  });
  await listening;
  const stop = async () => {
    end.abort();
    return (await exit) ?? -1;
  };
  const found = /^witness key (.+)\nlistening on (.+)\n$/.exec(told);
  const one = { key: found?.[1] ?? '', url: found?.[2] ?? '', stop };
  running.push(one);
  return one;
}

async function post(witness: Running, body: string | Uint8Array) {
  const response = await fetch(`${witness.url}/add-checkpoint`, { method: 'POST', body: Buffer.from(body) });
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

test('cosigns the first head and each that continues it, with the time, over the whole text', async () => {
  const log = new MemoryLog(LOG);
  const witness = await start([log]);
  for (const [oldSize, size] of [
    [0, 1],
    [1, 6],
    [6, 6],
    [6, 7],
    [7, 200],
  ] as const) {
    const before = Math.floor(Date.now() / 1_000);
    const { status, text } = await post(witness, await log.body(oldSize, size));
    expect(status).toBe(200);
    const opened = await openCheckpoint((await log.note(size)) + text, {
      origin: LOG,
      keys: [parseVerifierKey(log.key)],
      witnesses: [parseVerifierKey(witness.key)],
      quorum: 1,
    });
    expect(opened).toMatchObject({ ok: true, checkpoint: { size } });
    const time = opened.ok ? (opened.cosignatures[0]?.timestamp ?? 0) : 0;
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(Math.floor(Date.now() / 1_000));
  }
  const hash = createHash('sha256').update(LOG).digest('hex');
  const kept = await (await fetch(`${witness.url}/${hash}/checkpoint`)).text();
  const note = parseNote(kept);
  expect(note?.text).toContain('\n200\n');
  expect(note?.signatures.map(({ name }) => name)).toEqual([LOG, 'witness.example/w']);
  expect((await fetch(`${witness.url}/${hash.replace(/^./, 'g')}/checkpoint`)).status).toBe(404);
});

test('answers 409 and the size it knows to a rewind, a replay and an unknown start', async () => {
  const log = new MemoryLog(LOG);
  const witness = await start([log]);
  const replayed = await log.body(0, 4);
  expect((await post(witness, replayed)).status).toBe(200);
  expect((await post(witness, await log.body(4, 9))).status).toBe(200);
  for (const body of [
    replayed,
    await log.body(4, 9),
    await log.body(4, 4),
    await log.body(0, 9),
    await log.body(8, 12),
  ]) {
    expect(await post(witness, body)).toEqual({ status: 409, type: 'text/x.tlog.size', text: '9\n' });
  }
  expect(await post(witness, (await log.body(4, 4)).replace('old 4', 'old 9'))).toMatchObject({
    status: 400,
  });
  expect((await post(witness, await log.body(9, 10))).status).toBe(200);
});

test('answers 422 to a fork, whatever proof comes with it, and keeps the head it had', async () => {
  const log = new MemoryLog(LOG);
  const fork = new MemoryLog(LOG, log.signer, ' forged', 5);
  const witness = await start([log]);
  expect((await post(witness, await log.body(0, 8))).status).toBe(200);
  const state = readFileSync(join(directory, 'state.json'), 'utf8');
  const attempts = [
    await fork.body(8, 8),
    await fork.body(8, 9),
    await fork.body(8, 16),
    (await fork.body(5, 9)).replace('old 5', 'old 8'),
    (await log.body(8, 9)).replace(/old 8\n[^\n]+\n/, 'old 8\n'),
    (await log.body(8, 9)).replace(/old 8\n/, `old 8\n${Buffer.alloc(32).toString('base64')}\n`),
    (await log.body(8, 8)).replace('old 8\n', `old 8\n${Buffer.alloc(32).toString('base64')}\n`),
  ];
  for (const body of attempts) expect((await post(witness, body)).status).toBe(422);
  expect(readFileSync(join(directory, 'state.json'), 'utf8')).toBe(state);
  expect((await post(witness, await log.body(8, 9))).status).toBe(200);
});

test('of two histories shown at one moment it cosigns one', async () => {
  const log = new MemoryLog(LOG);
  const fork = new MemoryLog(LOG, log.signer, ' forged');
  const witness = await start([log]);
  const bodies = await Promise.all([log.body(0, 5), fork.body(0, 5), log.body(0, 6), fork.body(0, 6)]);
  const statuses = (await Promise.all(bodies.map((body) => post(witness, body)))).map(({ status }) => status);
  expect(statuses.toSorted()).toEqual([200, 409, 409, 409]);
});

test('answers 404 to another log and 403 to a note that no key of the log signed', async () => {
  const log = new MemoryLog(LOG);
  const witness = await start([log]);
  const stranger = new MemoryLog(LOG, newSigner(LOG));
  const elsewhere = new MemoryLog('ledger.example/audit/two', log.signer);
  expect((await post(witness, await elsewhere.body(0, 3))).status).toBe(404);
  expect((await post(witness, await stranger.body(0, 3))).status).toBe(403);
  const good = await log.body(0, 3);
  const line = good.slice(good.lastIndexOf('\u2014'));
  const other = (await log.body(0, 4)).slice((await log.body(0, 4)).lastIndexOf('\u2014'));
  expect((await post(witness, good.replace(line, other))).status).toBe(403);
  expect((await post(witness, good + other)).status).toBe(403);
  expect((await post(witness, good + line)).status).toBe(200);
});

test('answers 400 to what is no request', async () => {
  const log = new MemoryLog(LOG);
  const witness = await start([log]);
  const good = await log.body(0, 3);
  const grown = await log.body(2, 3);
  const bad: (string | Uint8Array)[] = [
    '',
    '\n',
    'old 0\n',
    'old 0\n\n',
    good.replace('old 0', 'old 00'),
    good.replace('old 0', 'old -1'),
    good.replace('old 0', 'OLD 0'),
    good.replace('old 0', 'old 0 '),
    good.replace('old 0\n', 'old 0\r\n'),
    good.replace('\n3\n', '\n03\n'),
    good.replace('\n3\n', '\n3.0\n'),
    good.slice(0, -1),
    `${good}\n`,
    good.slice(0, good.lastIndexOf('\u2014')),
    grown.replace('=\n', '\n'),
    grown.replace('=\n', 'A=\n'),
    good.replace('old 0\n', `old 0\n${`${Buffer.alloc(32).toString('base64')}\n`.repeat(64)}`),
    good.replace('\n3\n', '\n99999999999999999999\n'),
    Uint8Array.of(...Buffer.from(good), 0xff, 0xfe),
    good.replace(LOG, `${LOG}\u0007`),
    good.replace(/(\n3\n[^\n]+\n)/, '$1extension\n'),
  ];
  for (const [n, body] of bad.entries()) expect([n, (await post(witness, body)).status]).toEqual([n, 400]);
  expect((await fetch(`${witness.url}/add-checkpoint`)).status).toBe(405);
  expect((await fetch(witness.url)).status).toBe(404);
  expect((await post(witness, good)).status).toBe(200);
});

test('does not judge a body that ends early, and reads no more than a request may have', async () => {
  const log = new MemoryLog(LOG);
  const witness = await start([log]);
  const good = await log.body(0, 3);
  const { port } = new URL(witness.url);
  const socket = connect(Number(port), '127.0.0.1');
  const length = Buffer.byteLength(good);
  socket.end(`POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: ${length + 1}\r\n\r\n${good}`);
  socket.resume();
  await once(socket, 'close');
  const large = await post(witness, good + 'x'.repeat(200_000)).catch(() => ({ status: 413 }));
  expect(large.status).toBe(413);
  expect((await post(witness, good)).status).toBe(200);
});

test('of two witnesses on one state, as in two containers with equal process ids, only the later one signs', async () => {
  const path = join(directory, 'state.json');
  const head = (fill: number, size: number) => ({ size, root: new Uint8Array(32).fill(fill), note: 'n' });
  const first = fileWitnessState(path);
  await first.write(LOG, head(1, 5));
  const second = fileWitnessState(path);
  await expect(first.write(LOG, head(2, 6))).rejects.toThrow(/another witness has taken/);
  await second.write(LOG, head(3, 6));
  first.close(); // not its lock any more
  await second.write(LOG, head(4, 7));
  // Somebody else's write between two of its own: what it would sign by is not what stands there.
  writeFileSync(path, readFileSync(path, 'utf8').replace('"size":7', '"size":9'));
  await expect(second.write(LOG, head(5, 8))).rejects.toThrow(/was changed by somebody else/);
  second.close();
});

test('remembers its heads over a restart, keeps its key to itself, and lets no second process in', async () => {
  const log = new MemoryLog(LOG);
  const witness = await start([log]);
  await post(witness, await log.body(0, 8));
  expect(statSync(join(directory, 'key.pem')).mode & 0o077).toBe(0);
  writeFileSync(join(directory, 'state.json.lock'), String(process.ppid));
  expect(() => fileWitnessState(join(directory, 'state.json'))).toThrow(/has the witness state/);
  rmSync(join(directory, 'state.json.lock'));
  expect(await witness.stop()).toBe(0);
  const again = await start([log]);
  expect(again.key).toBe(witness.key);
  expect(await post(again, await log.body(0, 9))).toMatchObject({ status: 409, text: '8\n' });
  await again.stop();
  const kept = readFileSync(join(directory, 'state.json'), 'utf8');
  for (const damage of [
    '',
    '{}',
    kept.slice(0, -10),
    kept.replace('"v":1', '"v":2'),
    kept.replace('"size":8', '"size":-8'),
  ]) {
    writeFileSync(join(directory, 'state.json'), damage);
    await expect(start([log])).rejects.toThrow(/damaged/);
  }
});

test('gives a usage and exit code 2 for wrong arguments', async () => {
  const log = new MemoryLog(LOG);
  for (const args of [
    [],
    ['--name', 'w'],
    ['--name', 'w', '--directory', directory, '--log', 'x'],
    ['--name', 'w', '--directory', join(directory, 'unused'), '--log', `${LOG}=not-a-key`],
    ['--nonsense'],
  ]) {
    let told = '';
    const stderr = { write: (text: string) => (told += text) };
    expect(await run(args, { stdout: stderr, stderr, signal: AbortSignal.abort() })).toBe(2);
    expect(told).toMatch(/^cli\.usage: .+ \(--help shows how\)\n$/);
  }
  expect(existsSync(join(directory, 'unused'))).toBe(false);
  let told = '';
  const stderr = { write: (text: string) => (told += text) };
  const args = ['--name', 'a b', '--directory', directory, '--log', `${LOG}=${log.key}`];
  expect(await run(args, { stdout: stderr, stderr, signal: AbortSignal.abort() })).toBe(2);
  const keyless = [{ origin: LOG, keys: [] }];
  const state = fileWitnessState(join(directory, 's'));
  expect(() => createWitness({ signer: newSigner('w'), logs: keyless, state })).toThrow(TypeError);
});

test('killed between its state and its answer, it is asked again and cosigns the same head', async () => {
  const log = new MemoryLog(LOG);
  const pem = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  writeFileSync(join(directory, 'key.pem'), pem, { mode: 0o600 });
  const child = spawn(process.execPath, [
    '--conditions=@ringfence/source',
    fileURLToPath(new URL('witness-crash-child.ts', import.meta.url)),
    directory,
    pem,
    LOG,
    log.key,
  ]);
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  const exited = once(child, 'exit');
  const url = `http://127.0.0.1:${String(port).trim()}/add-checkpoint`;
  await expect(fetch(url, { method: 'POST', body: await log.body(0, 5) })).rejects.toThrow();
  expect((await exited)[1]).toBe('SIGKILL');
  const witness = await start([log]);
  expect(await post(witness, await new MemoryLog(LOG, log.signer, ' forged').body(0, 5))).toMatchObject({
    status: 409,
    text: '5\n',
  });
  const { status, text } = await post(witness, await log.body(5, 5));
  expect(status).toBe(200);
  const key = parseVerifierKey(witness.key);
  expect(key.publicKey).toEqual(localSigner({ name: key.name, privateKey: pem }).publicKey);
  expect(
    await verifyNote(parseNote((await log.note(5)) + text) ?? { text: '', signatures: [] }, [key]),
  ).toHaveLength(1);
});

let f: CheckpointFixture;
beforeAll(async () => {
  f = await checkpointFixture(inject('databaseUrl'));
});
afterAll(() => f.close());

test('a log has each head cosigned, and catches up when a witness has missed some', async () => {
  const org = await f.org(3);
  const origin = `${ORIGIN}/${org}`;
  const log = {
    origin,
    key: `${f.key.name}+${f.key.keyId.toString(16).padStart(8, '0')}+${Buffer.from([1, ...f.key.publicKey]).toString('base64')}`,
  };
  const served = await start([log]);
  const down = {
    key: { ...parseVerifierKey(served.key), name: 'down' },
    addCheckpoint: () => Promise.reject(new Error('down')),
  };
  const witnesses = () => [httpWitness({ url: served.url, key: served.key }), down];
  const checkpointer = f.another({ witnesses });
  await checkpointer.checkpoint(org);
  const report = await checkpointer.cosign(org);
  expect(report).toMatchObject({ size: 3, cosigned: ['witness.example/w'] });
  expect(report.failed).toMatchObject([
    { witness: 'down', error: { code: 'audit.witness_unavailable', retryable: true } },
  ]);
  for (const more of [4, 5]) {
    await f.grow(org, more);
    await checkpointer.checkpoint(org);
  }
  expect((await checkpointer.cosign(org)).cosigned).toEqual(['witness.example/w']);
  const trust = { origin, keys: [f.key], witnesses: [parseVerifierKey(served.key)], quorum: 1 };
  const newest = await checkpointer.newest(org);
  expect(await openCheckpoint(newest?.note ?? '', trust)).toMatchObject({
    ok: true,
    checkpoint: { size: 12 },
  });
  expect(await openCheckpoint((await checkpointer.proveEvent(org, 1)).note, trust)).toMatchObject({
    ok: true,
  });
  await f.tamper(async (trx) => {
    await sql.raw(`delete from audit.cosignature where org_id = '${org}'`).execute(trx);
  });
  expect((await checkpointer.cosign(org)).cosigned).toEqual(['witness.example/w']);
});

test('a database that was set back is found by the witness alone', async () => {
  const org = await f.org(4);
  const origin = `${ORIGIN}/${org}`;
  const log = new MemoryLog(origin, f.signer);
  const served = await start([log]);
  const witnesses = () => [httpWitness({ url: served.url, key: served.key })];
  expect((await post(served, await log.body(0, 40))).status).toBe(200);
  const checkpointer = f.another({ witnesses });
  await checkpointer.checkpoint(org);
  expect((await checkpointer.cosign(org)).failed).toMatchObject([
    { error: { code: 'audit.history_changed' } },
  ]);
  await f.grow(org, 36);
  await checkpointer.checkpoint(org);
  const { failed } = await checkpointer.cosign(org);
  expect(failed).toMatchObject([
    { error: { code: 'audit.witness_refused', message: expect.stringContaining('422') } },
  ]);
});

test.each([
  ['nothing', 200, ''],
  ['a line of another key', 200, 'stranger'],
  ['409 without a size', 409, 'nine\n'],
  ['500', 500, ''],
])('does not store a cosignature when a witness answers with %s', async (_, status, body) => {
  const org = await f.org(2);
  const key = parseVerifierKey((await start([new MemoryLog(LOG)])).key);
  const own = new MemoryLog(`${ORIGIN}/${org}`);
  const answer = body === 'stranger' ? ((await own.note(2)).split('\n\n')[1] ?? '') : body;
  const checkpointer = f.another({
    witnesses: () => [{ key, addCheckpoint: async () => ({ status, body: answer }) }],
  });
  const { note = '' } = (await checkpointer.checkpoint(org)) ?? {};
  const { cosigned, failed } = await checkpointer.cosign(org);
  expect([cosigned.length, failed.length]).toEqual([0, 1]);
  expect((await checkpointer.newest(org))?.note).toBe(note);
});
