/** The worked example of docs/formats/audit-chain-v1.md: recomputed here, by PostgreSQL, and by the verifier. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { expect, inject, test } from 'vitest';
import { type ChainRow, canonicalize, verifyChain } from '../src/index.ts';

const DOCUMENT = readFileSync(new URL('../../../docs/formats/audit-chain-v1.md', import.meta.url), 'utf8');
const [, example = ''] = /```text\n([\s\S]+?)\n```/.exec(DOCUMENT) ?? [];
const values = new Map(
  example.split('\n').map((line): [string, string] => [line.slice(0, 12).trim(), line.slice(12)]),
);
const value = (name: string) => values.get(name) ?? '';
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test('the worked example holds, value by value', () => {
  let previous = '00'.repeat(32);
  for (const seq of [1, 2]) {
    const record = value(`record ${seq}`);
    expect(canonicalize(JSON.parse(record))).toBe(record);
    expect(Buffer.byteLength(record)).toBe(Number(value(`bytes ${seq}`)));
    expect(sha256(Buffer.from(`\0${record}`))).toBe(value(`leaf ${seq}`));
    const place = seq.toString(16).padStart(16, '0');
    const input = `02${value('org').replaceAll('-', '')}${place}${previous}${value(`leaf ${seq}`)}`;
    expect(value(`link in ${seq}`)).toBe(input);
    expect(input.length).toBe(2 * 89);
    previous = sha256(Buffer.from(input, 'hex'));
    expect(value(`link ${seq}`)).toBe(previous);
  }
});

test('the verifier accepts the worked example', async () => {
  const rows = [1, 2].map((seq): ChainRow => {
    const canon = value(`record ${seq}`);
    return {
      org: value('org'),
      seq,
      eventId: (JSON.parse(canon) as { id: string }).id,
      canon,
      leaf: Buffer.from(value(`leaf ${seq}`), 'hex'),
      hash: Buffer.from(value(`link ${seq}`), 'hex'),
    };
  });
  const expectedHead = { seq: 2, hash: value('link 2') };
  expect(await verifyChain(rows, { expectedHead })).toMatchObject({ ok: true, head: expectedHead });
});

test('PostgreSQL computes the same leaf and link', async () => {
  const client = new pg.Client({ connectionString: inject('databaseUrl') });
  await client.connect();
  try {
    const { rows } = await client.query(
      `select encode(sha256(decode('00', 'hex') || convert_to($1, 'UTF8')), 'hex') as leaf,
              encode(sha256(decode('02', 'hex') || uuid_send($2) || int8send(2) || decode($3, 'hex') || decode($4, 'hex')), 'hex') as link`,
      [value('record 1'), value('org'), value('link 1'), value('leaf 2')],
    );
    expect(rows).toEqual([{ leaf: value('leaf 1'), link: value('link 2') }]);
  } finally {
    await client.end();
  }
});
