import { spawnSync } from 'node:child_process';
import { createSecretKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { parseOrgId } from '../src/index.ts';
import { type JobClaims, macInput, readEnvelope, writeEnvelope } from '../src/jobs/envelope.ts';
import { type JobVector, type JobVectors, jobVectors, VECTORS_PATH } from './job-vectors.ts';

const vectors: JobVectors = JSON.parse(readFileSync(VECTORS_PATH, 'utf8'));
const first = vectors.accepted[0] as JobVector;

const keyOf = (vector: JobVector) => createSecretKey(Buffer.from(vector.secret, 'hex'));
const held = (vector: JobVector) => (id: string) => (id === vector.keyId ? keyOf(vector) : undefined);
const claimsOf = (vector: JobVector): JobClaims => ({
  keyId: vector.keyId,
  org: parseOrgId(vector.org),
  queue: vector.queue,
  jobId: vector.jobId,
  issuedAtMs: Number(vector.issued),
  expiresAtMs: Number(vector.expires),
  kind: vector.kind,
  actor: vector.actor,
  requestId: vector.requestId,
});

function refusalOf(envelope: string, payload: string): unknown {
  try {
    readEnvelope(envelope, payload, held(first));
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
  return 'accepted';
}

describe('the vectors of the job envelope v1', () => {
  test('are those the script writes', () => {
    expect(vectors).toEqual(jobVectors());
  });

  test.each(vectors.accepted.map((vector) => [vector.comment, vector] as const))(
    'are written and read byte by byte: %s',
    (_, vector) => {
      expect(writeEnvelope(claimsOf(vector), vector.payload, keyOf(vector))).toBe(vector.envelope);
      expect(readEnvelope(vector.envelope, vector.payload, held(vector))).toEqual(claimsOf(vector));
      const fields = vector.envelope.split('|').slice(1, -1);
      expect(Buffer.from(macInput(fields, vector.payload), 'latin1').toString('hex')).toBe(vector.macInput);
    },
  );

  test.each(vectors.refused.map((vector) => [vector.comment, vector] as const))(
    'are refused: %s',
    (_, vector) => {
      expect(refusalOf(vector.envelope, vector.payload)).toBe(vector.code);
    },
  );

  test('are read alike by a second reader in Python', () => {
    const reader = fileURLToPath(new URL('./job_reader.py', import.meta.url));
    const run = spawnSync('python3', [reader, VECTORS_PATH], { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(run.stdout.trim()).toBe(`${vectors.accepted.length} accepted, ${vectors.refused.length} refused`);
  });
});

describe('an envelope', () => {
  const LOUD = /^tenancy\.job_(altered|malformed|unknown_key|unsupported_version)$/;

  test('is refused with any bit of any byte flipped', () => {
    const bytes = Buffer.from(first.envelope, 'latin1');
    for (let index = 0; index < bytes.length; index++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Buffer.from(bytes);
        flipped[index] = (flipped[index] ?? 0) ^ (1 << bit);
        expect(refusalOf(flipped.toString('latin1'), first.payload)).toMatch(LOUD);
      }
    }
  });

  test('is refused with any bit of any byte of its payload flipped', () => {
    const bytes = Buffer.from(first.payload, 'latin1');
    for (let index = 0; index < bytes.length; index++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Buffer.from(bytes);
        flipped[index] = (flipped[index] ?? 0) ^ (1 << bit);
        expect(refusalOf(first.envelope, flipped.toString('latin1'))).toBe('tenancy.job_altered');
      }
    }
  });

  test('is refused at every length but its own', () => {
    for (let length = 0; length < first.envelope.length; length++)
      expect(refusalOf(first.envelope.slice(0, length), first.payload)).toMatch(LOUD);
    for (const more of ['|', '0', '\n', ' ', '\0'])
      expect(refusalOf(first.envelope + more, first.payload)).toMatch(LOUD);
  });

  test('is not shared by a payload with U+FFFD and one with a lone surrogate', () => {
    const payload = '"�"';
    const envelope = writeEnvelope(claimsOf(first), payload, keyOf(first));
    expect(refusalOf(envelope, payload)).toBe('accepted');
    expect(refusalOf(envelope, '"\ud800"')).toBe('tenancy.job_malformed');
  });

  test('takes a payload of 262 144 bytes and none of one more, however few characters they are', () => {
    for (const [unit, bytes] of [
      ['a', 1],
      ['€', 3],
    ] as const) {
      const fits = unit.repeat(Math.floor(262_144 / bytes));
      const envelope = writeEnvelope(claimsOf(first), fits, keyOf(first));
      expect(refusalOf(envelope, fits)).toBe('accepted');
      expect(refusalOf(envelope, fits + unit)).toBe('tenancy.job_payload_too_large');
    }
  });
});

describe('for any input', () => {
  const word = (characters: string, minLength: number, maxLength: number) =>
    fc.string({ unit: fc.constantFrom(...characters), minLength, maxLength });
  const LOWER = 'abcdefghijklmnopqrstuvwxyz';
  const name = `${LOWER}${LOWER.toUpperCase()}0123456789._:/-`;
  const claims: fc.Arbitrary<JobClaims> = fc.record({
    keyId: fc.constant(first.keyId),
    org: fc.uuid().map(parseOrgId),
    queue: word(name, 1, 128),
    jobId: fc.uuid(),
    issuedAtMs: fc.integer({ min: 1, max: 999_999_999_999_999 }),
    expiresAtMs: fc.integer({ min: 1, max: 999_999_999_999_999 }),
    kind: word(LOWER, 1, 32),
    actor: word(`${name}@+=`, 1, 200),
    requestId: word(`${name}@+=`, 0, 200),
  });

  test('what is written is read back, under its key and with its payload only', () => {
    const stranger = createSecretKey(randomBytes(32));
    fc.assert(
      fc.property(claims, fc.json(), fc.json(), (written, payload, other) => {
        const envelope = writeEnvelope(written, payload, keyOf(first));
        expect(readEnvelope(envelope, payload, held(first))).toEqual(written);
        if (other !== payload) expect(refusalOf(envelope, other)).toMatch(/altered|too_large/);
        expect(() => readEnvelope(envelope, payload, () => stranger)).toThrow(/not what was sealed/);
      }),
    );
  });

  test('two sets of fields never share the input of the mac', () => {
    const fields = fc.array(fc.string({ unit: 'grapheme-ascii', maxLength: 5 }), {
      minLength: 9,
      maxLength: 9,
    });
    fc.assert(
      fc.property(fields, fields, (one, other) => {
        const same = one.every((text, index) => text === other[index]);
        expect(macInput(one, '') === macInput(other, '')).toBe(same);
      }),
    );
  });

  test('the writer refuses what the reader would', () => {
    fc.assert(
      fc.property(
        claims,
        fc.constantFrom('queue', 'kind', 'actor', 'requestId'),
        fc.string(),
        (written, field, text) => {
          const changed = { ...written, [field]: text };
          let envelope: string;
          try {
            envelope = writeEnvelope(changed, '1', keyOf(first));
          } catch (error) {
            expect((error as { code?: unknown }).code).toBe('tenancy.job_invalid_field');
            return;
          }
          expect(readEnvelope(envelope, '1', held(first))).toEqual(changed);
        },
      ),
    );
  });

  test('text that nobody wrote is refused with a code of this package', () => {
    const parts = fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('rfjob1', 'j1', 'x')));
    fc.assert(
      fc.property(
        parts.map((texts) => texts.join('|')),
        fc.string({ unit: 'binary' }),
        (envelope, payload) => {
          expect(refusalOf(envelope, payload)).toMatch(/^tenancy\.job_/);
        },
      ),
    );
  });
});
