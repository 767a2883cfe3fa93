/**
 * The case `job-envelope-256`: sealing a job with a payload of 256 bytes and opening it again. Against it, the same
 * format over @noble/hashes where the workspace has it, and a bare pair of HMACs over the payload as the limit.
 */
import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import type { BenchCase, Subject } from '../../../tools/bench/suite.ts';
import { parseOrgId } from '../src/index.ts';
import { type JobClaims, macInput, readEnvelope, writeEnvelope } from '../src/jobs/envelope.ts';

/** CPU time of one slice, ms. */
const SLICE_MS = 150;
const LIMIT = 'two-bare-hmacs';

/** Microseconds of CPU per call: other processes of a busy machine are not counted. */
function cost(run: () => unknown): number {
  const start = process.cpuUsage();
  let count = 0;
  for (;;) {
    for (let i = 0; i < 200; i++) run();
    count += 200;
    const { user, system } = process.cpuUsage(start);
    if (user + system >= SLICE_MS * 1000) return (user + system) / count;
  }
}

type NobleHmac = (hash: unknown, key: Uint8Array, message: Uint8Array) => Uint8Array;

/** @noble/hashes is a development dependency of another package; without it the comparison is left out. */
async function nobleHmac(): Promise<((key: Uint8Array, message: Uint8Array) => Uint8Array) | undefined> {
  const resolve = (name: string) => {
    try {
      return createRequire(new URL('../../crypto/package.json', import.meta.url)).resolve(name);
    } catch {
      return undefined; // not installed
    }
  };
  const [hmacPath, sha2Path] = [resolve('@noble/hashes/hmac.js'), resolve('@noble/hashes/sha2.js')];
  if (hmacPath === undefined || sha2Path === undefined) return undefined;
  const { hmac } = (await import(pathToFileURL(hmacPath).href)) as { hmac: NobleHmac };
  const { sha256 } = (await import(pathToFileURL(sha2Path).href)) as { sha256: unknown };
  return (key, message) => hmac(sha256, key, message);
}

/** Sealing and opening one job. */
export const jobEnvelope: BenchCase = {
  id: 'job-envelope-256',
  unit: 'µs',
  limit: LIMIT,
  rounds: 9,
  prepare: async () => {
    const secret = new Uint8Array(randomBytes(32));
    const key = createSecretKey(secret);
    const payload = JSON.stringify({ text: 'x'.repeat(256 - JSON.stringify({ text: '' }).length) });
    const nowMs = Date.now();
    const claims: JobClaims = {
      keyId: 'j1',
      org: parseOrgId('0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60'),
      queue: 'statement',
      jobId: '4f2c9c1e-0f5b-4c55-8a1d-7f8f0a3f9d21',
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + 604_800_000,
      kind: 'member',
      actor: 'user:0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a61',
      requestId: '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a62',
    };
    const keyOf = () => key;
    const ours = () => readEnvelope(writeEnvelope(claims, payload, key), payload, keyOf);
    const bare = () => {
      createHmac('sha256', key).update(payload).digest();
      createHmac('sha256', key).update(payload).digest();
    };
    const subject = (name: string, run: () => unknown): Subject => ({ name, measure: async () => cost(run) });
    const subjects = [subject('ringfence', ours), subject(LIMIT, bare)];
    const noble = await nobleHmac();
    if (noble !== undefined) {
      const fields = writeEnvelope(claims, payload, key).split('|').slice(1, -1);
      const twice = () => {
        noble(secret, Buffer.from(macInput(fields, payload), 'latin1'));
        noble(secret, Buffer.from(macInput(fields, payload), 'latin1'));
      };
      subjects.push(subject('noble-macs-only', twice));
    }
    return { subjects, close: async () => {} };
  },
};
