import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ColumnContexts } from '../src/field-context.ts';
import { type DekRecord, type OrgKeys, parseOrgId } from '../src/index.ts';
import { derivePurposeKey } from '../src/key-derivation.ts';
import { keyIdBytes } from '../src/key-id.ts';
import { KeyVersion } from '../src/key-version.ts';
import { instantOf, Lease } from '../src/lease.ts';
import { MessageSlab } from '../src/message-slab.ts';
import { orgKeysOf } from '../src/org-keys.ts';
import { SaltSource } from '../src/salt-source.ts';
import { type FieldVector, type FieldVectors, fieldVectors, VECTORS_PATH } from './field-vectors.ts';
import { codeOf, FakeClock } from './keyring-setup.ts';

const vectors: FieldVectors = JSON.parse(readFileSync(VECTORS_PATH, 'utf8'));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'));

/** The package's own keys over the data key and salt of a vector. */
function keysOf(vector: FieldVector): OrgKeys {
  const org = parseOrgId(vector.org);
  const record: DekRecord = {
    org,
    keyId: vector.keyId,
    version: 1,
    state: 'active',
    wraps: [],
    createdAt: 0,
  };
  const version = new KeyVersion(bytes(vector.dek), vector.app, record);
  const clock = new FakeClock();
  const limits = { maxAgeMs: 1000, maxMessages: 1000, maxBytes: 1e9 };
  const salts = new SaltSource((buffer) => buffer.set(bytes(vector.salt)), false);
  return orgKeysOf(new Lease(org, version, [version], clock, instantOf(clock), limits), {
    contexts: new ColumnContexts(),
    salts,
    slab: new MessageSlab(),
  });
}

describe('the vectors of field format v1', () => {
  it('are those the script writes', () => {
    expect(vectors).toEqual(fieldVectors());
  });

  it.each(vectors.opens.map((vector) => [vector.comment, vector] as const))(
    'are sealed and opened byte by byte: %s',
    (_, vector) => {
      const keys = keysOf(vector);
      const identity = { app: vector.app, org: parseOrgId(vector.org), keyId: keyIdBytes(vector.keyId) };
      expect(hex(derivePurposeKey(bytes(vector.dek), identity, 'field'))).toBe(vector.fieldKey);
      const message = bytes(vector.message);
      if (vector.column === '') {
        const fields = keys.openRow(vector, message);
        expect(hex(keys.sealRow(vector, fields))).toBe(vector.message);
        return;
      }
      expect(hex(keys.open(vector, message))).toBe(vector.plaintext);
      expect(hex(keys.seal(vector, bytes(vector.plaintext)))).toBe(vector.message);
      const text = new TextDecoder().decode(bytes(vector.plaintext));
      if (hex(new TextEncoder().encode(text)) === vector.plaintext) {
        expect(keys.sealText(vector, text)).toBe(vector.text);
        expect(keys.openText(vector, vector.text)).toBe(text);
      }
    },
  );

  it.each(vectors.refused.map((vector) => [vector.comment, vector] as const))(
    'are refused: %s',
    (_, vector) => {
      const first = vectors.opens[0] as FieldVector;
      expect(codeOf(() => keysOf(first).open(first, bytes(vector.message)))).toBe(vector.code);
    },
  );
});

const python = spawnSync('python3', ['-c', 'import cryptography'], { encoding: 'utf8' });

describe('the second reader', () => {
  it.skipIf(python.status !== 0)('(python3 with the cryptography package) agrees on every vector', () => {
    const reader = fileURLToPath(new URL('./reader.py', import.meta.url));
    const run = spawnSync('python3', [reader, VECTORS_PATH], { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(run.stdout.trim()).toBe(`${vectors.opens.length} opened, ${vectors.refused.length} refused`);
  });

  it('is shorter than 100 lines', () => {
    const source = readFileSync(new URL('./reader.py', import.meta.url), 'utf8');
    expect(source.split('\n').length).toBeLessThan(100);
  });
});
