/** Clients of a witness that begin a request and do not end it. */
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { expect, test } from 'vitest';
import { createWitness } from '../src/checkpoint/index.ts';
import { witnessServer } from '../src/checkpoint/witness-http.ts';
import { MemoryLog, newSigner } from './memory-log.ts';

test('requests that do not end take a bounded number of connections, and are ended', async () => {
  const log = new MemoryLog('ledger.example/audit/one');
  const state = { read: () => undefined, write: async () => {} };
  const witness = createWitness({
    signer: newSigner('witness.example/w'),
    logs: [{ origin: log.origin, keys: [log.key] }],
    state,
  });
  const server = witnessServer(witness, [log.origin]);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const post = async (body: Uint8Array | string) =>
    (await fetch(`http://127.0.0.1:${port}/add-checkpoint`, { method: 'POST', body: Buffer.from(body) }))
      .status;
  const slow = Array.from({ length: 257 }, () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {}); // the one too many is reset
    socket.resume().write('POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nx');
    return new Promise((closed) => socket.once('close', closed));
  });
  try {
    await Promise.race(slow); // one is too many
    expect(await post('x').catch(() => 'refused')).toBe('refused');
    await Promise.all(slow);
    expect(await post(await log.body(0, 3))).toBe(200);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}, 25_000);
