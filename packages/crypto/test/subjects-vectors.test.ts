import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ColumnContexts } from '../src/field-context.ts';
import { type DekRecord, parseOrgId } from '../src/index.ts';
import { keyIdBytes } from '../src/key-id.ts';
import { KeyVersion } from '../src/key-version.ts';
import { instantOf, Lease } from '../src/lease.ts';
import { MessageSlab } from '../src/message-slab.ts';
import { SaltSource } from '../src/salt-source.ts';
import { type LeasedSubjectKeys, leasedSubjectKeys } from '../src/subjects/subject-keys.ts';
import { unwrapSubjectKey, wrapSubjectKey } from '../src/subjects/subject-wrap.ts';
import { codeOf, FakeClock } from './keyring-setup.ts';
import { type SubjectVector, type SubjectVectors, subjectVectors, VECTORS_PATH } from './subjects-vectors.ts';

const vectors: SubjectVectors = JSON.parse(readFileSync(VECTORS_PATH, 'utf8'));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'));

function leaseOf(vector: SubjectVector, salt: string) {
  const org = parseOrgId(vector.org);
  const record: DekRecord = {
    org,
    keyId: vector.dekKeyId,
    version: 1,
    state: 'active',
    wraps: [],
    createdAt: 0,
  };
  const version = new KeyVersion(bytes(vector.dek), vector.app, record);
  const clock = new FakeClock();
  const limits = { maxAgeMs: 1000, maxMessages: 1000, maxBytes: 1e9 };
  const lease = new Lease(org, version, [version], clock, instantOf(clock), limits);
  const salts = new SaltSource((buffer) => buffer.set(bytes(salt)), false);
  return { lease, parts: { contexts: new ColumnContexts(), salts, slab: new MessageSlab() } };
}

function unwrapped(vector: SubjectVector, wrapped: string): Uint8Array {
  const { lease } = leaseOf(vector, vector.wrapSalt);
  const { subject, keyId, dekKeyId } = vector;
  return unwrapSubjectKey(lease, {
    org: lease.org,
    subject,
    keyId,
    dekKeyId,
    wrapped: bytes(wrapped),
    createdAt: 0,
  });
}

function keysOf(vector: SubjectVector): LeasedSubjectKeys {
  const { lease, parts } = leaseOf(vector, vector.salt);
  return leasedSubjectKeys(lease, parts, vector.subject, vector.keyId, bytes(vector.subjectKey));
}

describe('the vectors of subject keys v1', () => {
  it('are those the script writes', () => {
    expect(vectors).toEqual(subjectVectors());
  });

  it.each(vectors.opens.map((vector) => [vector.comment, vector] as const))(
    'are wrapped, sealed and opened byte by byte: %s',
    (_, vector) => {
      const { lease, parts } = leaseOf(vector, vector.wrapSalt);
      const { subject, keyId } = vector;
      expect(hex(wrapSubjectKey(lease, parts, subject, keyId, bytes(vector.subjectKey)))).toBe(
        vector.wrapped,
      );
      expect(hex(unwrapped(vector, vector.wrapped))).toBe(vector.subjectKey);
      const keys = keysOf(vector);
      expect(hex(keys.seal(vector, bytes(vector.plaintext)))).toBe(vector.message);
      expect(hex(keys.open(vector, bytes(vector.message)))).toBe(vector.plaintext);
      keys.files.withFileKey(keyIdBytes(keyId), (key) => expect(hex(key)).toBe(vector.fileKey));
    },
  );

  it.each(vectors.refused.map((vector) => [vector.comment, vector] as const))(
    'are refused: %s',
    (_, vector) => {
      const first = vectors.opens[0] as SubjectVector;
      const { message, wrapped } = vector;
      const attempt = () =>
        wrapped === undefined ? keysOf(first).open(first, bytes(message ?? '')) : unwrapped(first, wrapped);
      expect(codeOf(attempt)).toBe(vector.code);
    },
  );
});

const python = spawnSync('python3', ['-c', 'import cryptography'], { encoding: 'utf8' });

describe('the second reader', () => {
  it.skipIf(python.status !== 0)('(python3 with the cryptography package) agrees on every vector', () => {
    const reader = fileURLToPath(new URL('./subject_reader.py', import.meta.url));
    const run = spawnSync('python3', [reader, VECTORS_PATH], { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(run.stdout.trim()).toBe(`${vectors.opens.length} opened, ${vectors.refused.length} refused`);
  });
});
