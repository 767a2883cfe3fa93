/**
 * Writes the test vectors of checkpoints (docs/formats/audit-checkpoint-v1.md), with intermediate values:
 * `node packages/audit/test/checkpoint-vectors.ts`. Built on node:crypto and plain recursion after RFC 6962, not on the
 * package, so that the package and its vectors can disagree.
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';

export const VECTORS_PATH: URL = new URL('../vectors/audit-checkpoint-v1.json', import.meta.url);

export interface CheckpointVectors {
  readonly format: string;
  readonly org: string;
  readonly origin: string;
  readonly leaves: readonly { readonly record: string; readonly leaf: string }[];
  readonly roots: readonly { readonly size: number; readonly root: string }[];
  readonly inclusion: readonly {
    readonly index: number;
    readonly size: number;
    readonly proof: readonly string[];
  }[];
  readonly consistency: readonly {
    readonly oldSize: number;
    readonly size: number;
    readonly proof: readonly string[];
  }[];
  readonly tile: { readonly path: string; readonly data: string };
  readonly log: Signed & { readonly text: string; readonly note: string };
  readonly witness: Signed & { readonly time: number; readonly message: string; readonly request: string };
  readonly deployment: {
    readonly salt: string;
    readonly size: number;
    readonly root: string;
    readonly input: string;
    readonly leaf: string;
  };
  readonly refused: readonly { readonly comment: string; readonly note: string; readonly reason: string }[];
}

interface Signed {
  readonly seed: string;
  readonly name: string;
  readonly publicKey: string;
  readonly keyIdInput: string;
  readonly keyId: string;
  readonly verifierKey: string;
  readonly signature: string;
  readonly line: string;
}

const sha256 = (...parts: Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const below = (n: number): number => 2 ** Math.floor(Math.log2(n - 1));

function mth(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0] as Buffer;
  const k = below(leaves.length);
  return sha256(Buffer.of(1), mth(leaves.slice(0, k)), mth(leaves.slice(k)));
}

function path(m: number, leaves: readonly Buffer[]): Buffer[] {
  if (leaves.length === 1) return [];
  const k = below(leaves.length);
  return m < k
    ? [...path(m, leaves.slice(0, k)), mth(leaves.slice(k))]
    : [...path(m - k, leaves.slice(k)), mth(leaves.slice(0, k))];
}

function subproof(m: number, leaves: readonly Buffer[], complete: boolean): Buffer[] {
  if (m === leaves.length) return complete ? [] : [mth(leaves)];
  const k = below(leaves.length);
  return m <= k
    ? [...subproof(m, leaves.slice(0, k), complete), mth(leaves.slice(k))]
    : [...subproof(m - k, leaves.slice(k), false), mth(leaves.slice(0, k))];
}

function keyOf(seed: Buffer): { key: KeyObject; publicKey: Buffer } {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
  return { key, publicKey };
}

function signed(name: string, kind: number, seed: Buffer, message: string, time?: number): Signed {
  const { key, publicKey } = keyOf(seed);
  const keyIdInput = Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(kind), publicKey]);
  const keyId = sha256(keyIdInput).subarray(0, 4);
  const signature = sign(null, Buffer.from(message), key);
  const stamp = Buffer.alloc(time === undefined ? 0 : 8);
  if (time !== undefined) stamp.writeBigUInt64BE(BigInt(time));
  const line = `\u2014 ${name} ${Buffer.concat([keyId, stamp, signature]).toString('base64')}\n`;
  const material = Buffer.concat([Buffer.of(kind), publicKey]).toString('base64');
  return {
    seed: hex(seed),
    name,
    publicKey: hex(publicKey),
    keyIdInput: hex(keyIdInput),
    keyId: hex(keyId),
    verifierKey: `${name}+${hex(keyId)}+${material}`,
    signature: hex(signature),
    line,
  };
}

export function checkpointVectors(): CheckpointVectors {
  const org = '0190f5d2-7b1c-7d34-9a51-3f2e8c1b7a60';
  const origin = `ledger.example/audit/${org}`;
  const records = Array.from({ length: 8 }, (_, n) => `{"n":${n + 1}}`);
  const leaves = records.map((record) => sha256(Buffer.of(0), Buffer.from(record)));
  const root = (size: number) => mth(leaves.slice(0, size));
  const text = `${origin}\n8\n${root(8).toString('base64')}\n`;
  const seed = Buffer.from(Array.from({ length: 32 }, (_, n) => n));
  const log = signed('ledger.example/audit', 1, seed, text);
  const note = `${text}\n${log.line}`;
  const time = 1_772_532_672;
  const message = `cosignature/v1\ntime ${time}\n${text}`;
  const witness = signed('witness.customer.example', 4, Buffer.alloc(32, 0x42), message, time);
  const growth = subproof(5, leaves, true)
    .map((one) => `${one.toString('base64')}\n`)
    .join('');
  const salt = Buffer.alloc(32, 0x5a);
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(8n);
  const input = Buffer.concat([
    Buffer.from('\0ringfence-org-checkpoint/v1\n'),
    salt,
    Buffer.from(org.replaceAll('-', ''), 'hex'),
    size,
    root(8),
  ]);
  const stranger = signed('ledger.example/audit', 1, Buffer.alloc(32, 0x43), text);
  const forged = text.replace('\n8\n', '\n7\n');
  return {
    format: 'ringfence audit checkpoint v1',
    org,
    origin,
    leaves: records.map((record, n) => ({ record, leaf: hex(leaves[n] as Buffer) })),
    roots: Array.from({ length: 9 }, (_, n) => ({ size: n, root: hex(root(n)) })),
    inclusion: [
      [0, 1],
      [0, 8],
      [4, 5],
      [5, 7],
      [7, 8],
    ].map(([index = 0, n = 0]) => ({
      index,
      size: n,
      proof: path(index, leaves.slice(0, n)).map(hex),
    })),
    consistency: [
      [1, 2],
      [3, 7],
      [4, 8],
      [5, 8],
      [7, 8],
    ].map(([oldSize = 0, n = 0]) => ({
      oldSize,
      size: n,
      proof: subproof(oldSize, leaves.slice(0, n), true).map(hex),
    })),
    tile: { path: 'tile/0/000.p/8', data: hex(Buffer.concat(leaves)) },
    log: { ...log, text, note },
    witness: { ...witness, time, message, request: `old 5\n${growth}\n${note}` },
    deployment: { salt: hex(salt), size: 8, root: hex(root(8)), input: hex(input), leaf: hex(sha256(input)) },
    refused: [
      { comment: 'another size', note: note.replace('\n8\n', '\n7\n'), reason: 'unsigned' },
      { comment: 'a size with a zero in front', note: note.replace('\n8\n', '\n08\n'), reason: 'malformed' },
      { comment: 'another log', note: note.replace('7a60\n', '7a61\n'), reason: 'other_origin' },
      { comment: 'a key with the right name only', note: `${text}\n${stranger.line}`, reason: 'unsigned' },
      {
        comment: 'a second line of the key that fails',
        note: `${note}${signed(log.name, 1, seed, forged).line}`,
        reason: 'unsigned',
      },
      { comment: 'no signature', note: `${text}\n`, reason: 'malformed' },
      { comment: 'a cosignature only', note: `${text}\n${witness.line}`, reason: 'unsigned' },
      { comment: 'an extension line', note: note.replace('=\n\n', '=\nmore\n\n'), reason: 'malformed' },
      {
        comment: 'base 64 with other bits behind the end',
        note: note.replace(/(.)=\n\n/, (_, one) => `${String.fromCharCode(one.charCodeAt(0) + 1)}=\n\n`),
        reason: 'malformed',
      },
      { comment: 'CRLF', note: note.replaceAll('\n', '\r\n'), reason: 'malformed' },
      { comment: 'no newline at the end', note: note.slice(0, -1), reason: 'malformed' },
    ],
  };
}

if (import.meta.main) writeFileSync(VECTORS_PATH, `${JSON.stringify(checkpointVectors(), null, 2)}\n`);
