import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Fixture, fixture } from './fixture.ts';

let f: Fixture;
beforeAll(async () => {
  f = await fixture(inject('databaseUrl'));
});
afterAll(async () => {
  await f?.close();
});

const READ = 'select canon from audit.event';
const PLACES = 'select org_id, seq, hash from audit.seal';
const SIGN = `insert into audit.checkpoint (org_id, size, root, link, note)
  values (gen_random_uuid(), 1, sha256('root'), sha256('link'), 'forged')`;
const COPY = `insert into audit.copy (org_id, store, key, kind, upto, version_id, sha256, bytes)
  values (gen_random_uuid(), 'elsewhere', 'forged', 'checkpoint', 1, '1', sha256('object'), 1)`;
const EDIT = `update audit.event set actor = 'user:ceo'`;
const FORGET = 'delete from audit.checkpoint';
const KEYS = 'select 1 from crypto.dek_version';
const BOOKS = 'select memo from ledger.entry';

test.each([
  ['the checkpointer', 'checkpointerUrl', [PLACES, SIGN], [READ, COPY, EDIT, FORGET, KEYS, BOOKS]],
  ['the copier', 'copierUrl', [PLACES, READ, COPY], [SIGN, EDIT, FORGET, KEYS, BOOKS]],
  ['the key store', 'keysUrl', [KEYS], [PLACES, READ, SIGN, COPY, EDIT, FORGET, BOOKS]],
  ['the queue', 'queueUrl', [], [PLACES, READ, SIGN, COPY, EDIT, FORGET, KEYS, BOOKS]],
] as const)(
  'a leaked password of %s reaches what it is for, and nothing else',
  async (_, login, may, mayNot) => {
    const client = new pg.Client({ connectionString: f.database[login] });
    await client.connect();
    try {
      for (const statement of may) {
        await client.query('begin');
        await client.query(statement);
        await client.query('rollback');
      }
      for (const statement of mayNot) {
        await expect(client.query(statement), statement).rejects.toMatchObject({ code: '42501' });
      }
    } finally {
      await client.end();
    }
  },
);
