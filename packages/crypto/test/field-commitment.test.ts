/**
 * AES-GCM alone does not commit to its key: for any two keys there is a ciphertext that both accept. These tests build
 * one and hand it to two organisations that share a key id, which is what a changed key store or a hostile customer with
 * a key of their own could bring about.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { hmac } from '@noble/hashes/hmac.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import { ColumnContexts } from '../src/field-context.ts';
import type { DekRecord, OrgId } from '../src/index.ts';
import { derivePurposeKey } from '../src/key-derivation.ts';
import { keyIdBytes } from '../src/key-id.ts';
import { KeyVersion } from '../src/key-version.ts';
import { lengthPrefixed } from '../src/length-prefix.ts';
import { CELL, codeOf, ORG_A, ORG_B } from './keyring-setup.ts';

const KEY_ID = '0f'.repeat(16);
const HEAD = Buffer.concat([Buffer.of(1, 1), Buffer.from(KEY_ID, 'hex'), Buffer.alloc(24, 7)]);
const NONCE = HEAD.subarray(30);
const R = 0xe1n << 120n; // x^128 + x^7 + x^2 + x + 1 in GCM's bit order (NIST SP 800-38D, section 6.3)

function multiply(x: bigint, y: bigint): bigint {
  let product = 0n;
  let v = y;
  for (let bit = 127n; bit >= 0n; bit -= 1n) {
    if ((x >> bit) & 1n) product ^= v;
    v = v & 1n ? (v >> 1n) ^ R : v >> 1n;
  }
  return product;
}

/** Inverse in GF(2^128): x^(2^128 - 2). */
function inverse(x: bigint): bigint {
  let result = 1n << 127n;
  let power = x;
  for (let i = 1; i < 128; i += 1) {
    power = multiply(power, power);
    result = multiply(result, power);
  }
  return result;
}

const toBig = (block: Uint8Array) => BigInt(`0x${Buffer.from(block).toString('hex')}`);
const toBlock = (value: bigint) => Buffer.from(value.toString(16).padStart(32, '0'), 'hex');

function aesBlock(key: Uint8Array, block: Uint8Array): bigint {
  const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  return toBig(cipher.update(block));
}

/** One ciphertext block and tag that GCM accepts under both keys: GHASH is linear in the block. */
function salamander(one: Uint8Array, two: Uint8Array): Buffer {
  const counter = Buffer.concat([NONCE, Buffer.of(0, 0, 0, 1)]);
  const lengths = 128n; // no additional data, 128 bits of ciphertext
  const [h1, h2] = [aesBlock(one, Buffer.alloc(16)), aesBlock(two, Buffer.alloc(16))];
  const [e1, e2] = [aesBlock(one, counter), aesBlock(two, counter)];
  const right = multiply(lengths, h1 ^ h2) ^ e1 ^ e2;
  const block = multiply(right, inverse(multiply(h1, h1) ^ multiply(h2, h2)));
  const tag = multiply(multiply(block, h1) ^ lengths, h1) ^ e1;
  return Buffer.concat([toBlock(block), toBlock(tag)]);
}

function party(org: OrgId, seed: number) {
  const dek = new Uint8Array(32).fill(seed);
  const record: DekRecord = { org, keyId: KEY_ID, version: 1, state: 'active', wraps: [], createdAt: 0 };
  const fieldKey = derivePurposeKey(dek, { app: 'test', org, keyId: keyIdBytes(KEY_ID) }, 'field');
  const names = [org, CELL.table, CELL.column, CELL.row, 'field'].map((name) => Buffer.from(name));
  const info = Buffer.concat([HEAD, lengthPrefixed(...names), Buffer.of(1)]);
  const derived = Buffer.from(hmac(sha512, fieldKey, info));
  return {
    field: new KeyVersion(dek, 'test', record).field,
    key: derived.subarray(0, 32),
    commitment: derived.subarray(32),
  };
}

describe('a ciphertext that GCM accepts under the keys of two organisations', () => {
  const a = party(ORG_A, 1);
  const b = party(ORG_B, 2);
  const body = salamander(a.key, b.key);
  const context = new ColumnContexts().get(CELL.table, CELL.column, undefined);

  it('exists', () => {
    for (const { key } of [a, b]) {
      const decipher = createDecipheriv('aes-256-gcm', key, NONCE, { authTagLength: 16 });
      decipher.setAuthTag(body.subarray(16));
      decipher.update(body.subarray(0, 16));
      expect(() => decipher.final()).not.toThrow();
    }
  });

  it('opens for the one the message commits to and for no other', () => {
    const toA = Buffer.concat([HEAD, a.commitment, body]);
    const toB = Buffer.concat([HEAD, b.commitment, body]);
    expect(a.field.open(context, CELL.row, toA).length).toBe(16);
    expect(b.field.open(context, CELL.row, toB).length).toBe(16);
    expect(codeOf(() => b.field.open(context, CELL.row, toA))).toBe('crypto.decrypt_failed');
    expect(codeOf(() => a.field.open(context, CELL.row, toB))).toBe('crypto.decrypt_failed');
  });
});
