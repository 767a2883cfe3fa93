/** Settings of the audit trail's processes: what is wrong ends the start, and is named without its value. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { copyingSettings, type Environment, signingSettings } from '../src/audit-trail-settings.ts';
import { IRONBRIDGE, NORTHWIND } from '../src/provision.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringfence-settings-'));
afterAll(() => rmSync(folder, { recursive: true }));

const SECRET = 'SECRET-4711';
const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const { privateKey } = generateKeyPairSync('ed25519');
const key = file('key.pem', privateKey.export({ format: 'pem', type: 'pkcs8' }) as string);
const DATABASE_URL = `postgres://checkpointer:${SECRET}@db/ledger`;
const WITNESS = 'witness.northwind.example+ae6d5fff+BI1Zb6Ja9k7WAsp7ZHYxy/Z91QjNMzTpZtRjArM8T8gm';
const sign: Environment = { DATABASE_URL, SIGNING_KEY_FILE: key };
const copy: Environment = {
  ...{ DATABASE_URL, LOG_KEYS: 'one two', COPY_TO: 's3://audit-copy/ledger', COPY_MODE: 'compliance' },
};

function refusal(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
    return (error as TypeError).message;
  }
  throw new Error('it was accepted');
}

test.each<[string, Environment, string]>([
  ['no database', { SIGNING_KEY_FILE: key }, 'missing or malformed: DATABASE_URL'],
  ['no signing key', { DATABASE_URL }, 'missing or malformed: SIGNING_KEY_FILE'],
  [
    'a key file that is not there',
    { ...sign, SIGNING_KEY_FILE: '/nowhere' },
    'SIGNING_KEY_FILE cannot be used (ENOENT)',
  ],
  [
    'a file that is no key',
    { ...sign, SIGNING_KEY_FILE: file('text', SECRET) },
    'SIGNING_KEY_FILE cannot be used',
  ],
  [
    'a witness without a key',
    {
      ...sign,
      WITNESSES_FILE: file('w1', JSON.stringify({ [NORTHWIND.id]: [{ url: `https://${SECRET}.example` }] })),
    },
    'WITNESSES_FILE cannot be used',
  ],
  [
    'witnesses of nobody',
    { ...sign, WITNESSES_FILE: file('w2', '{"northwind":[]}') },
    'WITNESSES_FILE cannot be used',
  ],
  ['a time that is no number', { ...sign, ALARM_MS: SECRET }, 'missing or malformed: ALARM_MS'],
  ['a time that is nothing', { ...sign, EVERY_MS: '0' }, 'missing or malformed: EVERY_MS'],
])('does not sign with %s, and tells no value', (_, env, said) => {
  const message = refusal(() => signingSettings(env));
  expect(message).toContain(said);
  expect(message).not.toContain(SECRET);
});

test.each<[string, Environment, string]>([
  ['no key of the log', { ...copy, LOG_KEYS: ' ' }, 'LOG_KEYS is missing'],
  ['a store of another kind', { ...copy, COPY_TO: `ftp://${SECRET}/x` }, 'missing or malformed: COPY_TO'],
  ['a bucket without a mode', { ...copy, COPY_MODE: undefined }, 'COPY_TO cannot be used'],
  ['a mode that locks nothing', { ...copy, COPY_MODE: 'none' }, 'missing or malformed: COPY_MODE'],
])('does not copy with %s, and tells no value', (_, env, said) => {
  const message = refusal(() => copyingSettings(env));
  expect(message).toContain(said);
  expect(message).not.toContain(SECRET);
});

test('the copier needs no signing key, the checkpointer no store; times that are not set are left to the duty', () => {
  const { config, times } = copyingSettings({ ...copy, ALARM_MS: '1000' });
  expect([config.store.name, config.keys, times]).toEqual([
    's3://audit-copy/ledger',
    ['one', 'two'],
    { alarmMs: 1_000 },
  ]);
  expect(signingSettings(sign).times).toEqual({});
  expect(
    copyingSettings({ ...copy, COPY_TO: 'file:///var/copy', COPY_MODE: undefined }).config.store.locks,
  ).toBe(false);
});

test('witnesses are those of their organisation, and of no other', () => {
  const path = file(
    'w3',
    JSON.stringify({ [NORTHWIND.id]: [{ url: 'https://witness.example', key: WITNESS }] }),
  );
  const { witnesses } = signingSettings({ ...sign, WITNESSES_FILE: path }).config;
  expect(witnesses?.(NORTHWIND.id)).toHaveLength(1);
  expect(witnesses?.(IRONBRIDGE.id)).toEqual([]);
});
