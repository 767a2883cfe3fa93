/** Columns beside a record agree with it exactly when they repeat it, whatever their texts hold. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import fc from '../../../tools/fuzz.ts';
import { canonicalize, type RecordColumns, verifyChain } from '../src/index.ts';
import { linkHash } from './export-corpus.ts';
import { ORG_A } from './fixture.ts';

const ID = '0190f5d2-7b1c-7d34-9a51-000000000001';
const AT = '2026-03-03T10:11:12.131415Z';

/** Short, with what JSON escapes and what stands around the parts of a target. */
const text = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.string({ unit: 'binary', maxLength: 6 }).filter((one) => !/[\0\p{Cs}]/u.test(one)),
  fc.constantFrom('a', ':', 'a:b', 'x","type":"y', '\\', '"', '"}', 'é', '\u007f', '\n', '😀', ''),
);

async function verdict(canon: string, columns: RecordColumns) {
  const leaf = new Uint8Array(createHash('sha256').update('\0').update(canon).digest());
  const hash = new Uint8Array(Buffer.from(linkHash(1, '0'.repeat(64), canon), 'hex'));
  const { findings } = await verifyChain([{ org: ORG_A, seq: 1, eventId: ID, canon, leaf, hash, columns }]);
  return findings.map((found) => `${found.class}: ${found.detail}`);
}

test('each column, with its own value and with any other', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        actor: text.filter((one) => one !== ''),
        type: text,
        id: text,
        hasTarget: fc.boolean(),
        column: fc.constantFrom('at' as const, 'actor' as const, 'action' as const, 'target' as const),
        other: fc.oneof(text, fc.constantFrom(null, undefined, 7, AT, 'entry.posted', {})),
      }),
      async ({ actor, type, id, hasTarget, column, other }) => {
        const event = {
          outcome: 'success',
          type: 'entry.posted',
          ...(hasTarget && { target: { type, id } }),
        };
        const canon = canonicalize({
          v: 1,
          org: ORG_A,
          id: ID,
          at: AT,
          actor,
          request: null,
          event,
        } as never);
        const target = hasTarget ? `${type}:${id}` : null;
        const columns = { at: AT, actor, action: 'entry.posted', target };
        expect(await verdict(canon, columns)).toEqual([]);
        // Also as its bytes stand in the record, which is the same text only where JSON escapes nothing.
        for (const value of [other, JSON.stringify(columns[column]).replace(/^"|"$/g, '')]) {
          const differs =
            value === columns[column] ? [] : [`edited: column ${column} differs from the record`];
          expect(await verdict(canon, { ...columns, [column]: value })).toEqual(differs);
        }
      },
    ),
    { numRuns: 3_000 },
  );
});

test('the same text from another border between type and id is the same column', async () => {
  for (const target of [
    { type: 'a:b', id: 'c' },
    { type: 'a', id: 'b:c' },
  ]) {
    const event = { outcome: 'success', type: 'entry.posted', target };
    const canon = canonicalize({ v: 1, org: ORG_A, id: ID, at: AT, actor: 'u', request: null, event });
    expect(await verdict(canon, { at: AT, actor: 'u', action: 'entry.posted', target: 'a:b:c' })).toEqual([]);
  }
});

test('a target of another shape is none, though its bytes are nearly those of one', async () => {
  for (const target of [
    { ix: 'c', type: 'a' },
    { id: 'c', tipe: 'a' },
    { id: 'c', type: 7 },
    { id: 'c' },
    'a:c',
    7,
  ]) {
    const event = { outcome: 'success', type: 'entry.posted', target };
    const canon = canonicalize({
      v: 1,
      org: ORG_A,
      id: ID,
      at: AT,
      actor: 'u',
      request: null,
      event,
    } as never);
    const columns = { at: AT, actor: 'u', action: 'entry.posted', target: 'a:c' };
    expect((await verdict(canon, columns)).length).toBeGreaterThan(0);
  }
});
