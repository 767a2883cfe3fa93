/**
 * A witness over HTTP: `POST /add-checkpoint` and `GET /<SHA-256 of the origin>/checkpoint`, and the client for the former.
 * Invariant: neither side reads more than the other may send; a request that ends early is not judged.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { parseVerifierKey } from '../verify/signed-note.ts';
import type { CheckpointWitness, WitnessReply } from './witness.ts';
import { MOST_REQUEST_BYTES } from './witness.ts';
import type { Witness } from './witness-client.ts';

const MOST_REPLY_BYTES = 64 * 1024;
/** Most connections at once: each may hold a request of `MOST_REQUEST_BYTES` in memory. */
const MOST_CONNECTIONS = 256;
const TEXT = 'text/plain; charset=utf-8';

/** An HTTP server for a witness, not yet listening. Put TLS in front of it. */
export function witnessServer(witness: CheckpointWitness, origins: readonly string[]): Server {
  const byHash = new Map(
    origins.map((origin) => [createHash('sha256').update(origin).digest('hex'), origin]),
  );
  // Node looks at its time limits every 30 s, unless it is told otherwise.
  const server = createServer({ connectionsCheckingInterval: 1_000 }, (request, response) => {
    void answer(witness, byHash, request).then(
      (reply) => send(response, reply),
      () => send(response, { status: 500, contentType: TEXT, body: 'the witness failed\n' }),
    );
  });
  server.requestTimeout = 10_000;
  server.headersTimeout = 5_000;
  server.maxConnections = MOST_CONNECTIONS;
  return server;
}

async function answer(
  witness: CheckpointWitness,
  byHash: ReadonlyMap<string, string>,
  request: IncomingMessage,
): Promise<WitnessReply> {
  const { method, url = '' } = request;
  if (url === '/add-checkpoint') {
    if (method !== 'POST') return { status: 405, contentType: TEXT, body: 'POST only\n' };
    const body = await bodyOf(request);
    if (body === undefined) return { status: 413, contentType: TEXT, body: 'too large\n' };
    return await witness.addCheckpoint(body);
  }
  const origin =
    method === 'GET' ? byHash.get(/^\/([0-9a-f]{64})\/checkpoint$/.exec(url)?.[1] ?? '') : undefined;
  const note = origin === undefined ? undefined : witness.lastNote(origin);
  if (note === undefined) return { status: 404, contentType: TEXT, body: 'not found\n' };
  return { status: 200, contentType: TEXT, body: note };
}

/** The whole body, undefined when it is too large; rejects when the connection ends first. */
async function bodyOf(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MOST_REQUEST_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function send(response: ServerResponse, { status, contentType, body }: WitnessReply): void {
  // After 413 the rest of the request is not read, so the connection cannot be used again.
  const headers = { 'content-type': contentType, ...(status === 413 ? { connection: 'close' } : {}) };
  response.writeHead(status, headers).end(body);
}

/** Settings of `httpWitness`. */
export interface HttpWitnessOptions {
  /** Submission prefix, without `/add-checkpoint`. */
  readonly url: string;
  /** The witness's verifier key, in its one-line form. */
  readonly key: string;
  /** How long to wait for an answer, ms. Default 10 000. */
  readonly timeoutMs?: number;
}

/**
 * A witness that is reached over HTTP. Redirects are not followed.
 *
 * @throws TypeError when the URL is not http or https, or the key is not that of a witness.
 */
export function httpWitness({ url, key: line, timeoutMs = 10_000 }: HttpWitnessOptions): Witness {
  const key = parseVerifierKey(line);
  if (key.kind !== 'cosignature-v1') throw new TypeError('the key of a witness is one for cosignatures');
  const target = new URL(`${url.replace(/\/$/, '')}/add-checkpoint`);
  if (target.protocol !== 'https:' && target.protocol !== 'http:')
    throw new TypeError('a witness has an http(s) URL');
  return {
    key,
    addCheckpoint: async (body) => {
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await fetch(target, { method: 'POST', body, redirect: 'error', signal });
      return { status: response.status, body: await shortBody(response) };
    },
  };
}

async function shortBody(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MOST_REPLY_BYTES) throw new Error('the answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
